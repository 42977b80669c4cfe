"""The retry delay, by the contract's formula."""

from __future__ import annotations

import math
from typing import Any

import pytest

from taskflow.domain.retry import RetryPolicy, retry_delay


def plain(**fields: Any) -> RetryPolicy:
    return RetryPolicy(**({"jitter": "none", "max_seconds": 3_600.0} | fields))


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (plain(), [0.5, 1, 2, 4, 8]),
        (plain(base_seconds=3, factor=3), [3, 9, 27, 81]),
        (plain(factor=1), [0.5, 0.5, 0.5]),
        (plain(max_seconds=3), [0.5, 1, 2, 3, 3]),
        (plain(strategy="linear", base_seconds=2), [2, 4, 6, 8]),
        (plain(strategy="linear", base_seconds=2, max_seconds=5), [2, 4, 5, 5]),
        (plain(strategy="fixed", base_seconds=2), [2, 2, 2]),
        (plain(strategy="fixed", base_seconds=2, max_seconds=1), [1, 1]),
        (plain(base_seconds=0), [0, 0, 0]),
    ],
)
def test_delay_grows_as_its_strategy_says(policy: RetryPolicy, delays: list[float]) -> None:
    assert [retry_delay(policy, n, 0.7) for n in range(1, len(delays) + 1)] == delays


def test_the_services_default_waits_between_half_a_second_and_ten_and_a_quarter() -> None:
    policy = RetryPolicy()
    assert retry_delay(policy, 1, 0.0) == 0.5
    assert retry_delay(policy, 100, 1.0) == 10.25


def test_full_jitter_draws_from_nothing_to_the_delay() -> None:
    policy = plain(jitter="full")
    assert [retry_delay(policy, 3, roll) for roll in (0.0, 0.25, 0.5)] == [0, 0.5, 1]


def test_added_jitter_comes_on_top_of_the_cap() -> None:
    policy = plain(jitter="added", jitter_seconds=4, max_seconds=1)
    assert retry_delay(policy, 9, 0.5) == 3


@pytest.mark.parametrize("attempt", [100, 1_000, 32_767])
def test_a_delay_beyond_every_float_is_the_cap(attempt: int) -> None:
    assert retry_delay(plain(factor=100), attempt, 0) == 3_600
    assert math.isfinite(retry_delay(plain(base_seconds=31_536_000, factor=100), attempt, 0))
