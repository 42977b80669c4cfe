"""When the others may follow a canary."""

from __future__ import annotations

import pytest

from taskflow.domain.operation import CanaryPlan, verdict


@pytest.mark.parametrize(
    ("over", "succeeded", "failed", "waited_seconds", "expected"),
    [
        (0, 0, 0, 0.0, None),
        (9, 9, 0, 59.0, None),
        (10, 10, 0, 0.0, "passed"),
        (10, 8, 2, 0.0, "passed"),
        (10, 7, 3, 0.0, "failed"),
        (3, 0, 3, 0.0, "failed"),  # it cannot get better: why wait
        (10, 0, 0, 0.0, "passed"),  # all of them were cancelled
        (0, 0, 0, 60.0, "unsure"),
        (5, 3, 2, 60.0, "passed"),
        (2, 0, 2, 60.0, "unsure"),
        (5, 2, 3, 60.0, "failed"),
    ],
)
def test_a_canary_passes_if_few_enough_failed(
    over: int, succeeded: int, failed: int, waited_seconds: float, expected: str | None
) -> None:
    canary = CanaryPlan(first=10, stop_if_failed=2, wait_seconds=60)
    found = verdict(
        canary, replayed=10, over=over, succeeded=succeeded, failed=failed, waited_seconds=waited_seconds
    )
    assert found == expected


def test_a_set_smaller_than_the_canary_is_all_of_it() -> None:
    found = verdict(CanaryPlan(100), replayed=3, over=3, succeeded=3, failed=0, waited_seconds=0)
    assert found == "passed"
