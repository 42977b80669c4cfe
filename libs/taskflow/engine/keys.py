"""keys: what requests with an idempotency key are answered that another request has used already."""

from __future__ import annotations

from collections.abc import Sequence

from taskflow.domain.errors import IdempotencyKeyReused
from taskflow.domain.task import Accepted, NewTask
from taskflow.store import idempotency, tasks
from taskflow.store.connect import Conn
from taskflow.store.idempotency import Key

Written = Accepted | IdempotencyKeyReused


async def take(conn: Conn, keyed: Sequence[NewTask]) -> dict[str, Written]:
    """Take the keys of these; by task id, the answers to those whose key stands for another task already."""
    first: dict[tuple[str, str], NewTask] = {}
    for task in keyed:
        first.setdefault((task.owner_id, task.idempotency_key or ""), task)
    keys = [Key(owner, key, task.request_hash, [task.id]) for (owner, key), task in first.items()]
    held = await idempotency.take_keys(conn, keys)
    answers: dict[str, Written] = {}
    for task in keyed:
        place = (task.owner_id, task.idempotency_key or "")
        winner = held.get(place) or Key(*place, first[place].request_hash, [first[place].id])
        if winner.task_ids == [task.id]:
            continue
        if winner.request_hash != task.request_hash or len(winner.task_ids) != 1:
            answers[task.id] = IdempotencyKeyReused()
        else:
            answers[task.id] = Accepted(winner.task_ids[0], "queued", replayed=True)
    return answers


async def take_whole(conn: Conn, whole: Key) -> list[Accepted] | None:
    """Take the key of a batch; the answers, if it stands for a batch already."""
    held = (await idempotency.take_keys(conn, [whole])).get((whole.owner_id, whole.key))
    if held is None or held.task_ids == whole.task_ids:
        return None
    if held.request_hash != whole.request_hash:
        raise IdempotencyKeyReused()
    now = await tasks.read_statuses(conn, held.task_ids)
    return [Accepted(i, now[i][0] if i in now else "pruned", replayed=True) for i in held.task_ids]
