"""Spans that a collector does not take: said once, and once when it takes them again."""

from __future__ import annotations

import pytest
from tests.support.logs import logged
from tests.support.otlp import otlp_receiver

from taskflow.kit import otel
from taskflow.kit.otel import OtelTracer


def test_lost_spans_are_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")

    def send(count: int) -> None:
        for _ in range(count):
            tracer.begin("work", "server", None, {}).end()
        tracer.flush()

    with otlp_receiver() as collector, logged(otel) as lines:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        tracer = OtelTracer("api")
        try:
            collector.status = 400
            send(2)
            send(3)
            assert [line["event"] for line in lines] == ["traces.lost"]
            collector.status = 200
            send(1)
            send(1)
        finally:
            tracer.close()
    assert len(collector.spans) == 2
    assert [line["event"] for line in lines] == ["traces.lost", "traces.resumed"]
    assert lines[1]["spans_lost"] == 5
