"""Times as callers read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from taskflow.kit.clock import now, rfc3339


def test_times_have_six_digits_and_a_z() -> None:
    assert rfc3339(datetime(2026, 11, 22, 0, 54, 52, tzinfo=UTC)) == "2026-11-22T00:54:52.000000Z"
    assert rfc3339(datetime(2026, 11, 22, 0, 54, 52, 7, tzinfo=UTC)) == "2026-11-22T00:54:52.000007Z"


def test_other_zones_are_told_in_utc() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    assert rfc3339(datetime(2026, 1, 1, 0, 0, tzinfo=zone)) == "2025-12-31T18:30:00.000000Z"


def test_what_is_told_can_be_read_back() -> None:
    moment = now()
    assert datetime.fromisoformat(rfc3339(moment)) == moment
