"""Times counted in buckets that grow by a quarter of an octave: histograms that can be added up, and their percentiles.

A histogram is a list of counts. Bucket 0 counts what took less than 1 ms, bucket k what took from 2^((k-1)/4) up to
2^(k/4) ms, the last one all from 2^31.5 ms (35 days) on. Zeros at the end may be left out.

The error: a percentile lies in the bucket of the time that it tells of, so it is at most 19 % (a factor of 2^(1/4)) off;
below 1 ms, at most 1 ms; of times of 35 days and more, no more is known than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from math import ceil, log2

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


def merge(some: Counts, more: Counts) -> list[int]:
    """Both together."""
    return [one + another for one, another in zip_longest(some, more, fillvalue=0)]


def trimmed(counts: list[int]) -> list[int]:
    """Without the zeros at its end."""
    end = len(counts)
    while end and not counts[end - 1]:
        end -= 1
    return counts[:end]


def percentiles(counts: Counts, percents: Sequence[float]) -> list[float] | None:
    """The least time that so many per cent of all do not exceed, for each of `percents`, which rise; None of nothing.

    Within its bucket, as if the times lay there evenly.
    """
    total = sum(counts)
    if not total:
        return None
    found: list[float] = []
    below = 0
    ranks = [max(1, ceil(total * percent / 100)) for percent in percents]
    for bucket, count in enumerate(counts):
        while count and len(found) < len(ranks) and below + count >= ranks[len(found)]:
            found.append(_within(bucket, (ranks[len(found)] - below) / count))
        below += count
    return found


def _within(bucket: int, share: float) -> float:
    """The time that stands so far into a bucket; of the last nothing is known but its beginning."""
    low, high = bounds_of(bucket)
    return low if bucket == _LAST else low + (high - low) * share
