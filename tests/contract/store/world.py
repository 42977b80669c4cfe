"""The store's statements in the order of a task's path, for tests that say what must come of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from taskflow.domain.attempt import ErrorInfo, Failed, Lost, Outcome, Released, Succeeded
from taskflow.domain.decide import decide
from taskflow.domain.retry import RetryPolicy
from taskflow.domain.task import Claimed, NewTask
from taskflow.kit.clock import now
from taskflow.kit.ids import new_id
from taskflow.store.inserts import insert_tasks
from taskflow.store.moves import Record, Recorded, claim_tasks, record_outcomes
from taskflow.store.workers import Registration, register

Conn = asyncpg.Connection

ERROR = ErrorInfo("ValueError", "no")
DONE = Succeeded('{"ok": true}')
FAILED = Failed(ERROR)
PERMANENT = Failed(ERROR, permanent=True)
LOST = Lost(ERROR)
RELEASED = Released("drain")
SOON = RetryPolicy(strategy="fixed", base_seconds=60, max_seconds=60, jitter="none")
TYPES = ["demo", "echo"]


def new_task(**fields: Any) -> NewTask:
    """A task as the engine hands it to the store: everything settled."""
    settled: dict[str, Any] = {"id": new_id(), "type": "demo", "max_attempts": 5, "timeout_seconds": 30.0,
                               "retry": SOON}  # fmt: skip
    return NewTask(**(settled | fields))


async def submit(conn: Conn, count: int = 1, **fields: Any) -> list[str]:
    """New tasks; their ids."""
    rows = await insert_tasks(conn, [new_task(**fields) for _ in range(count)])
    assert len(rows) == count
    return sorted(row.id for row in rows)


async def start_worker(conn: Conn, *, lease_seconds: float = 600, **fields: Any) -> str:
    """A registered worker; its id."""
    kept: dict[str, Any] = {
        "id": new_id(), "host": "here", "pid": 1, "version": "0", "queues": ["default"], "types": TYPES,
        "slots": 10,
    }  # fmt: skip
    worker = Registration(**(kept | fields))
    await register(conn, worker, lease_seconds)
    return worker.id


async def claim(conn: Conn, worker_id: str, ids: Sequence[str]) -> list[Claimed]:
    """The tasks this worker won."""
    won, moved = await claim_tasks(conn, worker_id, sorted(ids), TYPES)
    assert sorted(m.id for m in moved) == sorted(task.id for task in won)
    return won


async def claim_pushed(
    conn: Conn, worker_id: str, ids: Sequence[str], *, types: Sequence[str] = (), paused: Sequence[str] = ()
) -> list[Claimed]:
    """The tasks that a worker won which pushes."""
    return (await claim_tasks(conn, worker_id, sorted(ids), types, paused))[0]


async def run(conn: Conn, count: int = 1, **fields: Any) -> list[Claimed]:
    """New tasks in the hands of a new worker."""
    return await claim(conn, await start_worker(conn), await submit(conn, count, **fields))


async def end(conn: Conn, tasks: Sequence[Claimed], outcome: Outcome) -> dict[str, Recorded]:
    """Record the same end for each of these."""
    return await end_each(conn, tasks, [outcome] * len(tasks))


async def end_each(conn: Conn, tasks: Sequence[Claimed], outcomes: Sequence[Outcome]) -> dict[str, Recorded]:
    """Record how each of these ended, in one batch."""
    records = []
    for task, outcome in zip(tasks, outcomes, strict=True):
        decision = decide(task, outcome, now(), roll=0.0, poison_losses_max=3)
        records.append(Record(task, decision, new_id() if decision.bury else None))
    return await record_outcomes(conn, records)


async def bury(conn: Conn, count: int = 1, **fields: Any) -> list[str]:
    """Tasks that have failed for good; their ids."""
    tasks = await run(conn, count, **fields)
    assert len(await end(conn, tasks, PERMANENT)) == count
    return sorted(task.id for task in tasks)


async def row(conn: Conn, task_id: str) -> asyncpg.Record:
    """The task's row."""
    found = await conn.fetchrow("SELECT * FROM tasks WHERE id = $1", task_id)
    assert found is not None
    return found


async def status(conn: Conn, task_id: str) -> str:
    """The task's status."""
    return str((await row(conn, task_id))["status"])


async def executions(conn: Conn, task_id: str) -> list[tuple[int, int, int, str, str | None]]:
    """number, life, attempt, status, moved_to of every row of executions."""
    rows = await conn.fetch(
        "SELECT number, life, attempt, status, moved_to FROM executions WHERE task_id = $1 ORDER BY number",
        task_id,
    )
    return [tuple(r) for r in rows]


async def make_due(conn: Conn, ids: Sequence[str], column: str = "due_at") -> None:
    """Bring a time of these tasks into the past."""
    await conn.execute(f"UPDATE tasks SET {column} = now() - interval '1 second' WHERE id = ANY($1)", ids)


async def end_lease(conn: Conn, worker_id: str) -> None:
    """Let a worker's lease run out."""
    await conn.execute("UPDATE workers SET lease_until = now() - interval '1 ms' WHERE id = $1", worker_id)
