"""What happened to a task can be read, and followed while it happens."""

from __future__ import annotations

import json

from tests.support.systems import System


def test_what_a_handler_says_is_in_the_log_of_its_task(system: System) -> None:
    task = system.wait(system.submit("talks")["id"])
    lines = [line["message"] for line in system.get(f"/tasks/{task['id']}/logs")["items"]]
    assert lines == ["said through the context", "said through logging", "said by print"]
    assert task["progress"] == {"fraction": 1.0, "message": "whole"}


def test_the_history_is_numbered_without_a_gap(system: System) -> None:
    task = system.wait(system.submit("talks", {"x": 1})["id"])
    events = system.get(f"/tasks/{task['id']}/events")["items"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    told = [event["status"] for event in events if event["event"] == "task"]
    assert told == ["queued", "running", "completed"]


def test_a_stream_follows_a_task_to_its_end_and_resumes_where_it_was_cut(system: System) -> None:
    task = system.submit("nap", {"seconds": 0.5})
    frames = _frames(system, task["id"], 0)
    assert [f["event"] for f in frames] == ["task", "task", "task", "end"]
    assert [f["data"]["status"] for f in frames[:3]] == ["queued", "running", "completed"]
    later = _frames(system, task["id"], 1)
    assert [f["id"] for f in later if f["event"] == "task"] == ["2", "3"]
    over = system.http.get(
        f"/api/v1/tasks/{task['id']}/events",
        headers={"accept": "text/event-stream", "last-event-id": "3"},
    )
    assert over.status_code == 204


def _frames(system: System, task_id: str, after: int) -> list[dict[str, object]]:
    headers = {"accept": "text/event-stream", **({"last-event-id": str(after)} if after else {})}
    frames: list[dict[str, object]] = []
    frame: dict[str, object] = {}
    with system.http.stream("GET", f"/api/v1/tasks/{task_id}/events", headers=headers) as stream:
        for line in stream.iter_lines():
            name, _, value = line.partition(": ")
            if not line and frame:
                frames.append(frame)
                frame = {}
            elif name == "data":
                frame["data"] = json.loads(value)
            elif name in {"event", "id"}:
                frame[name] = value
    return [each for each in frames if "event" in each]
