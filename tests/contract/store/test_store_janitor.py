"""What the janitor takes, what stays, and that it tells beforehand what it then does."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import msgspec
import pytest
from tests.contract.store.conftest import Connect

from taskflow.domain.filters import AuditFilters
from taskflow.domain.task import LOCAL_OWNER
from taskflow.engine.janitor import PAGE_TOLD, Janitor, Keeping
from taskflow.kit.ids import new_id
from taskflow.store import audit_log, janitor
from taskflow.store.connect import Database, Line
from taskflow.store.errors import Unstorable
from taskflow.store.janitor import Swept

DAY = 86_400.0
KEEPING = Keeping(accounts_seconds=30 * DAY, audit_seconds=365 * DAY, key_idle_seconds=90 * DAY)


async def insert(conn: asyncpg.Connection, table: str, **values: Any) -> str:
    """A row; `<name>_days` stands for a time so many days ago. Returns its id."""
    values = {"id": new_id()} | values if table != "sign_in_failures" else values
    names, places, given = [], [], []
    for name, value in values.items():
        given.append(value)
        names.append(name.removesuffix("_days"))
        places.append(
            f"clock_timestamp() - ${len(given)}::float8 * interval '1 day'"
            if name.endswith("_days")
            else f"${len(given)}"
        )
    await conn.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(places)})", *given)
    return str(values.get("id"))


async def user(conn: asyncpg.Connection, **values: Any) -> str:
    return await insert(conn, "users", **({"username": new_id(), "created_at_days": 400.0} | values))


async def key(conn: asyncpg.Connection, user_id: str, **values: Any) -> str:
    settled = {"created_at_days": 400.0, "last_used_at_days": 0.0, "name": "ci", "hint": "tfq_a...z",
               "scopes": ["submit"], "hash": new_id().encode()}  # fmt: skip
    return await insert(conn, "api_keys", user_id=user_id, **(settled | values))


async def session(conn: asyncpg.Connection, user_id: str, **values: Any) -> str:
    """One with two refresh tokens, of which one is used."""
    settled = {"created_at_days": 60.0, "expires_at_days": -30.0}
    made = await insert(conn, "sessions", user_id=user_id, **(settled | values))
    for used in (60.0, None):
        await conn.execute(
            "INSERT INTO refresh_tokens VALUES ($1, $2, now(), now() - $3::float8 * interval '1 day')",
            new_id().encode(), made, used,
        )  # fmt: skip
    return made


async def ids(conn: asyncpg.Connection, table: str) -> set[str]:
    return {str(row["id"]) for row in await conn.fetch(f"SELECT id FROM {table}")}


async def test_keys_go_when_they_were_over_long_enough(conn: asyncpg.Connection) -> None:
    ann = await user(conn)
    stay = {
        await key(conn, ann),
        await key(conn, ann, expires_at_days=-1.0),
        await key(conn, ann, expires_at_days=29.0),
        await key(conn, ann, revoked_at_days=29.0),
    }
    for over in (
        {"expires_at_days": 31.0},
        {"revoked_at_days": 31.0},
        {"expires_at_days": 31.0, "revoked_at_days": 1.0},
    ):
        await key(conn, ann, **over)
    assert await janitor.remove_keys(conn, keep_seconds=30 * DAY, limit=2) == 2
    assert await janitor.remove_keys(conn, keep_seconds=30 * DAY, limit=2) == 1
    assert await janitor.remove_keys(conn, keep_seconds=30 * DAY, limit=2) == 0
    assert await ids(conn, "api_keys") == stay


async def test_keys_that_nobody_uses_are_revoked_once(conn: asyncpg.Connection) -> None:
    ann = await user(conn)
    await key(conn, ann)
    await key(conn, ann, last_used_at_days=89.0)
    await key(conn, ann, last_used_at_days=None, created_at_days=89.0)
    await key(conn, ann, last_used_at_days=100.0, expires_at_days=1.0)
    await key(conn, ann, last_used_at_days=100.0, revoked_at_days=1.0, revoked_reason="leaked")
    idle = {await key(conn, ann, last_used_at_days=91.0), await key(conn, ann, last_used_at_days=None)}
    revoked = await janitor.revoke_unused(conn, idle_seconds=90 * DAY, limit=10)
    assert {one.id for one in revoked} == idle
    assert {(one.user_id, one.name) for one in revoked} == {(ann, "ci")}
    assert await janitor.revoke_unused(conn, idle_seconds=90 * DAY, limit=10) == []
    rows = await conn.fetch(
        "SELECT id, revoked_reason FROM api_keys WHERE revoked_at > now() - interval '1 h'"
    )
    assert {(str(row["id"]), row["revoked_reason"]) for row in rows} == {(one, "unused") for one in idle}


async def test_sessions_go_a_week_after_their_end_with_their_tokens(conn: asyncpg.Connection) -> None:
    ann = await user(conn)
    stay = {
        await session(conn, ann),
        await session(conn, ann, expires_at_days=6.0),
        await session(conn, ann, ended_at_days=6.0),
    }
    await session(conn, ann, expires_at_days=8.0)
    await session(conn, ann, ended_at_days=8.0)
    assert await janitor.remove_sessions(conn, limit=10) == 2
    assert await ids(conn, "sessions") == stay
    tokens = await conn.fetch("SELECT session_id, used_at FROM refresh_tokens")
    assert len(tokens) == 6
    assert {str(row["session_id"]) for row in tokens} == stay
    assert sum(row["used_at"] is not None for row in tokens) == 3, "by used ones reuse is seen"


async def test_failures_to_sign_in_are_forgotten_when_nobody_is_locked_out(conn: asyncpg.Connection) -> None:
    for subject, since, locked_until in (
        ("old", 2.0, None), ("old, was locked", 2.0, 1.5), ("locked", 2.0, -0.1), ("lately", 2.0, 0.5), ("new", 0.5, None),
    ):  # fmt: skip
        await insert(
            conn,
            "sign_in_failures",
            subject=subject,
            failures=3,
            since_days=since,
            locked_until_days=locked_until,
        )
    assert await janitor.remove_failures(conn, limit=10) == 2
    left = await conn.fetch("SELECT subject FROM sign_in_failures")
    assert {row["subject"] for row in left} == {"locked", "lately", "new"}


async def test_the_audit_log_is_kept_for_its_own_time(conn: asyncpg.Connection) -> None:
    old = await aged_event(conn, 366)
    young = await aged_event(conn, 364)
    assert await janitor.remove_events(conn, keep_seconds=365 * DAY, limit=10) == 1
    assert old not in await ids(conn, "audit_events")
    assert young in await ids(conn, "audit_events")


async def aged_event(conn: asyncpg.Connection, days: float) -> str:
    """One of so many days ago, by its id too."""
    made: str = await conn.fetchval(
        "INSERT INTO audit_events (id, at, actor, action) SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), "
        "12, '0') || '7' || substr(md5(random()::text), 1, 19))::uuid, at, 'ann', 'queue.paused' "
        "FROM (SELECT clock_timestamp() - $1::float8 * interval '1 day' AS at) x RETURNING id::text",
        days,
    )
    return made


async def test_users_go_with_their_keys_and_sessions_but_the_built_in_one(conn: asyncpg.Connection) -> None:
    gone, lately, live = (
        await user(conn, deleted_at_days=31.0),
        await user(conn, deleted_at_days=29.0),
        await user(conn),
    )
    await user(conn, id=LOCAL_OWNER, deleted_at_days=1000.0)
    for one in (gone, lately):
        await key(conn, one)
        await session(conn, one)
    [removed] = await janitor.remove_users(conn, keep_seconds=30 * DAY, limit=10)
    assert removed.id == gone
    assert await ids(conn, "users") == {lately, live, LOCAL_OWNER}
    for table in ("api_keys", "sessions"):
        assert [str(row["user_id"]) for row in await conn.fetch(f"SELECT user_id FROM {table}")] == [lately]


async def a_mess(conn: asyncpg.Connection) -> None:
    """Something of everything, and more unused keys than a page holds."""
    ann, gone = await user(conn), await user(conn, deleted_at_days=31.0)
    for _ in range(PAGE_TOLD + 5):
        await key(conn, ann, last_used_at_days=100.0)
    for one in (ann, gone):
        await key(conn, one)
        await key(conn, one, revoked_at_days=40.0)
        await session(conn, one)
        await session(conn, one, ended_at_days=40.0)
    await insert(conn, "sign_in_failures", subject="x", failures=1, since_days=3.0)
    await aged_event(conn, 400)
    await conn.execute(
        "INSERT INTO rate_limits SELECT s, ARRAY[m], ARRAY[1] FROM (VALUES ('old', 70), ('young', 50)) AS g(s, ago), "
        "LATERAL (SELECT (extract(epoch FROM clock_timestamp()) / 60 - ago)::integer AS m) x"
    )
    await conn.execute("INSERT INTO rate_limits (subject) VALUES ('never taken of')")


EXPECTED = Swept(
    keys_revoked=PAGE_TOLD + 5, keys_removed=2, sessions_removed=2, failures_removed=1, events_removed=1, users_removed=1,
    limits_removed=2,
)  # fmt: skip
TABLES = (
    "users",
    "api_keys",
    "sessions",
    "refresh_tokens",
    "sign_in_failures",
    "audit_events",
    "rate_limits",
)


async def contents(conn: asyncpg.Connection) -> list[str]:
    """All that stands in these tables."""
    return [repr(sorted(map(repr, await conn.fetch(f"SELECT * FROM {table}")))) for table in TABLES]


async def test_what_would_be_done_is_then_done(database: Database, conn: asyncpg.Connection) -> None:
    await a_mess(conn)
    before = await contents(conn)
    async with Line(database) as line:
        found = Janitor(line, KEEPING)
        assert await found.preview() == EXPECTED
        assert await contents(conn) == before, "it only looked"
        assert await found.sweep() == EXPECTED
        assert await found.preview() == Swept()
        assert await found.sweep() == Swept()
    told = await audit_log.list_audit(conn, AuditFilters(actors=("janitor",)), limit=1_000, before=None)
    assert [event.action for event in told].count("api_key.revoked") == PAGE_TOLD + 5
    assert {event.reason for event in told if event.action == "api_key.revoked"} == {"unused"}
    assert [event.action for event in told].count("user.removed") == 1


async def test_without_a_longest_idle_time_no_key_is_revoked(
    database: Database, conn: asyncpg.Connection
) -> None:
    await a_mess(conn)
    async with Line(database) as line:
        found = Janitor(line, msgspec.structs.replace(KEEPING, key_idle_seconds=0.0))
        assert (await found.preview()).keys_revoked == 0
        assert (await found.sweep()).keys_revoked == 0


async def test_a_tick_takes_a_page_and_says_whether_there_is_more(
    database: Database, conn: asyncpg.Connection
) -> None:
    await a_mess(conn)
    async with Line(database) as line:
        found = Janitor(line, KEEPING)
        assert await found.run_once() is True
        assert await found.run_once() is False
        assert await found.preview() == Swept()


async def test_two_at_once_share_the_work(database: Database, conn: asyncpg.Connection) -> None:
    await a_mess(conn)
    async with Line(database) as one, Line(database) as other:
        swept = await asyncio.gather(Janitor(one, KEEPING).sweep(), Janitor(other, KEEPING).sweep())
    assert _sums(*swept) == msgspec.structs.asdict(EXPECTED)
    told = await conn.fetchval("SELECT count(*) FROM audit_events WHERE actor = 'janitor'")
    assert told == PAGE_TOLD + 5 + 1


def _sums(*swept: Swept) -> dict[str, int]:
    every = [msgspec.structs.asdict(one) for one in swept]
    return {name: sum(one[name] for one in every) for name in every[0]}


async def test_rows_that_another_holds_are_left_to_it(conn: asyncpg.Connection, connect: Connect) -> None:
    held, free = await user(conn, deleted_at_days=31.0), await user(conn, deleted_at_days=31.0)
    other = await connect()
    async with other.transaction():
        await other.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", held)
        assert [one.id for one in await janitor.remove_users(conn, keep_seconds=30 * DAY, limit=10)] == [free]
    assert [one.id for one in await janitor.remove_users(conn, keep_seconds=30 * DAY, limit=10)] == [held]


async def test_what_a_failed_note_belongs_to_did_not_happen(
    database: Database, conn: asyncpg.Connection
) -> None:
    """A removal and what the audit log tells of it are one transaction."""
    gone = await user(conn, deleted_at_days=31.0)
    await conn.execute(
        "ALTER TABLE audit_events ADD CONSTRAINT test_closed CHECK (actor <> 'janitor') NOT VALID"
    )
    try:
        async with Line(database) as line:
            with pytest.raises(Unstorable):
                await Janitor(line, KEEPING).sweep()
    finally:
        await conn.execute("ALTER TABLE audit_events DROP CONSTRAINT test_closed")
    assert gone in await ids(conn, "users")
