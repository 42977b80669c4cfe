"""Streams wait for the end of their credentials: each for its own, all by one reading, and nobody reads for nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from msgspec.structs import replace
from tests.support.waiting import wait_until

from taskflow.domain.account import LOCAL, By
from taskflow.engine import credentials as module
from taskflow.engine.api_keys import ApiKeys, MadeKey
from taskflow.engine.credentials import READ_SECONDS, Credentials
from taskflow.kit.tokens import digest
from taskflow.store import api_keys
from taskflow.store.connect import Conn, Database

BY = By("tests")
STREAMS = 500


class Two(NamedTuple):
    """What two apis hold: the credentials of the one, the keys of the other; and how often the one has read."""

    here: Credentials
    elsewhere: ApiKeys
    readings: list[int]


@pytest.fixture
async def two(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Two]:
    """Two apis of one system."""
    readings: list[int] = []

    async def counted(conn: Conn, hashes: list[bytes]) -> dict[bytes, api_keys.KeyHolder]:
        readings.append(len(hashes))
        return await api_keys.find_holders(conn, hashes)

    monkeypatch.setattr(module, "api_keys", Counting(counted))
    async with (
        Database(database_url, application="test") as database,
        Credentials(database, None) as here,
        Credentials(database, None) as other,
    ):
        yield Two(here, ApiKeys(database, other), readings)


class Counting:
    """The store's keys, with a count."""

    def __init__(self, counted: object) -> None:
        self.find_holders = counted
        self.note_used = api_keys.note_used


async def made(two: Two) -> MadeKey:
    """A new key."""
    return await two.elsewhere.make(LOCAL, "test", ["read"], None, BY)


async def test_those_wake_whose_credentials_have_ended(two: Two) -> None:
    one, other = await made(two), await made(two)
    callers = [await two.here.caller(key.key) for key in (one, other)]
    ending = [asyncio.create_task(two.here.ended(digest(one.key), callers[0])) for _ in range(STREAMS)]
    staying = asyncio.create_task(two.here.ended(digest(other.key), callers[1]))
    two.readings.clear()
    await wait_until(lambda: two.readings, "what is watched is read again")
    assert two.readings == [2]
    assert not any(task.done() for task in [*ending, staying])
    await two.elsewhere.revoke(one.api_key.id, BY)
    await asyncio.wait_for(asyncio.gather(*ending), 3 * READ_SECONDS)
    two.readings.clear()
    await wait_until(lambda: two.readings, "the other is read on")
    assert two.readings == [1]
    assert not staying.done()
    staying.cancel()
    await asyncio.gather(staying, return_exceptions=True)
    await nothing_is_read(two)


async def nothing_is_read(two: Two) -> None:
    """While there is neither call nor stream. What was called just now is read once more."""
    await wait_until(lambda: not two.here._used.is_set(), "the last reading is over", interval=0.1)
    two.readings.clear()
    with pytest.raises(AssertionError):
        await wait_until(
            lambda: len(two.readings) > 1, "two readings", timeout=3 * READ_SECONDS, interval=0.2
        )


async def test_a_stream_ends_at_the_time_its_token_does(two: Two) -> None:
    key = await made(two)
    caller = await two.here.caller(key.key)
    began = time.time()
    await asyncio.wait_for(two.here.ended(digest(key.key), caller, began + 0.5), 5)
    assert 0.4 < time.time() - began < READ_SECONDS
    await asyncio.wait_for(two.here.ended(digest(key.key), caller, began - 5), 1)


async def test_rights_that_changed_before_anybody_waited_end_a_stream(two: Two) -> None:
    key = await made(two)
    caller = await two.here.caller(key.key)
    before = replace(caller, scopes=caller.scopes | {"operate"})
    await asyncio.wait_for(two.here.ended(digest(key.key), before), 1)
    two.readings.clear()
    watching = asyncio.create_task(two.here.ended(digest(key.key), caller))
    await wait_until(lambda: two.readings, "it is read")
    two.here.forget(lambda held: held.key_id == key.api_key.id)
    await asyncio.wait_for(watching, 1)
