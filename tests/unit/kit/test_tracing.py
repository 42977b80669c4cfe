"""Trace contexts as W3C writes them, the draw, and what is off while traces are off."""

from __future__ import annotations

import sys

import pytest

from taskflow.kit import trace_context, tracing
from taskflow.kit.lifecycle import ProgramError

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("text", "understood"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", True),
        (f"00-{TRACE}-{SPAN}-ff", True),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f"01-{TRACE}-{SPAN}-01", False),
        (f"00-{TRACE}-{SPAN}-01-more", False),
        (f"00-{TRACE}-{SPAN}-01\n", False),
        (f"00-{TRACE}-{SPAN}", False),
        ("", False),
    ],
)
def test_what_counts_as_a_trace_context(text: str, understood: bool) -> None:
    assert trace_context.is_traceparent(text) is understood


@pytest.mark.parametrize(("flags", "sampled"), [("01", True), ("03", True), ("00", False), ("02", False)])
def test_only_the_last_flag_says_sampled(flags: str, sampled: bool) -> None:
    assert trace_context.is_sampled(f"00-{TRACE}-{SPAN}-{flags}") is sampled


def test_a_span_s_id_is_made_of_names_and_never_zero() -> None:
    assert trace_context.span_id_of("task", 1) == trace_context.span_id_of("task", 1)
    ids = {trace_context.span_id_of("task", number) for number in range(1000)}
    assert len(ids) == 1000
    assert all(trace_context.is_traceparent(f"00-{TRACE}-{each}-01") for each in ids)


def test_off_means_that_there_is_no_tracer() -> None:
    with tracing.tracing("api", on=False, ratio=1.0):
        assert tracing.tracer() is None


def test_on_draws_as_often_as_told_and_is_off_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    with tracing.tracing("api", on=True, ratio=0.01):
        assert tracing.tracer() is not None
        assert 800 < sum(tracing.drawn() for _ in range(100_000)) < 1_200
    assert tracing.tracer() is None
    assert not any(tracing.drawn() for _ in range(1_000))


def test_without_the_extra_one_line_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "taskflow.kit.otel", None)
    with (
        pytest.raises(ProgramError, match=r"pip install 'taskflow-platform\[otel\]'") as refused,
        tracing.tracing("api", on=True, ratio=1.0),
    ):
        pass
    assert refused.value.exit_code == 2
