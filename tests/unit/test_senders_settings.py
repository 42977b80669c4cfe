"""What those read who judge URLs or send to them: the same everywhere."""

from __future__ import annotations

import pytest

from taskflow.engine.settings import BusSettings
from taskflow.kit.egress import EgressRefused, egress
from taskflow.kit.settings import SettingsError, load
from taskflow_api.settings import Settings as Api
from taskflow_notifier.settings import Settings as Notifier
from taskflow_worker.handlers.requesting import Reach
from taskflow_worker.settings import Settings as Worker

NEEDED = {"DATABASE_URL": "postgresql:///x"}
ALL = pytest.mark.parametrize("settings", [Api, Worker, Notifier])
Sender = type[Api] | type[Worker] | type[Notifier]


@ALL
def test_unset_only_the_whole_internet_may_be_reached(settings: Sender) -> None:
    assert load(settings, NEEDED).egress() == egress()
    blank = {"EGRESS_ALLOW": "", "EGRESS_PORTS": " ", "EGRESS_SCHEMES": ""}
    assert load(settings, {**NEEDED, **blank}).egress() == egress()


def test_http_request_knows_the_same_defaults() -> None:
    reach = Reach()
    assert egress(reach.allow, reach.ports, reach.schemes) == egress()


@ALL
def test_what_is_set_is_what_may_be_reached(settings: Sender) -> None:
    texts = {"EGRESS_ALLOW": "loopback, 10.1.0.0/16,fd00::5", "EGRESS_PORTS": "443,9000-9100"}
    rules = load(settings, {**NEEDED, **texts, "EGRESS_SCHEMES": "https"}).egress()
    assert rules == egress(["loopback", "10.1.0.0/16", "fd00::5"], ["443", "9000-9100"], ["https"])
    for url in ("https://127.0.0.1/", "https://10.1.255.255:9100/", "https://[fd00::5]:9000/"):
        rules.check(url)
    for url in ("https://10.2.0.0/", "https://[fd00::6]/", "https://10.1.0.1:9101/", "http://10.1.0.1:443/"):
        with pytest.raises(EgressRefused):
            rules.check(url)


@ALL
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("EGRESS_ALLOW", "10.0.0.0/8,localhost", "addresses and networks such as 10.0.0.5, 10.0.0.0/8 or "),
        ("EGRESS_ALLOW", "LOOPBACK", "or loopback ("),
        ("EGRESS_ALLOW", "10.0.0.1/8", "(10.0.0.1/8 has host bits set)"),
        ("EGRESS_ALLOW", "::ffff:10.0.0.0/104", "10.0.0.0 (::ffff:10.0.0.0/104 is IPv4)"),
        ("EGRESS_ALLOW", "https://10.0.0.1", "addresses and networks"),
        ("EGRESS_ALLOW", "*", "addresses and networks"),
        ("EGRESS_PORTS", "80,all", "ports and ranges of ports such as 443 or 1024-65535 ('all' is not"),
        ("EGRESS_PORTS", "0", "'0' is not a range of ports from 1 to 65535"),
        ("EGRESS_PORTS", "80-", "'80-' is not"),
        ("EGRESS_PORTS", "-80", "'-80' is not"),
        ("EGRESS_PORTS", "90-80", "'90-80' is not"),
        ("EGRESS_PORTS", "1-65536", "'1-65536' is not"),
        ("EGRESS_PORTS", "８０", "is not a range of ports"),
        ("EGRESS_SCHEMES", "https,ftp", "https, http or both ('ftp' is not a scheme)"),
        ("EGRESS_SCHEMES", "HTTPS", "https, http or both"),
    ],
)
def test_what_means_nothing_ends_the_program(
    settings: type[BusSettings], name: str, value: str, expected: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load(settings, {**NEEDED, name: value})
    said = str(refused.value)
    assert said.startswith(f'{name}="{value}" is not valid; expected ') and expected in said


@pytest.mark.parametrize(("allow", "is_allowed"), [("127.0.0.1", True), ("::1", True), ("127.0.0.2", False)])
def test_localhost_is_allowed_where_its_address_is(allow: str, is_allowed: bool) -> None:
    rules = load(Worker, {**NEEDED, "EGRESS_ALLOW": allow}).egress()
    if is_allowed:
        assert rules.check("http://localhost:8080/").host == "localhost"
    else:
        with pytest.raises(EgressRefused, match=r"^localhost is a loopback name$"):
            rules.check("http://localhost:8080/")
