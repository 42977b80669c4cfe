"""Numbers as Prometheus reads them."""

from __future__ import annotations

import httpx
import prometheus_client
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from taskflow.kit.metrics import CONTENT_TYPE, REGISTRY, Bounded, counter, exposition, gauge, histogram
from taskflow.kit.probes import Probes


def told(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by its name and label values."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_and_gauges_are_told() -> None:
    registry = CollectorRegistry()
    made = counter("made_total", "Made.", ["colour"], [("red",), ("blue",)], registry=registry)
    waiting = gauge("waiting", "Waiting.", registry=registry)
    made.labels("red").inc()
    made.labels("red").inc(2)
    waiting.set(4)
    assert told(exposition(registry).decode()) == {
        ("made_total", ("red",)): 3, ("made_total", ("blue",)): 0, ("waiting", ()): 4,
    }  # fmt: skip


def test_a_counter_is_named_as_one() -> None:
    with pytest.raises(ValueError, match="_total"):
        counter("made", "Made.", registry=CollectorRegistry())


def test_a_name_is_given_once() -> None:
    registry = CollectorRegistry()
    counter("made_total", "Made.", registry=registry)
    with pytest.raises(ValueError, match="made"):
        counter("made_total", "Made again.", registry=registry)


def test_a_histogram_counts_what_is_at_most_each_bound() -> None:
    registry = CollectorRegistry()
    took = histogram("took_seconds", "Took.", ["way"], bounds=(0.1, 1), registry=registry)
    for seconds in (0.05, 0.1, 0.5, 7.0):
        took.observe(seconds, "on foot")
    took.observe(2.0, "by train")
    found = told(exposition(registry).decode())
    assert {key: n for key, n in found.items() if "by train" not in key[1]} == {
        ("took_seconds_bucket", ("0.1", "on foot")): 2,
        ("took_seconds_bucket", ("1.0", "on foot")): 3,
        ("took_seconds_bucket", ("+Inf", "on foot")): 4,
        ("took_seconds_count", ("on foot",)): 4,
        ("took_seconds_sum", ("on foot",)): pytest.approx(7.65),
    }
    assert found["took_seconds_bucket", ("+Inf", "by train")] == 1


def test_a_histogram_reads_as_the_library_s_own() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = histogram("took_seconds", "Took.", ["way"], bounds=(0.005, 1, 2.5), registry=ours)
    other = prometheus_client.Histogram(
        "took_seconds", "Took.", ["way"], buckets=(0.005, 1, 2.5), registry=theirs
    )
    for seconds in (0.0, 0.005, 0.006, 1.0, 2.0, 2.5, 1e9):
        mine.observe(seconds, "on foot")
        other.labels("on foot").observe(seconds)
    assert told(exposition(ours).decode()) == told(exposition(theirs).decode())


def test_a_histogram_refuses_what_would_be_read_wrongly() -> None:
    with pytest.raises(ValueError, match="do not rise"):
        histogram("took_seconds", "Took.", bounds=(1, 0.1), registry=CollectorRegistry())
    took = histogram("took_seconds", "Took.", ["way"], bounds=(1,), registry=CollectorRegistry())
    with pytest.raises(ValueError, match="way"):
        took.observe(1.0)


def test_ten_thousand_names_make_no_more_values_than_allowed() -> None:
    names = Bounded(500)
    told_as = {names("default", f"type-{n}") for n in range(10_000)}
    assert len(told_as) == 500
    assert names("default", "type-0") == ("default", "type-0")
    assert names("default", "type-9999") == ("other", "other")
    assert names("default", "type-498") == ("default", "type-498")
    assert names("default", "type-499") == ("other", "other")


async def test_what_is_read_only_when_asked_is_read_before_it_is_told() -> None:
    asked = gauge("asked", "How often it was asked.")

    async def ready() -> tuple[bool, dict[str, object]]:
        return True, {}

    async def refresh() -> None:
        asked.inc()

    try:
        async with Probes(0, "127.0.0.1", ready, refresh) as probes, httpx.AsyncClient() as http:
            for n in (1, 2):
                answer = await http.get(f"http://127.0.0.1:{probes.port}/metrics")
                assert told(answer.text)["asked", ()] == n
            await http.get(f"http://127.0.0.1:{probes.port}/readyz")
        assert asked._value.get() == 2
    finally:
        REGISTRY.unregister(asked)


async def test_probes_serve_what_the_process_counts() -> None:
    async def ready() -> tuple[bool, dict[str, object]]:
        return True, {}

    async with Probes(0, "127.0.0.1", ready) as probes, httpx.AsyncClient() as http:
        url = f"http://127.0.0.1:{probes.port}/metrics"
        answer = await http.get(url)
        assert (answer.status_code, answer.headers["content-type"]) == (200, CONTENT_TYPE)
        assert told(answer.text)["process_resident_memory_bytes", ()] > 1e6
        assert (await http.head(url)).content == b""
        assert (await http.post(url)).status_code == 405
