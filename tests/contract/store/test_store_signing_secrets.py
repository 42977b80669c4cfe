"""Signing secrets: replaced with an overlap, ended, sealed anew."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from tests.contract.store.conftest import Connect

from taskflow.kit.ids import new_id
from taskflow.store import signing_secrets
from taskflow.store.signing_secrets import Sealed

Conn = asyncpg.Connection
OVERLAP = 86_400.0


@pytest.fixture
async def user(conn: Conn) -> str:
    return await new_user(conn)


async def new_user(conn: Conn) -> str:
    """An account; its id."""
    made = new_id()
    await conn.execute("INSERT INTO users (id, username, created_at) VALUES ($1, $2, now())", made, made)
    return made


async def add(
    conn: Conn, user_id: str, sealed: bytes, *, shown: bool = True, overlap: float | None = OVERLAP
) -> str:
    """A new secret, as a rotation makes it; its id."""
    made = await signing_secrets.add_secret(conn, new_id(), user_id, sealed, shown=shown)
    assert (made.status, made.expires_at) == ("live", None)
    if overlap is not None:
        await signing_secrets.end_others(conn, user_id, made.id, overlap)
    return made.id


async def read(conn: Conn, user_id: str) -> list[bytes]:
    """What an account signs with."""
    return (await signing_secrets.read_secrets(conn, [user_id])).get(user_id, [])


async def seconds_left(conn: Conn, secret_id: str) -> float | None:
    """Until a secret ends."""
    found: float | None = await conn.fetchval(
        "SELECT extract(epoch FROM expires_at - now())::float8 FROM signing_secrets WHERE id = $1", secret_id
    )
    return found


async def test_during_a_rotation_both_sign_the_oldest_first(conn: Conn, user: str) -> None:
    first = await add(conn, user, b"1")
    second = await add(conn, user, b"2")
    assert await read(conn, user) == [b"1", b"2"]
    listed = await signing_secrets.list_secrets(conn, user)
    assert [(one.id, one.status) for one in listed] == [(second, "live"), (first, "ending")]
    assert (listed[0].expires_at, listed[1].expires_at is not None) == (None, True)
    left = await seconds_left(conn, first)
    assert left is not None and OVERLAP - 20 < left <= OVERLAP
    await conn.execute("UPDATE signing_secrets SET expires_at = now() - interval '1 ms' WHERE id = $1", first)
    assert await read(conn, user) == [b"2"]
    assert [one.id for one in await signing_secrets.list_secrets(conn, user)] == [second]


async def test_another_rotation_lets_nothing_go_on_for_longer(conn: Conn, user: str) -> None:
    first = await add(conn, user, b"1")
    await add(conn, user, b"2", overlap=60)
    await add(conn, user, b"3")
    left = await seconds_left(conn, first)
    assert left is not None and 40 < left <= 60
    assert await read(conn, user) == [b"1", b"2", b"3"]
    await add(conn, user, b"4", overlap=0)
    assert await read(conn, user) == [b"4"]


async def test_one_that_nobody_has_seen_ends_at_once(conn: Conn, user: str) -> None:
    unseen = await add(conn, user, b"1", shown=False)
    await add(conn, user, b"2")
    assert await read(conn, user) == [b"2"]
    left = await seconds_left(conn, unseen)
    assert left is not None and left <= 0


async def test_one_that_has_ended_is_left_alone(conn: Conn, user: str) -> None:
    first = await add(conn, user, b"1")
    await add(conn, user, b"2", overlap=0)
    ended = await conn.fetchval("SELECT expires_at FROM signing_secrets WHERE id = $1", first)
    await add(conn, user, b"3")
    assert await conn.fetchval("SELECT expires_at FROM signing_secrets WHERE id = $1", first) == ended
    assert not await signing_secrets.end_secret(conn, first, user)


async def test_the_newest_is_never_ended(conn: Conn, user: str) -> None:
    first = await add(conn, user, b"1")
    assert not await signing_secrets.end_secret(conn, first, user)
    second = await add(conn, user, b"2")
    assert not await signing_secrets.end_secret(conn, first, await new_user(conn))
    assert not await signing_secrets.end_secret(conn, second, user)
    assert await read(conn, user) == [b"1", b"2"]
    assert await signing_secrets.end_secret(conn, first, user)
    assert not await signing_secrets.end_secret(conn, first, user)
    assert await read(conn, user) == [b"2"]


async def test_accounts_have_secrets_of_their_own(conn: Conn, user: str) -> None:
    other, none = await new_user(conn), await new_user(conn)
    for owner, sealed in ((user, b"1"), (other, b"2"), (user, b"3"), (other, b"4")):
        await add(conn, owner, sealed)
    assert await signing_secrets.read_secrets(conn, [other, user, none, user]) == {
        user: [b"1", b"3"], other: [b"2", b"4"],
    }  # fmt: skip
    assert await signing_secrets.list_secrets(conn, none) == []


async def test_one_at_a_time_changes_the_secrets_of_an_account(
    conn: Conn, connect: Connect, user: str
) -> None:
    """However many make one at once, one is left that does not end."""

    async def rotate(line: Conn, number: int) -> None:
        async with line.transaction():
            assert await signing_secrets.lock_owner(line, user)
            await add(line, user, bytes([number]))

    await asyncio.gather(*[rotate(await connect(), number) for number in range(10)])
    listed = await signing_secrets.list_secrets(conn, user)
    assert sorted(one.status for one in listed) == ["ending"] * 9 + ["live"]
    assert not await signing_secrets.lock_owner(conn, new_id())


async def test_all_are_read_by_pages_and_sealed_anew(conn: Conn, user: str) -> None:
    other = await new_user(conn)
    ids = [await add(conn, owner, b"old", overlap=0) for owner in (user, other, user, other, user)]
    first = await signing_secrets.read_sealed(conn, None, 3)
    rest = await signing_secrets.read_sealed(conn, first[-1].id, 3)
    assert [one.id for one in (*first, *rest)] == ids
    assert first[0] == Sealed(ids[0], user, b"old"), "one that has ended is read, too"
    assert await signing_secrets.read_sealed(conn, ids[-1], 3) == []
    await signing_secrets.reseal(conn, ids[0], b"old", b"new")
    await signing_secrets.reseal(conn, ids[0], b"old", b"newer")
    found = [one.sealed for one in await signing_secrets.read_sealed(conn, None, 10)]
    assert found == [b"new", *[b"old"] * 4]
