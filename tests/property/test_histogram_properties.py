"""Percentiles of a histogram are those of what was counted, within the error that its docstring tells."""

from __future__ import annotations

from math import ceil, isclose

from hypothesis import given
from hypothesis import strategies as st

from taskflow.domain.histogram import BUCKETS, bounds_of, bucket_of, merge, percentiles, trimmed

FACTOR = 2**0.25 * (1 + 1e-9)
MONTH = 30 * 86_400.0
times = st.floats(0, MONTH) | st.floats(0, 0.01) | st.floats(0.01, 60)
percents = st.lists(st.floats(0, 100), min_size=1, max_size=4).map(sorted)


def counted(values: list[float]) -> list[int]:
    counts = [0] * BUCKETS
    for value in values:
        counts[bucket_of(value)] += 1
    return counts


@given(st.floats(0, 100 * MONTH))
def test_a_time_lies_within_its_bucket(seconds: float) -> None:
    bucket = bucket_of(seconds)
    low, high = bounds_of(bucket)
    assert 0 <= bucket < BUCKETS
    assert low * (1 - 1e-9) <= seconds
    assert seconds <= high * (1 + 1e-9) or bucket == BUCKETS - 1


@given(st.floats(0, 100 * MONTH), st.floats(0, 100 * MONTH))
def test_a_longer_time_is_never_counted_before_a_shorter_one(some: float, other: float) -> None:
    assert bucket_of(min(some, other)) <= bucket_of(max(some, other))


@given(st.lists(times, min_size=1, max_size=200), percents)
def test_a_percentile_is_as_near_as_it_is_said(values: list[float], wanted: list[float]) -> None:
    told = percentiles(counted(values), wanted)
    assert told is not None
    for percent, found in zip(wanted, told, strict=True):
        true = sorted(values)[max(1, ceil(len(values) * percent / 100)) - 1]
        near = true / FACTOR <= found <= true * FACTOR
        assert near or (true < 0.001 * FACTOR and found <= 0.001 * FACTOR), (percent, true, found)


@given(st.lists(times, min_size=1), percents)
def test_percentiles_rise(values: list[float], wanted: list[float]) -> None:
    told = percentiles(counted(values), wanted)
    assert told == sorted(told or [])


@given(st.lists(times), st.lists(times))
def test_histograms_of_parts_add_up_to_that_of_the_whole(some: list[float], more: list[float]) -> None:
    merged = merge(trimmed(counted(some)), trimmed(counted(more)))
    assert merged == trimmed(counted(some + more))
    assert percentiles(merged, [50, 99]) == percentiles(counted(some + more), [50, 99])


def test_of_nothing_there_is_no_percentile() -> None:
    assert percentiles([], [50]) is None
    assert percentiles([0] * BUCKETS, [50]) is None


def test_it_reaches_from_a_millisecond_to_a_month() -> None:
    assert bucket_of(0.0009) == 0
    assert bucket_of(0.001) == 1
    assert bucket_of(MONTH) < BUCKETS - 1
    assert bucket_of(1e12) == BUCKETS - 1
    assert percentiles(counted([1e12]), [50]) == [bounds_of(BUCKETS - 1)[0]]
    assert isclose(bounds_of(BUCKETS - 1)[0], 35 * 86_400, rel_tol=0.01)


def test_within_a_bucket_times_are_taken_to_lie_evenly() -> None:
    low, high = bounds_of(40)
    assert percentiles([0] * 40 + [4], [25, 50, 100]) == [
        low + (high - low) / 4,
        low + (high - low) / 2,
        high,
    ]
