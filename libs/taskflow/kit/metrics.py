"""What a program counts and measures, in the text form that Prometheus reads.

Every program has one registry of its own; what is made by `counter` and `gauge` is in it. Names follow the conventions
of Prometheus: base units, `_total` at the end of a counter. Every label has few values: never an id.

    MADE = counter("things_made_total", "Things made since the start.", ["colour"], [("red",), ("blue",)])
    MADE.labels("red").inc()
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

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
    name: str, documentation: str, labels: Sequence[str] = (), *, registry: CollectorRegistry = REGISTRY
) -> Gauge:
    """A number that goes up and down. With labels it tells nothing until it is set."""
    return Gauge(name, documentation, labels, registry=registry)


def exposition(registry: CollectorRegistry = REGISTRY) -> bytes:
    """All numbers as text, of content type `CONTENT_TYPE`."""
    return generate_latest(registry)
