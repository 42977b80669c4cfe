"""What a program counts and measures, in the text form that Prometheus reads.

Every program has one registry of its own; what is made by `counter`, `gauge` and `histogram` is in it. Names follow the
conventions of Prometheus: base units, `_total` at the end of a counter. Every label has few values: never an id, and
what callers may name as they like goes through `Bounded`.

    MADE = counter("things_made_total", "Things made since the start.", ["colour"], [("red",), ("blue",)])
    MADE.labels("red").inc()
"""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from itertools import accumulate

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

__all__ = [
    "CONTENT_TYPE",
    "REGISTRY",
    "Bounded",
    "Gauge",
    "Histogram",
    "Tally",
    "counter",
    "exposition",
    "gauge",
    "histogram",
    "tell_build",
]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
OTHER = "other"

# A second series a counter, which tells when it was made: the start of the process is told once, for all of them.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type for it
REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)


def counter(
    name: str,
    documentation: str,
    labels: Sequence[str] = (),
    known: Iterable[Sequence[str]] = (),
    *,
    registry: CollectorRegistry = REGISTRY,
) -> Counter:
    """A number that only grows. `known`: values of its labels that are told as 0 from the start, so that a first
    event is seen as a rise."""
    if not name.endswith("_total"):
        raise ValueError(f"a counter's name ends in _total: {name!r}")
    made = Counter(name, documentation, labels, registry=registry)
    for values in known:
        made.labels(*values)
    return made


def gauge(
    name: str,
    documentation: str,
    labels: Sequence[str] = (),
    *,
    registry: CollectorRegistry = REGISTRY,
) -> Gauge:
    """A number that goes up and down. With labels it tells nothing until it is set."""
    return Gauge(name, documentation, labels, registry=registry)


BUILD = gauge("taskflow_build_info", "1, with what is at work here.", ["service", "version", "python"])


class Tally:
    """One histogram under one set of labels. Not for several threads."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, amount: float) -> None:
        """Count an amount."""
        self.counts[bisect_left(self._bounds, amount)] += 1
        self.sum += amount


class Histogram(Collector):
    """How often amounts fell below each of some bounds, and their sum.

    Own instead of the library's, whose `observe` walks all bounds and takes locks: a hot path keeps the `tally` of its
    labels, and counts in a quarter of the time. Observed from one thread.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        if list(bounds) != sorted(set(bounds)):
            raise ValueError(f"the bounds of {name} do not rise: {bounds}")
        self._name, self._documentation, self._labels = name, documentation, tuple(labels)
        self._bounds = tuple(bounds)
        self._told = [*(str(float(bound)) for bound in bounds), "+Inf"]
        self._tallies: dict[tuple[str, ...], Tally] = {}

    def tally(self, *values: str) -> Tally:
        """What is counted under these values of the labels, always the same."""
        found = self._tallies.get(values)
        if found is None:
            if len(values) != len(self._labels):
                raise ValueError(f"{self._name} has the labels {self._labels}, not {values}")
            found = self._tallies[values] = Tally(self._bounds)
        return found

    def observe(self, amount: float, *values: str) -> None:
        """Count an amount, under these values of the labels."""
        self.tally(*values).add(amount)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What the registry asks for."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, tally in list(self._tallies.items()):
            told = zip(self._told, accumulate(tally.counts), strict=True)
            family.add_metric(values, list(told), tally.sum)
        yield family

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Its name, for the registry to find doubles."""
        yield HistogramMetricFamily(self._name, self._documentation, labels=self._labels)


def histogram(
    name: str,
    documentation: str,
    labels: Sequence[str] = (),
    *,
    bounds: Sequence[float],
    registry: CollectorRegistry = REGISTRY,
) -> Histogram:
    """Amounts by size. `bounds`: upper bounds, rising; one at infinity is added."""
    made = Histogram(name, documentation, labels, bounds)
    registry.register(made)
    return made


class Bounded:
    """Values that somebody else names, as labels: the first are told as they are, all later ones as `other`.

    `most` counts `other` too. A value is a text or a row of them; a row becomes `("other", "other", ...)`.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[tuple[str, ...], tuple[str, ...]] = {}

    def __call__(self, *values: str) -> tuple[str, ...]:
        """The values of the labels to use."""
        known = self._known.get(values)
        if known is not None:
            return known
        if len(self._known) >= self._most - 1:
            return (OTHER,) * len(values)
        self._known[values] = values
        return values


def tell_build(service: str) -> None:
    """Say which program this is, and of which version."""
    BUILD.labels(service, version("taskflow-platform"), platform.python_version()).set(1)


def exposition(registry: CollectorRegistry = REGISTRY) -> bytes:
    """All numbers as text, of content type `CONTENT_TYPE`."""
    return generate_latest(registry)
