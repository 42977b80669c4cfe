"""What those read who sign: the same keys everywhere, and when webhooks and pushes go out."""

from __future__ import annotations

import pytest

from taskflow.engine.settings import BusSettings
from taskflow.kit.settings import SettingsError, describe, load
from taskflow_api.settings import Settings as Api
from taskflow_notifier.settings import Settings as Notifier
from taskflow_worker.settings import Settings as Worker

NEEDED = {"DATABASE_URL": "postgresql:///x"}
KEY = "a-key-for-tests-of-more-than-32-bytes"


@pytest.mark.parametrize("settings", [Api, Worker, Notifier])
@pytest.mark.parametrize("name", ["SECRET_KEY", "SECRET_KEY_PREVIOUS", "SEALING_KEY", "SEALING_KEY_PREVIOUS"])
def test_a_key_is_optional_and_none_that_can_be_guessed(settings: type[BusSettings], name: str) -> None:
    assert getattr(load(settings, NEEDED), name.lower()) is None
    found = load(settings, {**NEEDED, name: KEY})
    assert getattr(found, name.lower()) == KEY
    assert KEY not in str(describe(found))
    for wrong in ("short", "x" * 31, "please-change-me-please-change-me-please"):
        with pytest.raises(SettingsError, match=rf'^{name}="\*\*\*" is not valid; expected at least 32'):
            load(settings, {**NEEDED, name: wrong})


@pytest.mark.parametrize("settings", [Worker, Notifier])
def test_a_wrong_key_of_nats_is_still_told(settings: type[BusSettings]) -> None:
    with pytest.raises(SettingsError, match="NATS_NKEY_SEED"):
        load(settings, {**NEEDED, "NATS_NKEY_SEED": "SUNOSEED"})


def test_the_defaults_are_those_of_the_contract() -> None:
    found = load(Notifier, NEEDED)
    assert (found.webhook_timeout, found.webhook_max_attempts) == (10, 5)
    assert found.webhook_delays == (5, 30, 120, 600, 3_600)
    assert load(Notifier, {**NEEDED, "WEBHOOK_DELAYS": "0,500ms,24h"}).webhook_delays == (0, 0.5, 86_400)
    worker = load(Worker, {**NEEDED, "WORKER_PUSH_CONCURRENCY": "0"})
    assert (worker.worker_push_concurrency, worker.push_host_concurrency) == (0, 20)


@pytest.mark.parametrize("wrong", ["soon", "5s,25h", "-1s", ",", ",".join(["1s"] * 101)])
def test_wrong_delays_are_told(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"^WEBHOOK_DELAYS=.* expected 1 to 100 durations from 0 to 24h"):
        load(Notifier, {**NEEDED, "WEBHOOK_DELAYS": wrong})
