"""What a delivery bears: the task as the move left it, byte for byte, whatever becomes of the task."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from tests.contract.store import world
from tests.contract.store.deliveries import TARGET, callback, told
from tests.contract.store.stories import BY, STORIES, Story
from tests.contract.store.world import FAILED, LOST, PERMANENT

from taskflow.domain.attempt import Outcome, Succeeded
from taskflow.domain.retry import RetryPolicy
from taskflow.kit.clock import now
from taskflow.kit.ids import first_id_at, new_id
from taskflow.store import doorbells, tending
from taskflow.store.commands import cancel_tasks, retry_tasks
from taskflow.store.snapshots import snapshot_task
from taskflow.store.tasks import Wanted, read_tasks

Conn = asyncpg.Connection
PAYLOAD = '{"a":1e400,"b":"\\u0000","z":1.0,"k":1,"k":2}'
RICH: dict[str, Any] = {
    "payload": PAYLOAD, "callback": callback(), "target": TARGET, "name": 'n "ö"', "tags": ["a", 'b"c', "ü"],
    "metadata": '{"m":1e400,"u":"\\u0000"}', "lane": 0, "queue": "mail", "type": "http.push",
    "expires_at": now() + timedelta(days=1, microseconds=1), "retry": RetryPolicy(strategy="fixed", base_seconds=0.1),
    "timeout_seconds": 0.1, "owner_id": new_id(),
}  # fmt: skip
PROGRESS = '{"percent":12.50,"note":"\\u0000"}'


async def _rich(conn: Conn, **changes: Any) -> str:
    [task_id] = await world.submit(conn, **(RICH | changes))
    await conn.execute("UPDATE tasks SET progress = $2 WHERE id = $1", task_id, PROGRESS)
    return task_id


@pytest.mark.parametrize("story", [one for one in STORIES if one.told], ids=lambda story: story.name)
async def test_what_is_told_is_the_task_as_the_move_left_it(conn: Conn, story: Story) -> None:
    task_id = await _rich(conn, target=None, type="demo", **story.fields)
    await story.happen(conn, task_id)
    rows = await told(conn, task_id)
    assert len(rows) == len(story.told)
    last = snapshot_task(rows[-1]["content"])
    assert (bytes(last.payload), bytes(last.progress)) == (PAYLOAD.encode(), PROGRESS.encode())
    if last.version == (await world.row(conn, task_id))["version"]:
        await _is_as_read(conn, task_id, rows[-1]["content"])


async def _is_as_read(conn: Conn, task_id: str, content: str) -> None:
    """But for what the engine judges: what it waits for."""
    seen = snapshot_task(content)
    read = (await read_tasks(conn, [Wanted(task_id)]))[Wanted(task_id)]
    judged = msgspec.structs.replace(seen, waiting_for=None)
    assert msgspec.json.encode(judged) == msgspec.json.encode(read)
    assert seen.waiting_for == ("due_time" if read.status in {"scheduled", "retrying"} else None)


@pytest.mark.parametrize(
    "outcome", [Succeeded(PAYLOAD), Succeeded(None), FAILED, PERMANENT, LOST], ids=["json", "none", *"frl"]
)
async def test_a_pushed_task_is_told_as_callers_read_it(conn: Conn, outcome: Outcome) -> None:
    task_id = await _rich(conn)
    worker = await world.start_worker(conn)
    [task] = await world.claim_pushed(conn, worker, [task_id])
    await _is_as_read(conn, task_id, (await told(conn))[-1]["content"])
    await world.end(conn, [task], outcome)
    rows = await told(conn)
    assert len(rows) == 2
    await _is_as_read(conn, task_id, rows[-1]["content"])
    assert PAYLOAD in rows[-1]["content"]


async def test_a_task_that_waits_without_a_doorbell_can_be_told(conn: Conn) -> None:
    """Its stamp is PostgreSQL's infinity."""
    [task_id] = await world.submit(conn, callback=callback())
    await doorbells.park(conn, [task_id])
    await cancel_tasks(conn, [task_id], BY)
    await _is_as_read(conn, task_id, (await told(conn))[0]["content"])


async def test_what_was_told_stays_as_it_was(conn: Conn) -> None:
    [task] = await world.run(conn, payload=PAYLOAD, callback=callback())
    await world.end(conn, [task], FAILED)
    before = [row["content"] for row in await told(conn)]
    await cancel_tasks(conn, [task.id], BY)
    await retry_tasks(conn, [task.id], BY)
    await conn.execute(
        "UPDATE tasks SET payload = '1', callback = NULL, told_events = NULL WHERE id = $1", task.id
    )
    await cancel_tasks(conn, [task.id], BY)
    assert [row["content"] for row in await told(conn)][:2] == before
    await conn.execute("UPDATE tasks SET finished_at = now() - interval '2 h'")
    horizon = first_id_at(now() + timedelta(hours=1))
    assert await tending.prune_tasks(conn, before_id=horizon, keep_seconds=3_600, limit=10) == 1
    assert [row["content"] for row in await told(conn)][:2] == before
    assert [snapshot_task(content).status for content in before] == ["running", "retrying"]
