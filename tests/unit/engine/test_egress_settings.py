"""What a worker may reach, read from its environment."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from taskflow.kit.egress import egress
from taskflow.kit.settings import SettingsError, load
from taskflow_worker.settings import Settings

DATABASE = {"DATABASE_URL": "postgres://localhost/x"}


def test_unset_nothing_of_ours_may_be_reached() -> None:
    assert load(Settings, DATABASE).egress() == egress()
    assert load(Settings, {**DATABASE, "EGRESS_ALLOW": "", "EGRESS_PORTS": " "}).egress() == egress()


def test_what_is_set_is_allowed() -> None:
    settings = load(
        Settings,
        {
            **DATABASE,
            "EGRESS_ALLOW": "loopback, 10.1.0.0/16,fd00::5",
            "EGRESS_PORTS": "443",
            "EGRESS_SCHEMES": "https",
        },
    )
    rules = settings.egress()
    assert rules.allow == tuple(map(ip_network, ("127.0.0.0/8", "::1", "10.1.0.0/16", "fd00::5")))
    assert (rules.ports, rules.schemes) == (((443, 443),), ("https",))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("EGRESS_ALLOW", "10.0.0.0/8,localhost", "expected addresses and networks such as 10.0.0.5, "),
        ("EGRESS_ALLOW", "10.0.0.1/8", "(10.0.0.1/8 has host bits set)"),
        (
            "EGRESS_PORTS",
            "80,all",
            "expected ports and ranges of ports such as 443 or 1024-65535 ('all' is not",
        ),
        ("EGRESS_SCHEMES", "https,ftp", "expected https, http or both ('ftp' is not a scheme)"),
    ],
)
def test_what_means_nothing_ends_the_program(name: str, value: str, expected: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(Settings, {**DATABASE, name: value})
    said = str(refused.value)
    assert said.startswith(f'{name}="{value}" is not valid; ') and expected in said
