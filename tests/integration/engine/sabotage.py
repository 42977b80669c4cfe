"""What SQL breaks behind the system's back, and what the doctor must find of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg
from tests.contract.store import world

from taskflow.kit.ids import new_id
from taskflow.store import commands, doorbells, stats

HOUR = "interval '1 hour'"
Break = Callable[[asyncpg.Connection], Awaitable[object]]


async def lose_doorbells(conn: asyncpg.Connection) -> None:
    await world.submit(conn, 3, queue="mail")
    await conn.execute(f"UPDATE tasks SET rung_at = now() - {HOUR} WHERE queue = 'mail'")


async def lose_doorbells_behind_others(conn: asyncpg.Connection) -> None:
    ids = await world.submit(conn, 2)
    await conn.execute(f"UPDATE tasks SET rung_at = now() - 2 * {HOUR} WHERE id = ANY($1)", ids)


async def park_what_is_served(conn: asyncpg.Connection) -> None:
    ids = await world.submit(conn, 2, type="echo")
    await conn.execute(f"UPDATE tasks SET queued_at = now() - {HOUR} WHERE id = ANY($1)", ids)
    await doorbells.park(conn, ids)


async def end_a_lease(conn: asyncpg.Connection) -> None:
    tasks = await world.run(conn, 3)
    await world.end_lease(conn, tasks[0].worker_id)


async def forget_a_worker(conn: asyncpg.Connection) -> None:
    tasks = await world.run(conn, 2)
    await conn.execute("DELETE FROM workers WHERE id = $1", tasks[0].worker_id)


async def run_for_ever(conn: asyncpg.Connection) -> None:
    tasks = await world.run(conn, 2)
    await conn.execute(
        f"UPDATE tasks SET started_at = now() - {HOUR} WHERE id = ANY($1)", [t.id for t in tasks]
    )


async def lose_letters(conn: asyncpg.Connection) -> None:
    ids = await world.bury(conn, 2)
    await conn.execute("DELETE FROM dead_letters WHERE task_id = ANY($1)", ids)


async def orphan_letters(conn: asyncpg.Connection) -> None:
    """As one who sends a failed task off again by hand would."""
    ids = await world.bury(conn, 2)
    await conn.execute(
        "UPDATE tasks SET status = 'retrying', due_at = now() + interval '1 day' WHERE id = $1", ids[0]
    )
    await conn.execute("UPDATE tasks SET status = 'cancelled' WHERE id = $1", ids[1])
    await count_anew(conn, "failed", "retrying", 1)
    await count_anew(conn, "failed", "cancelled", 1)


async def leave_tries_open(conn: asyncpg.Connection) -> None:
    tasks = await world.run(conn, 2)
    ids = [task.id for task in tasks]
    await commands.cancel_tasks(conn, ids, commands.By("ann"))
    await conn.execute(f"UPDATE tasks SET finished_at = now() - {HOUR} WHERE id = ANY($1)", ids)


async def count_wrongly(conn: asyncpg.Connection) -> None:
    await stats.fold(conn)
    await conn.execute("UPDATE stat_totals SET n = n + 7 WHERE status = 'completed'")
    await conn.execute(
        "UPDATE stat_totals SET n = n - 2 WHERE status = 'queued' AND (queue, type) = ('default', 'demo')"
    )


async def count_owners_wrongly(conn: asyncpg.Connection) -> None:
    ann, bob = new_id(), new_id()
    await world.submit(conn, 2, owner_id=ann, delay_seconds=600.0)
    await world.submit(conn, 3, owner_id=bob, delay_seconds=600.0)
    await stats.fold(conn)
    await conn.execute("UPDATE owner_totals SET n = n + 7 WHERE (owner_id, status) = ($1, 'scheduled')", ann)
    await conn.execute("DELETE FROM owner_totals WHERE owner_id = $1", bob)


async def lose_figures(conn: asyncpg.Connection) -> None:
    await conn.execute("DELETE FROM stat_deltas")
    await conn.execute("DELETE FROM stat_totals")


async def lose_tasks(conn: asyncpg.Connection) -> None:
    ids = await world.submit(conn, 2, type="lost", delay_seconds=60.0)
    await conn.execute("DELETE FROM tasks WHERE id = ANY($1)", ids)


async def succeed_twice(conn: asyncpg.Connection) -> None:
    [task] = await world.run(conn)
    await world.end(conn, [task], world.DONE)
    await conn.execute(
        "INSERT INTO executions (task_id, number, life, attempt, status, started_at, started_seq) "
        "VALUES ($1, 2, 1, 1, 'succeeded', now(), 9)", task.id,
    )  # fmt: skip
    await conn.execute("UPDATE tasks SET number = 2 WHERE id = $1", task.id)


async def complete_by_hand(conn: asyncpg.Connection) -> None:
    [task] = await world.run(conn)
    await world.end(conn, [task], world.FAILED)
    await conn.execute("UPDATE tasks SET status = 'completed' WHERE id = $1", task.id)
    await count_anew(conn, "retrying", "completed", 1)


async def lose_tries(conn: asyncpg.Connection) -> None:
    [task_id] = await world.bury(conn)
    await conn.execute("DELETE FROM executions WHERE task_id = $1", task_id)


async def try_too_often(conn: asyncpg.Connection) -> None:
    [task_id] = await world.bury(conn)
    await conn.execute("UPDATE executions SET attempt = 6 WHERE task_id = $1", task_id)


async def count_anew(conn: asyncpg.Connection, origin: str, target: str, n: int) -> None:
    await conn.execute(
        "INSERT INTO stat_deltas (n, queue, type, origin, target) VALUES ($1, 'default', 'demo', $2, $3)",
        n, origin, target,
    )  # fmt: skip


MENDED: list[tuple[Break, dict[str, int]]] = [
    (lose_doorbells, {"doorbells": 3}),
    (lose_doorbells_behind_others, {"doorbells": 2}),
    (park_what_is_served, {"parked": 2}),
    (end_a_lease, {"running": 3}),
    (forget_a_worker, {"running": 2}),
    (run_for_ever, {"running": 2}),
    (lose_letters, {"letters_missing": 2}),
    (orphan_letters, {"letters_orphaned": 2}),
    (leave_tries_open, {"tries_open": 2}),
    (count_wrongly, {"figures": 2}),
    (count_owners_wrongly, {"figures": 3}),
    (lose_figures, {"conservation": 29, "figures": 8}),
    (lose_tasks, {"conservation": 2, "figures": 2}),
]
BEYOND_REPAIR: list[tuple[Break, dict[str, int]]] = [
    (succeed_twice, {"successes_twice": 1}),
    (complete_by_hand, {"successes_missing": 1}),
    (lose_tries, {"tries_missing": 1}),
    (try_too_often, {"attempts_over": 1}),
]
