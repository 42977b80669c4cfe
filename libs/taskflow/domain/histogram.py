"""Times counted in buckets that grow by a quarter of an octave: histograms that can be added up, and their percentiles.

A histogram is a list of counts. Bucket 0 counts what took less than 1 ms, bucket k what took from 2^((k-1)/4) up to
2^(k/4) ms, the last one all from 2^31.5 ms (35 days) on. Zeros at the end may be left out.

The error: a percentile lies in the bucket of the time that it tells of, so it is at most 19 % (a factor of 2^(1/4)) off;
below 1 ms, at most 1 ms; of times of 35 days and more, no more is known than that.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from math import ceil, log2
from operator import add

FIRST_SECONDS = 0.001
PER_OCTAVE = 4
BUCKETS = 128
_LAST = BUCKETS - 1
_PER_SECOND = 1 / FIRST_SECONDS

Counts = Sequence[int]


def bucket_of(seconds: float) -> int:
    """The bucket that counts such a time."""
    if seconds < FIRST_SECONDS:
        return 0
    bucket = 1 + int(PER_OCTAVE * log2(seconds * _PER_SECOND))
    return bucket if bucket < _LAST else _LAST


def bounds_of(bucket: int) -> tuple[float, float]:
    """From and to how many seconds a bucket counts."""
    low = FIRST_SECONDS * 2 ** ((bucket - 1) / PER_OCTAVE) if bucket else 0.0
    return low, FIRST_SECONDS * 2 ** (bucket / PER_OCTAVE)


_BOUNDS = [bounds_of(bucket) for bucket in range(BUCKETS)]


def merge(some: Counts, more: Counts) -> list[int]:
    """Both together."""
    short, long = (some, more) if len(some) < len(more) else (more, some)
    return [*map(add, short, long), *long[len(short) :]]


def trimmed(counts: list[int]) -> list[int]:
    """Without the zeros at its end."""
    end = len(counts)
    while end and not counts[end - 1]:
        end -= 1
    return counts[:end]


def percentiles(counts: Counts, percents: Sequence[float]) -> list[float] | None:
    """The least time that so many per cent of all do not exceed, for each of `percents`; None of nothing.

    Within its bucket, as if the times lay there evenly.
    """
    reached = list(accumulate(counts))
    if not reached or not reached[-1]:
        return None
    found = []
    for percent in percents:
        rank = max(1, ceil(reached[-1] * percent / 100))
        bucket = bisect_left(reached, rank)
        found.append(_within(bucket, 1 - (reached[bucket] - rank) / counts[bucket]))
    return found


def _within(bucket: int, share: float) -> float:
    """The time that stands so far into a bucket; of the last nothing is known but its beginning."""
    low, high = _BOUNDS[bucket]
    return low if bucket == _LAST else low + (high - low) * share
