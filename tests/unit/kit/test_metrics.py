"""Numbers as Prometheus reads them."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from taskflow.kit.metrics import CONTENT_TYPE, counter, exposition, gauge
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
