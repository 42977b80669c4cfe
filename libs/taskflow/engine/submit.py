"""submit: tasks from callers into rows, and out to the bus.

Singles of concurrent callers share one commit; a batch is a transaction of its own, all or nothing. The caller made the
ids, so that what was not answered may be repeated: rows that stand already are left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Self

from taskflow.bus.publisher import Doorbell
from taskflow.domain.errors import (
    IdempotencyKeyReused,
    Invalid,
    OutcomeUnknown,
    Overloaded,
    Problem,
    Unavailable,
    UnknownType,
)
from taskflow.domain.task import Accepted, Moved, NewTask, Submitted
from taskflow.engine import keys
from taskflow.engine.directory import Directory
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.keys import Written
from taskflow.engine.meters import BatchMeter, count_submitted
from taskflow.engine.quota import Quota
from taskflow.engine.schemas import payload_problems
from taskflow.engine.settings import TaskDefaults
from taskflow.kit.batcher import Batcher, Full
from taskflow.store import inserts, tasks
from taskflow.store.connect import Conn, Database, Line
from taskflow.store.errors import AnswerLost, NoRange, Unstorable, verdict
from taskflow.store.idempotency import Key
from taskflow.store.inserts import Inserted
from taskflow.store.partitions import ensure_ranges_of

SUBMITS_WAITING_MAX = 20_000
BATCHES_AT_ONCE_MAX = 4
BATCHES_WAITING_MAX = 16
REPEAT_SECONDS = 2.0
PROBLEMS_MAX = 100

Answer = Submitted | IdempotencyKeyReused


class Submitter:
    """Takes new tasks. Returns once they are durable, or raises and nothing is written."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        dispatcher: Dispatcher,
        defaults: TaskDefaults,
        *,
        strict_types: bool,
        validate_payloads: bool,
        waiting_max: int = 0,
    ) -> None:
        self._database = database
        self._directory = directory
        self._dispatcher = dispatcher
        self._defaults = defaults
        self._default_retry = defaults.retry_policy()
        self._strict_types = strict_types
        self._validate_payloads = validate_payloads
        self._quota = Quota(database, waiting_max)
        self._line = Line(database)
        self._doubted: set[str] = set()
        self._batches = 0
        self._bulk = asyncio.Semaphore(BATCHES_AT_ONCE_MAX)
        self._bulk_lines = [Line(database) for _ in range(BATCHES_AT_ONCE_MAX)]
        self._batcher: Batcher[NewTask, Answer] = Batcher(
            self._write_many,
            verdict=verdict,
            items_max=1_000,
            pending_max=SUBMITS_WAITING_MAX,
            repeat_seconds=REPEAT_SECONDS,
            size=lambda task: 300 + len(task.payload),
            on_trip=BatchMeter("submit"),
        )

    async def __aenter__(self) -> Self:
        await self._batcher.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._batcher.__aexit__(*_)
        for line in (self._line, *self._bulk_lines):
            await line.__aexit__()

    async def submit(self, task: NewTask, *, limited: bool = False) -> Submitted:
        """Accept one task; if `limited`, within its owner's quota. `replayed` says that an earlier request with its
        idempotency key had made it.
        """
        if not limited or not self._quota.limits(task.owner_id):
            return await self._put(task)
        async with self._quota.room(task.owner_id, 1, task.idempotency_key) as room:
            submitted = await self._put(task)
            room.use([submitted])
            return submitted

    async def _put(self, task: NewTask) -> Submitted:
        await self._settle([task], "")
        try:
            written = await self._batcher.put(task)
        except Full as error:
            raise Overloaded("too many submits are waiting", retry_after_seconds=1) from error
        except Unavailable as error:
            raise (
                _unknown() if task.id in self._doubted or isinstance(error, AnswerLost) else error
            ) from error
        except Unstorable as error:
            raise Invalid(f"PostgreSQL refuses a value: {error}") from error
        finally:
            self._doubted.discard(task.id)
        if isinstance(written, IdempotencyKeyReused):
            raise written
        return written

    async def submit_batch(
        self, items: list[NewTask], key: str | None, request_hash: bytes, *, limited: bool = False
    ) -> list[Accepted]:
        """Accept all of these, of one owner, or none; `key` covers the whole. Answers in order.

        If `limited`, there must be room for each in the owner's quota, whatever keys they bear themselves.
        """
        if self._batches >= BATCHES_WAITING_MAX:
            raise Overloaded("too many batches are waiting", retry_after_seconds=1)
        owner = items[0].owner_id
        whole = Key(owner, key, request_hash, [task.id for task in items]) if key else None
        if not limited or not self._quota.limits(owner):
            return await self._put_batch(items, whole)
        async with self._quota.room(owner, len(items), key) as room:
            accepted = await self._put_batch(items, whole)
            room.use(accepted)
            return accepted

    async def _put_batch(self, items: list[NewTask], whole: Key | None) -> list[Accepted]:
        await self._settle(items, "/items")
        self._batches += 1
        try:
            async with self._bulk:
                line = self._bulk_lines.pop()
                try:
                    return await self._repeat(line, items, whole)
                except Unstorable as error:
                    raise Invalid(f"PostgreSQL refuses a value: {error}") from error
                finally:
                    self._bulk_lines.append(line)
        finally:
            self._batches -= 1

    async def _settle(self, items: Sequence[NewTask], pointer: str) -> None:
        """Fill in what neither task nor caller said (task > type > service), and check payloads against their types."""
        await self._directory.fresh()
        await self._directory.name_queues({task.queue for task in items})
        problems: list[Problem] = []
        for place, task in enumerate(items):
            at = f"{pointer}/{place}" if pointer else ""
            self._fill(task)
            if self._strict_types and task.target is None and task.type not in self._directory.types:
                raise UnknownType(
                    f"no worker declares type {task.type!r}",
                    problems=[Problem("a declared type is expected", f"{at}/type")],
                )
            checks = self._validate_payloads and task.target is None  # whom it is sent to judges its payload
            schema = self._directory.schema_of(task.type) if checks else None
            if schema is not None and len(problems) < PROBLEMS_MAX:
                problems += payload_problems(schema, task.payload, f"{at}/payload")
        if problems:
            raise Invalid("the payload does not fit its type", problems=problems[:PROBLEMS_MAX])

    def _fill(self, task: NewTask) -> None:
        kind = self._directory.types.get(task.type)
        if task.max_attempts is None:
            task.max_attempts = (kind and kind.max_attempts) or self._defaults.worker_max_attempts
        if task.timeout_seconds is None:
            task.timeout_seconds = (kind and kind.timeout_seconds) or self._defaults.task_timeout
        if task.retry is None:
            task.retry = self._directory.retry_of(task.type) or self._default_retry

    async def _repeat(self, line: Line, items: list[NewTask], whole: Key | None) -> list[Accepted]:
        """A batch whose answer was lost is repeated: its ids tell whether it stands."""
        until = asyncio.get_running_loop().time() + REPEAT_SECONDS
        lost = False
        while True:
            try:
                return await line.run(lambda conn: self._write_batch(conn, items, whole))
            except NoRange:
                await line.run(lambda conn: ensure_ranges_of(conn, [task.id for task in items]))
            except Unavailable as error:
                lost = lost or isinstance(error, AnswerLost)
                if asyncio.get_running_loop().time() > until:
                    raise _unknown() if lost else error from error
                await asyncio.sleep(0.1)

    async def _write_batch(self, conn: Conn, items: list[NewTask], whole: Key | None) -> list[Accepted]:
        """All or nothing: any item that cannot be taken rolls the whole back."""
        async with conn.transaction():
            if whole is not None and (replayed := await keys.take_whole(conn, whole)) is not None:
                return replayed
            inserted, answered = await self._insert(conn, items)
            for place, task in enumerate(items):
                if isinstance(answered.get(task.id), IdempotencyKeyReused):
                    problem = Problem("a key that stands for no other request is expected", f"/items/{place}")
                    raise IdempotencyKeyReused(problems=[problem])
        self._announce(inserted)
        statuses = {row.id: row.status for row in inserted}
        if not answered:
            return [Accepted(task.id, statuses.get(task.id) or _first_status(task)) for task in items]
        written = [
            answered.get(task.id) or Accepted(task.id, statuses.get(task.id) or _first_status(task))
            for task in items
        ]
        return [answer for answer in written if isinstance(answer, Accepted)]

    async def _write_many(self, items: list[NewTask]) -> Sequence[Answer]:
        """Singles of many callers: one that cannot be taken is answered so, and the others are written."""
        try:
            inserted, answered = await self._line.run(lambda conn: self._write(conn, items))
        except AnswerLost:
            self._doubted.update(task.id for task in items)  # whatever a repeat says, these may stand
            raise
        except NoRange:
            await self._line.run(lambda conn: ensure_ranges_of(conn, [task.id for task in items]))
            inserted, answered = await self._line.run(lambda conn: self._write(conn, items))
        self._doubted.difference_update(task.id for task in items)
        self._announce(inserted)
        new = {row.id: row for row in inserted}
        return [self._answer(task, answered.get(task.id), new.get(task.id)) for task in items]

    def _answer(self, task: NewTask, answered: Written | None, row: Inserted | None) -> Answer:
        """A row that stood already comes of a repeat of ours: what it is now has to be read."""
        if isinstance(answered, IdempotencyKeyReused):
            return answered
        if answered is not None:
            return Submitted(answered.id, replayed=True)
        if row is None:
            return Submitted(task.id)
        made = inserts.as_submitted(task, row)
        made.waiting_for = self._directory.waiting_for(made)
        return Submitted(task.id, task=made)

    async def _write(self, conn: Conn, items: Sequence[NewTask]) -> tuple[list[Inserted], dict[str, Written]]:
        """Without keys one statement does it; with keys, they and the tasks commit together."""
        if all(task.idempotency_key is None for task in items):
            return await inserts.insert_tasks(conn, items), {}
        async with conn.transaction():
            return await self._insert(conn, items)

    async def _insert(
        self, conn: Conn, items: Sequence[NewTask]
    ) -> tuple[list[Inserted], dict[str, Written]]:
        """Insert what is new; by task id, the answers to what is not."""
        keyed = [task for task in items if task.idempotency_key is not None]
        held = await keys.take(conn, keyed) if keyed else {}
        new = [task for task in items if task.id not in held]
        inserted = await inserts.insert_tasks(conn, new) if new else []
        replays = [answer.id for answer in held.values() if isinstance(answer, Accepted)]
        statuses = await tasks.read_statuses(conn, replays) if replays else {}
        for answer in held.values():
            if isinstance(answer, Accepted) and answer.id in statuses:
                answer.status = statuses[answer.id][0]
        return inserted, held

    def _announce(self, inserted: list[Inserted]) -> None:
        """Count what is new, ring for what was queued, tell who watches."""
        count_submitted((row.queue, row.type, row.lane) for row in inserted)
        self._dispatcher.ring(
            [
                Doorbell(row.id, row.lane, row.queue, row.rung_at, 1)
                for row in inserted
                if row.rung_at is not None
            ]
        )
        self._dispatcher.tell(
            [Moved(row.id, 1, 1, row.status, row.type, row.queue, row.lane, row.owner) for row in inserted]
        )


def _first_status(task: NewTask) -> str:
    """A row that stood already comes of a repeat of ours, so that its first status is the one to tell."""
    return "scheduled" if task.run_at is not None or task.delay_seconds else "queued"


def _unknown() -> OutcomeUnknown:
    return OutcomeUnknown(
        "PostgreSQL did not say whether the tasks were written; repeat the request with an Idempotency-Key",
        retry_after_seconds=1,
    )
