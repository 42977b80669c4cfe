"""The feed of a whole system against the histories of its tasks: every move, log line and progress report is told, by
whichever process made it, and told as it stands in the history.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tests.support.chaos import kill
from tests.support.sse import Event, open_stream
from tests.support.systems import System
from tests.support.waiting import wait_until


async def test_every_move_of_every_process_is_told_as_the_history_has_it(system: System) -> None:
    told: list[Event] = []
    api = system.facts()["api_url"]

    async def follow() -> None:
        async with open_stream(f"{api}/api/v1/events") as stream:
            stood.set()
            async for event in stream:
                told.append(event)

    stood = asyncio.Event()
    following = asyncio.create_task(follow())
    try:
        await asyncio.wait_for(stood.wait(), 10)
        await asyncio.to_thread(system.wait, (await asyncio.to_thread(system.submit, "echo"))["id"])
        await wait_until(lambda: told, "the feed tells")
        ids = await asyncio.to_thread(live_through, system)
        histories = {task_id: history(system, task_id) for task_id in ids}
        wanted = {(task_id, seq) for task_id, events in histories.items() for seq in events}
        got: dict[tuple[str, int], Event] = {}

        def complete() -> bool:
            got.update({(e.json["task_id"], e.json["seq"]): e for e in told if "seq" in e.json})
            return wanted <= got.keys()

        await wait_until(complete, "all of it was told", 10)
    finally:
        following.cancel()
    assert {event.event for event in told} == {"task", "log", "progress"}
    ours = [(e.json["task_id"], e.json["seq"]) for e in told if e.json["task_id"] in histories]
    assert sorted(ours) == sorted(wanted), "each once, and nothing else"
    for (task_id, seq), event in got.items():
        if task_id in histories:
            assert shown(event) == histories[task_id][seq], (task_id, seq)


def live_through(system: System) -> list[str]:
    """Tasks that meet all that can happen: moved by the api, workers, the scheduler, the dlq-consumer."""
    soon = {"delay_seconds": 0.3}
    ids = {
        "completed": system.submit("echo"),
        "said": system.submit("flood", {"times": 3}),
        "reported": system.submit("reports", {"times": 12}),
        "due": system.submit("echo", **soon),
        "retried": system.submit("echo", {"fail_times": 1}, queue="default"),
        "buried": system.submit("echo", {"forceFail": True}, max_attempts=1),
        "cancelled": system.submit("sleep", {"duration": 30}),
        "never": system.submit("echo", delay_seconds=600),
        "unknown": system.submit("nobodys.type", expires_at=_in(1.0)),
        "lost": system.submit("sleep", {"duration": 30}, max_attempts=1),
    }
    named = {name: task["id"] for name, task in ids.items()}
    system.until(lambda: system.get(f"/tasks/{named['cancelled']}")["status"] == "running", "it runs")
    system.post(f"/tasks/{named['cancelled']}/cancel")
    system.post(f"/tasks/{named['never']}/cancel")
    system.wait(named["buried"])
    filters = {"filter": {"type": ["echo"], "status": ["failed"]}}
    operation = system.post("/tasks/retry", filters, expect=202)
    system.until(lambda: system.get(f"/operations/{operation['id']}")["status"] == "done", "replayed")
    for name in named.keys() - {"lost"}:
        system.wait(named[name])
    # By now its worker has told of all that it moved: what it had not, nobody could.
    worker_id = system.get(f"/tasks/{named['lost']}")["worker_id"]
    [pid] = [worker["pid"] for worker in system.get("/workers")["items"] if worker["id"] == worker_id]
    kill(pid)
    system.wait(named["lost"])
    return list(named.values())


def history(system: System, task_id: str) -> dict[int, Any]:
    return {
        event["seq"]: (event["event"], event["status"], _said(event["event"], event["data"]))
        for event in system.list_all(f"/tasks/{task_id}/events")
    }


def shown(event: Event) -> Any:
    """An event of the feed, as far as it tells what the history tells."""
    data = event.json
    status = data["status"] if event.event == "task" else None
    return (event.event, status, _said(event.event, data))


def _said(kind: str, data: dict[str, Any]) -> Any:
    match kind:
        case "log":
            return data["number"], data["level"], data["message"]
        case "progress":
            return data["fraction"], data.get("message")
        case _:
            return None


def _in(seconds: float) -> str:
    moment = time.time() + seconds
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1e6):06d}Z"
