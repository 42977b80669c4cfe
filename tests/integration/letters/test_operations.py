"""Operations on many letters: the set, the rate, pause and stop, the death of the dlq-consumer, two operators at once."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.integration.letters.conftest import Buried, ended
from tests.support.books import Books
from tests.support.systems import System


def replay(system: System, tag: str, **fields: Any) -> dict[str, Any]:
    return system.post("/dead-letters/replay", {"filter": {"tag": tag}, **fields}, expect=202)


def test_a_dry_run_tells_what_would_be_done_and_does_nothing(system: System, buried: Buried) -> None:
    buried(3, "mails", {"path": "/nowhere"}, tags=["dry"])
    buried(2, "imports", {"path": "/nowhere"}, tags=["dry"])
    seen = system.post("/dead-letters/replay", {"filter": {"tag": "dry"}, "dry_run": True})
    assert (seen["matched"], seen["by_type"]) == (5, {"mails": 3, "imports": 2})
    assert len(seen["sample"]) == 5
    some = system.post("/dead-letters/replay", {"filter": {"tag": "dry"}, "limit": 2, "dry_run": True})
    oldest = sorted(letter["id"] for letter in system.list_all("/dead-letters", tag="dry"))[:2]
    assert (some["matched"], [letter["id"] for letter in some["sample"]]) == (2, oldest)
    assert {letter["status"] for letter in system.list_all("/dead-letters", tag="dry")} == {"pending"}


def test_all_that_matched_is_replayed_once_and_told(system: System, buried: Buried, tmp_path: Path) -> None:
    cause = tmp_path / "cause"
    ids = buried(40, "mails", {"path": str(cause)}, tags=["many"])
    cause.touch()
    operation = replay(system, "many", rate_per_second=1000, reason="server is back")
    later = buried(1, "mails", {"path": "/nowhere"}, tags=["many"])  # came after: not of the set
    done = ended(system, operation)
    assert (done["status"], done["matched"], done["done"], done["skipped"]) == ("done", 40, 40, 0)
    tasks = system.wait_all(ids)
    assert {(task["status"], task["life"]) for task in tasks.values()} == {("completed", 2)}
    assert system.get(f"/tasks/{later[0]}")["life"] == 1
    letters = system.list_all("/dead-letters", tag="many", status="replayed")
    assert {(x["operation_id"], x["resolved_by"], x["resolved_reason"]) for x in letters} == {
        (operation["id"], "local", "server is back")
    }
    moved = system.list_all(f"/tasks/{ids[0]}/events")
    [why] = [event["data"] for event in moved if event["data"].get("operation_id") == operation["id"]]
    assert (why["by"], why["reason"], why["life"]) == ("local", "server is back", 2)
    assert [event["action"] for event in done["events"]] == ["operation.accepted", "operation.done"]


def test_the_rate_is_kept(system: System, buried: Buried, tmp_path: Path) -> None:
    cause = tmp_path / "cause"
    buried(60, "mails", {"path": str(cause)}, tags=["rate"])
    cause.touch()
    began = time.monotonic()
    done = ended(system, replay(system, "rate", rate_per_second=20))
    assert 2.5 < time.monotonic() - began < 10  # 60 at 20/s
    assert done["done"] == 60


def test_a_paused_operation_rests_and_a_stopped_one_ends(
    system: System, buried: Buried, tmp_path: Path
) -> None:
    cause = tmp_path / "cause"
    buried(50, "mails", {"path": str(cause)}, tags=["paused"])
    cause.touch()
    operation = replay(system, "paused", rate_per_second=20)
    path = f"/operations/{operation['id']}"
    system.until(lambda: system.get(path)["done"] >= 3, "it has begun")
    paused = system.post(f"{path}/pause", {"reason": "let me look"})
    assert (paused["status"], paused["status_reason"]) == ("paused", "let me look")
    rested = system.get(path)["done"]
    time.sleep(0.5)
    assert system.get(path)["done"] == rested < 50
    assert system.post(f"{path}/resume")["status"] == "running"
    system.until(lambda: system.get(path)["done"] > rested, "it goes on")
    stopped = system.post(f"{path}/stop", {"reason": "enough"})
    assert stopped["status"] == "stopped"
    time.sleep(0.3)
    after = system.get(path)
    assert after["done"] == stopped["done"] < 50
    assert system.post(f"{path}/stop")["status"] == "stopped"  # a second time is no fault
    refused = system.http.post(f"/api/v1{path}/resume")
    assert (refused.status_code, refused.json()["code"]) == (409, "operation_finished")
    assert [(event["action"], event["reason"]) for event in after["events"]] == [
        ("operation.accepted", None),
        ("operation.paused", "let me look"),
        ("operation.resumed", None),
        ("operation.stopped", "enough"),
    ]
    assert len(system.list_all("/dead-letters", tag="paused", status="pending")) == 50 - after["done"]


@pytest.mark.timeout(180)
def test_it_survives_the_death_of_the_dlq_consumer(
    system: System, buried: Buried, truth: Books, tmp_path: Path
) -> None:
    cause = tmp_path / "cause"
    ids = buried(300, "mails", {"path": str(cause)}, tags=["killed"])
    cause.touch()
    operation = replay(system, "killed", rate_per_second=100)
    path = f"/operations/{operation['id']}"
    for share in (60, 160):
        system.until(lambda share=share: system.get(path)["done"] >= share, f"{share} are done", 60)
        os.kill(system.facts()["pids"]["dlq_consumer"], signal.SIGKILL)
    done = ended(system, operation, 90)
    assert (done["done"], done["skipped"], done["failed"]) == (300, 0, 0)
    tasks = system.wait_all(ids)
    assert {(task["status"], task["life"]) for task in tasks.values()} == {("completed", 2)}
    [counted] = truth.rows(
        "SELECT count(*) AS n FROM task_events WHERE data->>'operation_id' = $1", operation["id"]
    )
    assert counted["n"] == 300


def test_two_operators_at_once_replay_each_letter_once(
    system: System, buried: Buried, truth: Books, tmp_path: Path
) -> None:
    cause = tmp_path / "cause"
    ids = buried(80, "mails", {"path": str(cause)}, tags=["both"])
    cause.touch()
    letters = {x["task_id"]: x["id"] for x in system.list_all("/dead-letters", tag="both")}
    with ThreadPoolExecutor(12) as pool:
        bulk = [pool.submit(replay, system, "both", rate_per_second=1000) for _ in range(2)]
        single = [
            pool.submit(system.http.post, f"/api/v1/dead-letters/{letters[task_id]}/replay")
            for task_id in ids[::4] * 2
        ]
        operations = [ended(system, one.result()) for one in bulk]
        answers = [one.result().status_code for one in single]
    assert set(answers) <= {202, 409}
    assert sum(one["done"] for one in operations) + answers.count(202) == 80
    for one in operations:
        assert one["done"] + one["skipped"] == one["matched"]
    tasks = system.wait_all(ids)
    assert {(task["status"], task["life"]) for task in tasks.values()} == {("completed", 2)}


def test_many_are_discarded(system: System, buried: Buried) -> None:
    ids = buried(30, "mails", {"path": "/nowhere"}, tags=["dropped"])
    letters = sorted(letter["id"] for letter in system.list_all("/dead-letters", tag="dropped"))
    body = {"filter": {"tag": "dropped"}, "limit": 20, "rate_per_second": 1000, "reason": "test data"}
    done = ended(system, system.post("/dead-letters/discard", body, expect=202))
    assert (done["matched"], done["done"]) == (20, 20)
    left = system.list_all("/dead-letters", tag="dropped", status="pending")
    assert sorted(letter["id"] for letter in left) == letters[20:]  # the oldest went first
    assert {system.get(f"/tasks/{task_id}")["status"] for task_id in ids[:3]} == {"failed"}


def test_tasks_are_cancelled_and_retried_in_bulk(system: System) -> None:
    ids = system.submit_many(
        [{"type": "nap", "payload": {"seconds": 30}, "tags": ["naps"], "delay_seconds": 0}] * 15
    )
    system.until(lambda: system.get(f"/tasks/{ids[0]}")["status"] == "running", "they run")
    body = {"filter": {"tag": "naps"}, "rate_per_second": 1000, "reason": "wrong batch"}
    done = ended(system, system.post("/tasks/cancel", body, expect=202))
    assert (done["action"], done["done"]) == ("cancel", 15)
    assert {system.get(f"/tasks/{task_id}")["status"] for task_id in ids} == {"cancelled"}
    # the handlers really end: their tries are closed
    system.until(
        lambda: {each["status"] for each in system.executions(ids[0])} == {"cancelled"},
        "the handler has ended",
    )
    body = {"filter": {"tag": "naps", "status": "cancelled"}, "limit": 2, "rate_per_second": 1000}
    assert ended(system, system.post("/tasks/retry", body, expect=202))["done"] == 2
    assert sorted(system.get(f"/tasks/{task_id}")["life"] for task_id in ids) == [1] * 13 + [2] * 2
    system.post("/tasks/cancel", {"filter": {"tag": "naps"}, "rate_per_second": 1000}, expect=202)


def test_overlapping_retries_of_tasks_touch_each_once(system: System, buried: Buried) -> None:
    ids = buried(20, "mails", {"path": "/nowhere"}, tags=["overlap"])
    body = {"filter": {"tag": "overlap"}, "rate_per_second": 10}
    pid = system.facts()["pids"]["dlq_consumer"]
    os.kill(pid, signal.SIGSTOP)  # both sets are taken before either acts
    try:
        both = [system.post("/tasks/retry", body, expect=202) for _ in range(2)]
    finally:
        os.kill(pid, signal.SIGCONT)
    # What the one has retried fails again before the other's turn.
    done = [ended(system, one) for one in both]
    assert sum(one["done"] for one in done) == 20
    assert {system.get(f"/tasks/{task_id}")["life"] for task_id in ids} == {2}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/filter"),
        ({"filter": {}}, "/filter"),
        ({"filter": {"typ": "x"}}, "/filter/typ"),
        ({"filter": {"type": "no good"}}, "/filter/type"),
        ({"filter": {"status": "replayed"}}, "/filter/status"),
        ({"filter": {"type": []}}, "/filter"),
        ({"filter": {"fingerprint": ["a", "b"]}}, "/filter/fingerprint"),
        ({"filter": {"created_after": "yesterday"}}, "/filter/created_after"),
        ({"filters": {"type": "x"}}, "/filters"),
        ({"all": True, "rate_per_second": 0}, "/rate_per_second"),
        ({"all": True, "limit": 0}, "/limit"),
        ({"all": True, "limit": 1.5}, "/limit"),
        ({"all": True, "canary": {"first": 0}}, "/canary"),
        ({"all": True, "canary": {"frist": 1}}, "/canary"),
        ({"all": True, "reason": ""}, "/reason"),
        ({"all": "yes"}, "/all"),
    ],
)
def test_what_is_wrong_is_named(system: System, body: dict[str, Any], pointer: str) -> None:
    answer = system.http.post("/api/v1/dead-letters/replay", json=body)
    assert answer.status_code == 422
    assert pointer in [one.get("pointer") for one in answer.json()["errors"]]


def test_a_canary_is_for_replays(system: System) -> None:
    body = {"all": True, "canary": {"first": 1}}
    assert system.http.post("/api/v1/dead-letters/discard", json=body).status_code == 422
    assert system.http.post("/api/v1/tasks/cancel", json=body).status_code == 422


def test_operations_are_listed(system: System) -> None:
    nothing = replay(system, "none has this tag")
    assert (nothing["status"], nothing["matched"]) == ("done", 0)
    assert system.get("/operations", limit=1)["items"][0]["id"] == nothing["id"]
    assert nothing["id"] not in {one["id"] for one in system.list_all("/operations", status="running")}
    missing = system.http.get("/api/v1/operations/01a20592-d844-773f-bd97-05a1dadc326d")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
