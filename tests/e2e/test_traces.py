"""Traces of a whole system: one from the request to every attempt; none of what is not sampled."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.support import leaks
from tests.support.otlp import Receiver, Told, otlp_receiver
from tests.support.systems import System, running_system
from tests.support.waiting import wait_until_sync

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
UNSAMPLED = "00-11111111111111111111111111111111-2222222222222222-00"


@pytest.fixture(scope="module")
def traced() -> Iterator[tuple[System, Receiver]]:
    """A system that traces what callers sample, and nothing else; it logs all there is."""
    before = leaks.running()
    with otlp_receiver() as receiver:
        settings = {
            "TRACES": "true", "TRACE_SAMPLE_RATIO": "0", "LOG_LEVEL": "debug", "LOG_FORMAT": "json",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "200",
            "WORKER_BACKOFF_BASE": "100ms",
        }  # fmt: skip
        with running_system("--import", "tests.support.traced_handlers", **settings) as system:
            yield system, receiver
    leaks.check_none_left(before)


def _submit(system: System, type_: str, parent: str, **fields: object) -> str:
    headers = {"traceparent": parent}
    answer = system.http.post("/api/v1/tasks", json={"type": type_, **fields}, headers=headers)
    task = System.answered(answer, 202)
    system.accepted.add(task["id"])
    return str(task["id"])


def _spans(receiver: Receiver, trace_id: str, count: int) -> list[Told]:
    return wait_until_sync(
        lambda: (found := receiver.of_trace(trace_id)) and len(found) >= count and found,
        f"{count} spans of the trace have come", 15, interval=0.1,
    )  # fmt: skip


def test_one_trace_leads_from_the_request_over_every_attempt(traced: tuple[System, Receiver]) -> None:
    system, receiver = traced
    task_id = _submit(system, "tells_trace", PARENT, max_attempts=3)
    assert system.wait(task_id)["status"] == "failed"
    request, *attempts = sorted(
        _spans(receiver, TRACE, 4), key=lambda s: s.attributes.get("taskflow.execution", 0)
    )
    assert (request.service, request.name, request.parent_id) == (
        "taskflow-api", "POST /api/v1/tasks", "b7ad6b7169203331",
    )  # fmt: skip
    assert request.attributes["taskflow.task.id"] == task_id
    assert {span.parent_id for span in attempts} == {request.span_id}
    assert {(span.service, span.name) for span in attempts} == {("taskflow-worker", "process tells_trace")}
    assert [span.attributes["taskflow.attempt"] for span in attempts] == [1, 2, 3]
    assert [span.links for span in attempts] == [[], [attempts[0].span_id], [attempts[1].span_id]]
    for span in attempts:
        assert span.failed
        [event] = span.events
        assert event["exception.type"] == "ValueError"
        assert "tells_trace" in event["exception.stacktrace"]
        assert span.attributes["taskflow.outcome"] == "failed"


def test_a_handler_and_what_it_calls_go_on_from_its_attempt(traced: tuple[System, Receiver]) -> None:
    system, receiver = traced
    trace_id = "22222222222222222222222222222222"
    task_id = _submit(system, "calls_on", f"00-{trace_id}-b7ad6b7169203331-01")
    told = system.wait(task_id)["result"]
    _, attempt, inner = sorted(
        _spans(receiver, trace_id, 3), key=lambda s: ("POST", "proc", "inne").index(s.name[:4])
    )
    assert told == f"00-{trace_id}-{attempt.span_id}-01"
    assert inner.parent_id == attempt.span_id


def test_a_handler_in_a_child_process_is_told_too(traced: tuple[System, Receiver]) -> None:
    system, receiver = traced
    trace_id = "33333333333333333333333333333333"
    task_id = _submit(system, "tells_trace_in_child", f"00-{trace_id}-b7ad6b7169203331-01")
    told = system.wait(task_id)["result"]
    attempt = next(span for span in _spans(receiver, trace_id, 2) if span.service == "taskflow-worker")
    assert told == f"00-{trace_id}-{attempt.span_id}-01"


def test_what_is_not_sampled_makes_no_span_and_is_handed_on(traced: tuple[System, Receiver]) -> None:
    system, receiver = traced
    unsampled = system.wait(_submit(system, "tells_trace_in_child", UNSAMPLED))
    unreadable = system.wait(_submit(system, "tells_trace_in_child", "00-nonsense-01"))
    without = system.wait(system.submit("tells_trace_in_child")["id"])
    assert (unsampled["result"], unreadable["result"], without["result"]) == (UNSAMPLED, None, None)
    for task_id in (system.submit("calls_on")["id"], _submit(system, "calls_on", UNSAMPLED)):
        assert system.wait(task_id)["status"] == "completed"
    last = "44444444444444444444444444444444"
    system.wait(_submit(system, "tells_trace_in_child", f"00-{last}-b7ad6b7169203331-01"))
    _spans(receiver, last, 2)
    assert {span.trace_id for span in receiver.spans if span.name == "inner"} <= {"2" * 32}, (
        "nor do libraries"
    )
    ids = {unsampled["id"], unreadable["id"], without["id"]}
    assert not [span for span in receiver.spans if span.attributes.get("taskflow.task.id") in ids]


def test_a_failed_task_is_explained_from_its_request_to_its_traceback(
    traced: tuple[System, Receiver],
) -> None:
    """By the lines of the log alone: who was told only a request's id finds the cause."""
    system, receiver = traced
    trace_id = "55555555555555555555555555555555"
    headers = {"x-request-id": "a-caller-s-own", "traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    body = {"type": "tells_trace", "max_attempts": 1}
    task = System.answered(system.http.post("/api/v1/tasks", json=body, headers=headers), 202)
    system.wait(task["id"])

    def lines(**wanted: str) -> list[str]:
        return [line for line in system.log().splitlines()
                if all(f'"{key}":"{value}"' in line for key, value in wanted.items())]  # fmt: skip

    [submitted] = wait_until_sync(
        lambda: lines(event="task.submitted", request_id="a-caller-s-own"), "the submit is told of", 10
    )
    [task_id] = re.findall(r'"task_id":"([^"]+)"', submitted)
    assert task_id == task["id"]
    assert f'"trace_id":"{trace_id}"' in submitted
    [ended] = wait_until_sync(
        lambda: lines(event="attempt.ended", task_id=task_id), "the attempt is told of", 10
    )
    assert f'"trace_id":"{trace_id}"' in ended
    assert "Traceback" in ended
    assert "traced_handlers.py" in ended
    [buried] = wait_until_sync(
        lambda: lines(event="dead_letter.received", task_id=task_id), "the letter is", 10
    )
    assert "ValueError: told to" in buried
    assert f'"trace_id":"{trace_id}"' in buried
    assert any(span.failed for span in _spans(receiver, trace_id, 2))
    metrics = system.http.get("/metrics").text
    assert 'taskflow_tasks_submitted_total{priority="normal",queue="default",type="tells_trace"}' in metrics
