"""How fast letters may come in, as the dlq-consumer's environment says it."""

from __future__ import annotations

import pytest

from taskflow.kit.settings import SettingsError, load
from taskflow_dlq_consumer.settings import Settings

NEEDED = {"DATABASE_URL": "postgresql:///x"}


def test_a_limit_of_a_type_goes_before_that_of_all() -> None:
    said = {"BURIAL_LIMIT": "200", "BURIAL_LIMIT_BY_TYPE": "send_email=20,resize=0", "BURIAL_WINDOW": "5m"}
    limits = load(Settings, NEEDED | said).limits()
    assert [limits.of_type(name) for name in ("send_email", "resize", "other")] == [20, 0, 200]
    assert limits.burial_seconds == 300


def test_no_type_is_paused_unless_it_is_said() -> None:
    limits = load(Settings, NEEDED).limits()
    assert (limits.of_type("any"), limits.surge, limits.surge_seconds) == (0, 100, 60)


@pytest.mark.parametrize("wrong", ["send_email", "=5", "a=-1", "a=1.5", "a=1000000", "a=1,b", "a=²"])
def test_a_wrong_limit_is_named(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"BURIAL_LIMIT_BY_TYPE=.* is not valid; expected type=count"):
        load(Settings, NEEDED | {"BURIAL_LIMIT_BY_TYPE": wrong})
