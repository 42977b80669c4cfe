"""Dead letters: read, grouped, stamped, announced again, resolved."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
from tests.contract.store import world
from tests.contract.store.conftest import Connect

from taskflow.domain.account import By
from taskflow.domain.attempt import ErrorInfo, Failed
from taskflow.domain.filters import LetterFilters
from taskflow.kit.clock import now
from taskflow.kit.ids import new_id
from taskflow.store import dead_letters
from taskflow.store.commands import discard_letters, replay_letters, retry_tasks
from taskflow.store.dead_letters import Stamp
from taskflow.store.history import Asked, read_timelines
from taskflow.store.mend import write_letters


async def failed(conn: asyncpg.Connection, message: str, count: int = 1, **fields: object) -> list[str]:
    """Ids of letters of tasks that failed with this message."""
    tasks = await world.run(conn, count, **fields)
    ended = await world.end(conn, tasks, Failed(ErrorInfo("OSError", message), permanent=True))
    return sorted(str(item.letter_id) for item in ended.values())


async def test_lists_narrow_and_page_newest_first(conn: asyncpg.Connection) -> None:
    mail = await failed(conn, "Disk is FULL", 3, queue="mail")
    echo = await failed(conn, "refused", 2, type="echo")
    [exhausted] = await world.run(conn, max_attempts=1)
    [last] = [r.letter_id for r in (await world.end(conn, [exhausted], world.FAILED)).values()]
    all_ids = sorted([*mail, *echo, str(last)], reverse=True)

    async def listed(limit: int = 100, before: str | None = None, **fields: Any) -> list[str]:
        filters = LetterFilters(**fields)
        return [x.id for x in await dead_letters.list_letters(conn, filters, limit=limit, before=before)]

    assert await listed() == all_ids
    assert await listed(2) + await listed(9, all_ids[1]) == all_ids
    assert await listed(queues=("mail",)) == mail[::-1]
    assert await listed(types=("echo", "other")) == echo[::-1]
    assert await listed(reasons=("attempts_exhausted",)) == [last]
    assert await listed(error="disk is full") == mail[::-1]
    assert await listed(error="oserror", queues=("default",)) == echo[::-1]
    assert await listed(error="%") == []
    assert await listed(statuses=("replayed",)) == []
    assert await listed(created_after=now() + timedelta(minutes=1)) == []
    assert await listed(created_before=now() + timedelta(minutes=1)) == all_ids


async def test_a_letter_reads_as_it_was_written(conn: asyncpg.Connection) -> None:
    [letter_id] = await failed(conn, "no")
    found = await dead_letters.read_letters(conn, [letter_id, new_id()])
    letter = found[letter_id]
    assert (letter.status, letter.reason, letter.life, letter.attempts) == ("pending", "permanent", 1, 1)
    assert msgspec.json.decode(letter.error) == {"type": "OSError", "message": "no", "traceback": None}
    assert (letter.fingerprint, letter.handled_at, letter.resolved_at) == (None, None, None)


async def test_groups_count_by_fingerprint_the_largest_first(conn: asyncpg.Connection) -> None:
    a, b = await failed(conn, "a", 3), await failed(conn, "b", 5)
    await failed(conn, "c")
    await dead_letters.stamp_letters(conn, dict.fromkeys(a, Stamp("aaaa")) | dict.fromkeys(b, Stamp("bbbb")))
    groups = await dead_letters.group_letters(conn, LetterFilters(), limit=10)
    assert [(g.fingerprint, g.count) for g in groups] == [("bbbb", 5), ("aaaa", 3), (None, 1)]
    assert groups[0].example_id == b[-1]
    assert groups[0].first_seen <= groups[0].last_seen
    assert msgspec.json.decode(groups[1].error)["message"] == "a"
    assert len(await dead_letters.group_letters(conn, LetterFilters(fingerprint="aaaa"), limit=10)) == 1


async def test_the_first_stamp_stays(conn: asyncpg.Connection) -> None:
    ids = await failed(conn, "a", 2)
    assert await dead_letters.stamp_letters(conn, {ids[0]: Stamp("first")}) == {ids[0]}
    assert await dead_letters.stamp_letters(conn, dict.fromkeys([*ids, new_id()], Stamp("second"))) == {
        ids[1]
    }
    found = await dead_letters.read_letters(conn, ids)
    assert [found[i].fingerprint for i in ids] == ["first", "second"]
    assert all(letter.handled_at for letter in found.values())


async def test_a_letter_bears_the_owner_of_its_task(conn: asyncpg.Connection) -> None:
    ann, bob = new_id(), new_id()
    old, new, gone = [(await failed(conn, "a", owner_id=owner))[0] for owner in (ann, bob, ann)]
    mine = "SELECT id::text, owner_id::text FROM dead_letters"
    assert dict(await conn.fetch(mine)) == {old: ann, new: bob, gone: ann}
    await conn.execute("UPDATE dead_letters SET owner_id = NULL WHERE id = ANY($1)", [old, gone])
    await conn.execute("DELETE FROM tasks t USING dead_letters d WHERE d.task_id = t.id AND d.id = $1", gone)
    await conn.execute("UPDATE tasks SET owner_id = $1", ann)
    await dead_letters.stamp_letters(conn, dict.fromkeys([old, new, gone], Stamp("f")))
    assert dict(await conn.fetch(mine)) == {old: ann, new: bob, gone: None}
    await conn.execute("DELETE FROM dead_letters")
    task_ids = [str(row["id"]) for row in await conn.fetch("SELECT id FROM tasks")]
    assert len(await write_letters(conn, task_ids, poison_losses_max=3)) == 2
    assert {owner for _, owner in await conn.fetch(mine)} == {ann}


async def test_unhandled_letters_are_announced_again_at_intervals(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    ids = await failed(conn, "a", 5)
    handled = await failed(conn, "b")
    await dead_letters.stamp_letters(conn, {handled[0]: Stamp("f")})

    async def unhandled(line: asyncpg.Connection, limit: int = 10) -> list[str]:
        notices = await dead_letters.unhandled_letters(line, older_than_seconds=30, limit=limit)
        return [notice.dead_letter_id for notice in notices]

    assert await unhandled(conn) == []
    await conn.execute("UPDATE dead_letters SET created_at = now() - interval '1 min'")
    one, other = await asyncio.gather(unhandled(conn, 3), unhandled(await connect(), 3))
    assert not set(one) & set(other)
    assert sorted([*one, *other, *await unhandled(conn)]) == ids
    assert await unhandled(conn) == []


async def test_a_letter_is_discarded_once(conn: asyncpg.Connection) -> None:
    [letter_id] = await failed(conn, "a")
    assert await discard_letters(conn, [letter_id, new_id()], By("ann", "a duplicate")) == [letter_id]
    letter = (await dead_letters.read_letters(conn, [letter_id]))[letter_id]
    assert (letter.status, letter.resolved_at is not None) == ("discarded", True)
    assert (letter.resolved_by, letter.resolved_reason) == ("ann", "a duplicate")
    assert await discard_letters(conn, [letter_id], By("bob")) == []
    assert await world.status(conn, letter.task_id) == "failed"
    [timeline] = await read_timelines(conn, [Asked(letter.task_id, 0, None, 100)])
    assert timeline is not None
    last = timeline.events(0)[-1]
    assert (last.event, last.status) == ("task", "failed")
    told = msgspec.json.decode(last.data)
    assert (told["by"], told["dead_letter"], told["reason"]) == ("ann", "discarded", "a duplicate")


async def test_each_life_can_leave_a_letter(conn: asyncpg.Connection) -> None:
    [first] = await failed(conn, "a")
    task_id = (await dead_letters.read_letters(conn, [first]))[first].task_id
    await retry_tasks(conn, [task_id], By("x"))
    again = await world.claim(conn, await world.start_worker(conn), [task_id])
    await world.end(conn, again, world.PERMANENT)
    letters = await dead_letters.list_letters(conn, LetterFilters(), limit=9, before=None)
    assert [(x.life, x.status) for x in letters] == [(2, "pending"), (1, "replayed")]


async def test_a_letter_keeps_the_payload_of_its_life(conn: asyncpg.Connection) -> None:
    [first] = await failed(conn, "a", payload='{"n": 1e400}')
    task_id = (await dead_letters.read_letters(conn, [first]))[first].task_id
    await replay_letters(conn, [first], By("ann"), '{"n": 2}')
    await world.end(conn, await world.claim(conn, await world.start_worker(conn), [task_id]), world.PERMANENT)
    [second, _] = await dead_letters.list_letters(conn, LetterFilters(), limit=9, before=None)
    found = await dead_letters.read_letters(conn, [first, second.id])
    assert (bytes(found[first].payload), bytes(found[second.id].payload)) == (b'{"n": 1e400}', b'{"n": 2}')
    assert (found[first].previous_id, found[second.id].previous_id, second.previous_id) == (
        None,
        first,
        first,
    )


async def test_a_letter_that_an_older_program_wrote_is_read_and_stamped_too(conn: asyncpg.Connection) -> None:
    [letter_id] = await failed(conn, "a", payload="[1]")
    await conn.execute("DELETE FROM dead_letter_details")
    error = '{"type": "OSError", "message": "Disk is FULL", "traceback": "where"}'
    await conn.execute("UPDATE dead_letters SET error = $1, search = NULL, worker_version = NULL", error)
    listed = await dead_letters.list_letters(conn, LetterFilters(error="disk is full"), limit=9, before=None)
    assert [letter.id for letter in listed] == [letter_id]
    assert await dead_letters.stamp_letters(conn, {letter_id: Stamp("f")}) == {letter_id}
    letter = (await dead_letters.read_letters(conn, [letter_id]))[letter_id]
    assert bytes(letter.error) == error.encode()
    assert bytes(letter.payload) == b"[1]"
    assert bytes(letter.executions) == b"[]"


async def test_of_very_many_tries_the_newest_are_kept(conn: asyncpg.Connection) -> None:
    [task] = await world.run(conn, max_attempts=9)
    for _ in range(3):
        await world.end(conn, [task], world.RELEASED)
        [task] = await world.claim(conn, await world.start_worker(conn, version="1.2"), [task.id])
    [done] = (await world.end(conn, [task], world.PERMANENT)).values()
    letter_id = str(done.letter_id)
    tries = (await dead_letters.read_tries(conn, [letter_id], limit=2))[letter_id]
    assert [(one.number, one.status, one.worker_version, one.host) for one in tries] == [
        (3, "released", "1.2", "here"),
        (4, "failed", "1.2", "here"),
    ]
    assert msgspec.json.decode(tries[1].error) == {"type": "ValueError", "message": "no"}
