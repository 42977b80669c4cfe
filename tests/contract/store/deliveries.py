"""Tasks that tell others, and their deliveries, for tests of webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
from tests.contract.store import world

from taskflow.domain.callback import EVENTS, Callback, Target
from taskflow.domain.task import LOCAL_OWNER
from taskflow.kit.clock import now
from taskflow.store import webhooks
from taskflow.store.webhooks import Leased, Tried

Conn = asyncpg.Connection

HOST = "https://a.example:443"
URL = "https://a.example/hook"
SEALED = "c2VhbGVk"
TARGET = Target("https://b.example/run", "https://b.example:443", "PUT", ["x-key"], SEALED)


def callback(*events: str, **fields: Any) -> Callback:
    """Of these events, or of all."""
    settled: dict[str, Any] = {
        "url": URL, "host": HOST, "events": list(events or EVENTS), "header_names": ["x-a"], "has_secret": True,
        "max_attempts": 7, "sealed": SEALED,
    }  # fmt: skip
    return Callback(**(settled | fields))


async def told(conn: Conn, task_id: str | None = None) -> list[asyncpg.Record]:
    """The deliveries that were written, the oldest first; of one task, or of all."""
    rows: list[asyncpg.Record] = await conn.fetch(
        "SELECT * FROM webhook_deliveries WHERE task_id = $1 OR $1::uuid IS NULL ORDER BY created_at", task_id
    )
    return rows


async def events(conn: Conn, task_id: str) -> list[str]:
    """What of a task was told, in order."""
    return [row["event"] for row in await told(conn, task_id)]


async def write(
    conn: Conn,
    count: int = 1,
    *,
    host: str = "a",
    path: str = "hook",
    owner: str = LOCAL_OWNER,
    due_in: float = 0,
) -> list[str]:
    """New deliveries to a host, of a task each, the oldest first; their ids."""
    ids = []
    for task_id in await world.submit(conn, count, owner_id=owner):
        made = await webhooks.send_now(
            conn, task_id, owner, event="task.test", url=url_of(host, path), host=host_of(host), sealed=None,
            max_attempts=None,
        )  # fmt: skip
        assert made is not None
        ids.append(made)
    if due_in:
        await conn.execute(
            "UPDATE webhook_deliveries SET due_at = now() + $2 * interval '1 second' WHERE id = ANY($1)",
            ids,
            due_in,
        )
    return ids


def host_of(name: str) -> str:
    """As rows have it."""
    return f"https://{name}.example:443"


def url_of(name: str, path: str = "hook") -> str:
    """At that host."""
    return f"https://{name}.example/{path}"


async def lease(conn: Conn, **changes: Any) -> list[Leased]:
    """What a notifier gets that has nothing under way."""
    return (await look(conn, **changes))[0]


async def look(conn: Conn, **changes: Any) -> tuple[list[Leased], int, str | None]:
    """The same, with how many hosts were looked at, and the last."""
    settled: dict[str, Any] = {
        "after_host": "", "hosts_max": 1_000, "of_host_max": 1_000, "busy": {}, "limit": 1_000, "lease_seconds": 30.0,
    }  # fmt: skip
    return await webhooks.lease(conn, **(settled | changes))


def tried(one: Leased, error: str | None = None, delay_seconds: float | None = None) -> Tried:
    """How a try ended."""
    code = 200 if error is None else 500
    return Tried(one.id, one.turn, now(), 0.25, code, error, "said", delay_seconds)


async def record(
    conn: Conn, leased: Sequence[Leased], error: str | None = None, delay_seconds: float | None = None
) -> dict[str, int]:
    """The same end for each of these."""
    return await webhooks.record_tries(conn, [tried(one, error, delay_seconds) for one in leased])


async def send(conn: Conn, error: str | None = None, delay_seconds: float | None = None) -> list[Leased]:
    """All that is due, leased and ended like this."""
    leased = await lease(conn)
    assert set(await record(conn, leased, error, delay_seconds)) == {one.id for one in leased}
    return leased


async def end_leases(conn: Conn) -> None:
    """Let all leases run out."""
    await conn.execute(
        "UPDATE webhook_deliveries SET leased_until = now() - interval '1 ms', due_at = now() - interval '1 ms' "
        "WHERE leased_until IS NOT NULL"
    )


async def row(conn: Conn, delivery_id: str) -> asyncpg.Record:
    """The delivery's row."""
    found = await conn.fetchrow("SELECT * FROM webhook_deliveries WHERE id = $1", delivery_id)
    assert found is not None
    return found


async def endpoint(conn: Conn, url: str = URL, owner: str = LOCAL_OWNER) -> asyncpg.Record:
    """The endpoint's row."""
    found = await conn.fetchrow(
        "SELECT * FROM webhook_endpoints WHERE owner_id = $1 AND url = $2", owner, url
    )
    assert found is not None
    return found
