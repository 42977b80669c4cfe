"""replay and the other commands of callers and operators. One statement each; zero rows changed is an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from taskflow.bus.announce import publish_control
from taskflow.bus.connect import Bus
from taskflow.bus.publisher import Doorbell
from taskflow.domain.account import By
from taskflow.domain.dead_letter import DeadLetterDetail
from taskflow.domain.errors import (
    AlreadyReplayed,
    NotFound,
    TaskFinished,
    TaskNotRetryable,
    Unavailable,
)
from taskflow.domain.task import Task
from taskflow.domain.transitions import TERMINAL
from taskflow.engine.directory import Directory
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.read import Reader
from taskflow.kit.logging import get_logger
from taskflow.store import audit_log, catalog, commands, doorbells, tasks, workers
from taskflow.store.commands import Commanded
from taskflow.store.connect import Conn, Database
from taskflow.store.tasks import Wanted
from taskflow.store.workers import served

log = get_logger(__name__)

UNPARK_PAGE = 5_000
_SWITCHED = {True: "paused", False: "resumed"}


class Commands:
    """What may be asked of tasks, dead letters, queues, types and workers."""

    def __init__(
        self, database: Database, bus: Bus, dispatcher: Dispatcher, directory: Directory, reader: Reader
    ) -> None:
        self._database = database
        self._bus = bus
        self._dispatcher = dispatcher
        self._directory = directory
        self._reader = reader

    async def cancel(self, task_id: str, by: By) -> Task:
        """Cancel a live task; a running one is `cancelled` at once, and its handler is told to stop."""

        async def cancel(conn: Conn) -> list[Commanded]:
            made = await commands.cancel_tasks(conn, [task_id], by)
            if made:
                await audit_log.write_audit(conn, by, "task.cancelled", task_id)
            return made

        made, task = await self._carry_out(task_id, by, cancel)
        for move in made:
            if move.origin == "running":
                # the claim's version: the cancel itself made the next
                await self._tell("cancel", {"id": task_id, "version": move.moved.version - 1})
        if task is None:
            raise NotFound()
        if not made and task.status in TERMINAL:
            raise TaskFinished(current_status=task.status)
        return await self._told(task)

    async def retry(self, task_id: str, by: By) -> tuple[Task, bool]:
        """Queue a task now. True: it was over, and a new life began."""

        async def retry(conn: Conn) -> list[Commanded]:
            made = await commands.retry_tasks(conn, [task_id], by)
            if made:
                await audit_log.write_audit(conn, by, "task.retried", task_id, {"life": made[0].life})
            return made

        made, task = await self._carry_out(task_id, by, retry)
        if task is None:
            raise NotFound()
        if not made:
            raise TaskNotRetryable(current_status=task.status)
        return await self._told(task), made[0].new_life

    async def replay_letter(self, letter_id: str, payload: str | None, by: By) -> Task:
        """Give the task of a pending dead letter a new life, with another payload if one is given."""
        letter = await self._reader.dead_letter(letter_id, by.owner)
        if letter is None:
            raise NotFound()

        async def replay(conn: Conn) -> list[Commanded]:
            made = await commands.replay_letters(conn, [letter_id], by, payload)
            if made:
                data = {"task_id": letter.task_id, "payload_changed": payload is not None}
                await audit_log.write_audit(conn, by, "dead_letter.replayed", letter_id, data)
            return made

        made, task = await self._carry_out(letter.task_id, by, replay)
        if not made or task is None:
            raise AlreadyReplayed(current_status=await self._letter_status(letter_id, by))
        return await self._told(task)

    async def discard_letter(self, letter_id: str, by: By) -> DeadLetterDetail:
        """Resolve a pending dead letter without a replay; its task stays `failed`."""
        async with self._database.transaction() as conn:
            discarded = await commands.discard_letters(conn, [letter_id], by)
            if discarded:
                await audit_log.write_audit(conn, by, "dead_letter.discarded", letter_id)
        letter = await self._reader.dead_letter(letter_id, by.owner)
        if letter is None:
            raise NotFound()
        if not discarded:
            raise AlreadyReplayed(current_status=letter.status)
        return letter

    async def pause_queue(self, name: str, by: By) -> None:
        """Let no task of this queue start."""
        await self._pause_queue(name, True, by)

    async def resume_queue(self, name: str, by: By) -> None:
        """Let tasks of this queue start again."""
        await self._pause_queue(name, False, by)

    async def pause_type(self, name: str, by: By) -> None:
        """Let no task of this type start."""
        await self._pause_type(name, True, by)

    async def resume_type(self, name: str, by: By) -> None:
        """Let tasks of this type start again; those that were parked meanwhile are rung."""
        await self._pause_type(name, False, by)
        await self._unpark(name)

    async def drain_worker(self, worker_id: str, by: By) -> None:
        """Let a live worker take nothing more."""
        async with self._database.transaction() as conn:
            if not await workers.drain(conn, worker_id):
                raise NotFound()
            await audit_log.write_audit(conn, by, "worker.drained", worker_id)
        self._directory.forget()
        await self._tell("drain", {"worker_id": worker_id})

    async def _pause_queue(self, name: str, paused: bool, by: By) -> None:
        async with self._database.transaction() as conn:
            if not await catalog.set_queue_paused(conn, name, paused):
                raise NotFound()
            await audit_log.write_audit(conn, by, f"queue.{_SWITCHED[paused]}", name)
        self._directory.forget()
        await self._tell("pause", {"queue": name, "paused": paused})

    async def _pause_type(self, name: str, paused: bool, by: By) -> None:
        async with self._database.transaction() as conn:
            pause = (
                catalog.pause_type(conn, name, by.actor, by.reason)
                if paused
                else catalog.resume_type(conn, name)
            )
            if await pause:
                await audit_log.write_audit(conn, by, f"type.{_SWITCHED[paused]}", name)
            elif not await catalog.has_type(conn, name):
                raise NotFound()
        self._directory.forget()
        await self._tell("pause", {"type": name, "paused": paused})

    async def _unpark(self, name: str) -> None:
        async with self._database.connection() as conn:
            pairs = [pair for pair in served(await workers.read_workers(conn)) if pair[1] == name]
            rung = await doorbells.unpark(conn, sorted(pairs), UNPARK_PAGE)
        self._dispatcher.ring([Doorbell(r.id, r.lane, r.queue, r.rung_at) for r in rung])

    async def _tell(self, command: str, body: dict[str, object]) -> None:
        """At once if the bus is there; else the next beats tell it."""
        try:
            await publish_control(self._bus, command, body)
        except Unavailable as error:
            log.warning("command.deferred", command=command, error=str(error))

    async def _carry_out(
        self, task_id: str, by: By, act: Callable[[Conn], Awaitable[list[Commanded]]]
    ) -> tuple[list[Commanded], Task | None]:
        """What a command moved, and the task as it has left it: a moment later the task may be elsewhere."""
        wanted = Wanted(task_id, by.owner)
        async with self._database.transaction() as conn:
            made = await act(conn)
            found = await tasks.read_tasks(conn, [wanted])
        follow(self._dispatcher, made)
        return made, found.get(wanted)

    async def _told(self, task: Task) -> Task:
        await self._reader.tell_waits([task])
        return task

    async def _letter_status(self, letter_id: str, by: By) -> str:
        letter = await self._reader.dead_letter(letter_id, by.owner)
        if letter is None:
            raise NotFound()
        return letter.status


def follow(dispatcher: Dispatcher, made: Sequence[Commanded]) -> None:
    """Tell and ring what commands moved."""
    dispatcher.tell([item.moved for item in made])
    if any(item.is_told for item in made):
        dispatcher.deliver()
    dispatcher.ring(
        [
            Doorbell(item.moved.id, item.moved.lane, item.moved.queue, item.rung_at, item.moved.version)
            for item in made
            if item.rung_at is not None
        ]
    )
