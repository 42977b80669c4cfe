"""The moves of a task's path: claim, and record with all it entails. Many rows a statement, ids sorted by the caller.

The way in is always the primary key: a status beside the id is given as a parameter, so that the planner cannot
prefer a partial index whose statistics are stale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from taskflow.domain.attempt import ExecutionStatus
from taskflow.domain.decide import Decision
from taskflow.domain.task import Claimed, Moved
from taskflow.store import telling, wire
from taskflow.store.connect import Conn
from taskflow.store.wire import error_text, integers, uuids

# $1 worker id  $2 task ids (sorted, each once)  $3 declared types  $4 'queued'
# $5 paused types, of which tasks with a target are not taken; null: none with a target is
# Only by a worker whose own lease lives, once per version, not past expires_at.
CLAIM_TASKS = f"""-- store.moves.claim_tasks
WITH me AS MATERIALIZED (
    SELECT id FROM workers WHERE id = $1 AND lease_until > clock_timestamp() FOR KEY SHARE
), moved AS (
    UPDATE tasks t
    SET status = 'running', version = t.version + 1, seq = t.seq + 1, started_seq = t.seq + 1,
        number = t.number + 1, attempt = t.attempt + 1, worker_id = $1, started_at = clock_timestamp()
    FROM unnest($2::text::uuid[]) AS wanted(id)
    WHERE t.id = wanted.id AND t.status = $4
      AND CASE WHEN t.target IS NULL THEN t.type = ANY($3::text[]) ELSE t.type <> ALL($5::text[]) END
      AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp()) AND EXISTS (SELECT FROM me)
    RETURNING t.id, t.version, t.number, t.life, t.attempt, t.max_attempts, t.losses, t.snoozes, t.type, t.queue, t.lane,
              t.payload, t.timeout_seconds, t.retry, t.started_at, t.tags, t.metadata, t.seq,
              greatest(0, coalesce(date_part('epoch', t.started_at - t.queued_at), 0)) AS waited_seconds, t.trace,
              t.owner_id, t.target, t.callback, t.told_events, {telling.TOLD_STARTED}
), {telling.WRITE_STARTED}, counted AS (
    INSERT INTO stat_deltas (n, queue, type, owner_id, origin, target)
    SELECT count(*), queue, type, owner_id, 'queued', 'running' FROM moved GROUP BY queue, type, owner_id
)
SELECT id, version, number, life, attempt, max_attempts, losses, snoozes, type, queue, lane, payload, timeout_seconds,
       retry, started_at, tags, metadata, seq, waited_seconds, trace, told_events, target, {wire.OWNER}
FROM moved"""

# $1 worker id  $2 task id uuid[]
READ_REMAINDER = """-- store.moves.read_remainder
SELECT t.id, t.status, t.type, t.queue, t.target IS NOT NULL AS pushed,
       coalesce(t.expires_at <= clock_timestamp(), false) AS expired,
       EXISTS (SELECT FROM workers w WHERE w.id = $1 AND w.lease_until > clock_timestamp()) AS lease_live
FROM tasks t WHERE t.id = ANY($2::uuid[])"""


class Remainder(NamedTuple):
    """A task that a claim did not win, as it stands."""

    status: str
    type: str
    queue: str
    pushed: bool
    expired: bool
    lease_live: bool


async def claim_tasks(
    conn: Conn,
    worker_id: str,
    ids: Sequence[str],
    types: Sequence[str],
    paused: Sequence[str] | None = None,
) -> tuple[list[Claimed], list[Moved]]:
    """Move these tasks from `queued` to `running` for the worker; returns those won.

    `paused`: those with a target are taken too, whatever their type is but for these.
    """
    won, moved = [], []
    for row in await conn.fetch(CLAIM_TASKS, worker_id, uuids(ids), types, "queued", paused):
        task = wire.claimed(row, worker_id)
        seq, task.waited_seconds, task.trace, task.told_events, task.target, owner = row[wire.CLAIM_COLUMNS :]
        if owner is not None:
            task.owner_id = str(owner)
        won.append(task)
        moved.append(
            Moved(task.id, seq, task.version, "running", task.type, task.queue, task.lane, task.owner)
        )
    return won, moved


async def read_remainder(conn: Conn, worker_id: str, ids: Sequence[str]) -> dict[str, Remainder]:
    """Why a claim did not win these."""
    rows = await conn.fetch(READ_REMAINDER, worker_id, ids)
    return {
        str(r["id"]): Remainder(
            r["status"], r["type"], r["queue"], r["pushed"], r["expired"], r["lease_live"]
        )
        for r in rows
    }


class Record(Struct, frozen=True, gc=False):
    """The end of an attempt, decided. `letter_id` is the id of the dead letter, if one is to be written."""

    task: Claimed
    decision: Decision
    letter_id: str | None = None


class Recorded(NamedTuple):
    """A move that a record made; `rung_at` is set when the task went back to `queued`."""

    moved: Moved
    rung_at: datetime | None
    letter_id: str | None


SHORT_ERROR = """CASE WHEN error IS NOT NULL THEN json_build_object(
               'type', error::json->>'type', 'message', left(error::json->>'message', 500)) END"""
SEARCH = "lower(left(concat_ws(' ', error::json->>'type', error::json->>'message'), 4000))"
"""What a dead letter tells of `error` in lists, and what it is found by; the whole of it goes into the details."""

# $1 id uuid[] (sorted)  $2 version  $3 worker id  $4 status  $5 execution status  $6 result  $7 error  $8 due_at
# $9 attempt  $10 losses  $11 snoozes  $12 dead letter id  $13 reason
# Guarded by (version, worker): a late writer changes nothing. Execution, dead letter and figures stand or fall with it.
# A life fails once; should a failed row have been set back by hand, its letter is written anew rather than refused.
RECORD_OUTCOMES = f"""-- store.moves.record_outcomes
WITH given AS (
    SELECT * FROM unnest($1::uuid[], $2::integer[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[],
                         $8::timestamptz[], $9::smallint[], $10::smallint[], $11::smallint[], $12::uuid[], $13::text[])
        AS g(id, version, worker_id, status, execution, result, error, due_at, attempt, losses, snoozes, letter_id,
             reason)
), moved AS (
    UPDATE tasks t
    SET status = g.status, version = t.version + 1, seq = t.seq + 1, result = g.result::json,
        error = CASE WHEN g.execution = 'released' THEN t.error ELSE g.error::json END,
        due_at = g.due_at, attempt = g.attempt, losses = g.losses, snoozes = g.snoozes,
        queued_at = CASE WHEN g.status = 'queued' THEN clock_timestamp() ELSE t.queued_at END,
        rung_at = CASE WHEN g.status = 'queued' THEN clock_timestamp() ELSE t.rung_at END,
        finished_at = CASE WHEN g.status IN ('completed', 'failed') THEN clock_timestamp() END
    FROM given g
    WHERE t.id = g.id AND t.version = g.version AND t.worker_id = g.worker_id
    RETURNING t.id, t.seq, t.version, t.status, t.type, t.queue, t.lane, t.rung_at, t.number, t.life, t.attempt,
              t.started_seq, t.started_at, t.queued_at, t.worker_id, g.execution, g.error, g.letter_id, g.reason,
              t.tags, t.owner_id, CASE WHEN g.letter_id IS NOT NULL THEN t.payload END AS payload, t.callback,
              {telling.TOLD_RECORDED}
), {telling.WRITE_RECORDED}, tried AS (
    INSERT INTO executions (task_id, number, life, attempt, status, moved_to, worker_id, queued_at, started_at,
                            finished_at, started_seq, finished_seq, error)
    SELECT id, number, life, CASE WHEN execution = 'released' THEN attempt + 1 ELSE attempt END, execution, status,
           worker_id, CASE WHEN status <> 'queued' THEN queued_at END, started_at, clock_timestamp(), started_seq, seq,
           error::json
    FROM moved
), buried AS (
    INSERT INTO dead_letters (id, task_id, life, owner_id, attempts, type, queue, tags, reason, worker_id,
                              worker_version, error, search, created_at)
    SELECT letter_id, id, life, owner_id, attempt, type, queue, tags, reason, worker_id,
           (SELECT w.version FROM workers w WHERE w.id = worker_id),
           {SHORT_ERROR}, {SEARCH}, clock_timestamp()
    FROM moved WHERE letter_id IS NOT NULL
    ON CONFLICT (task_id, life) DO UPDATE
    SET id = excluded.id, owner_id = excluded.owner_id, attempts = excluded.attempts, reason = excluded.reason,
        worker_id = excluded.worker_id, worker_version = excluded.worker_version, error = excluded.error,
        search = excluded.search, created_at = excluded.created_at, status = 'pending', resolved_at = NULL,
        resolved_by = NULL, resolved_reason = NULL, operation_id = NULL, handled_at = NULL, noticed_at = NULL,
        fingerprint = NULL
), kept AS (
    INSERT INTO dead_letter_details (task_id, life, error, payload)
    SELECT id, life, error::json, payload FROM moved WHERE letter_id IS NOT NULL
    ON CONFLICT (task_id, life) DO UPDATE
    SET error = excluded.error, payload = excluded.payload, executions = NULL
), counted AS (
    INSERT INTO stat_deltas (n, queue, type, owner_id, origin, target)
    SELECT count(*), queue, type, owner_id, 'running', status FROM moved GROUP BY queue, type, owner_id, status
)
SELECT id, seq, version, status, type, queue, lane, letter_id, CASE WHEN status = 'queued' THEN rung_at END AS rung_at,
       {wire.OWNER}
FROM moved"""


# $1 worker id  $2 task ids (sorted)  $3 versions  $4 results
# What RECORD_OUTCOMES does, for attempts of one worker that succeeded.
_MOVE_SUCCESSES = """WITH moved AS (
    UPDATE tasks t
    SET status = 'completed', version = t.version + 1, seq = t.seq + 1, result = g.result::json, error = NULL,
        due_at = NULL, losses = 0, finished_at = clock_timestamp()
    FROM unnest($2::text::uuid[], $3::text::integer[], $4::text[]) AS g(id, version, result)
    WHERE t.id = g.id AND t.version = g.version AND t.worker_id = $1
    RETURNING t.id, t.seq, t.version, t.type, t.queue, t.number, t.life, t.attempt, t.started_seq, t.started_at,
              t.queued_at, t.owner_id"""
_KEEP_SUCCESSES = """tried AS (
    INSERT INTO executions (task_id, number, life, attempt, status, moved_to, worker_id, queued_at, started_at,
                            finished_at, started_seq, finished_seq)
    SELECT id, number, life, attempt, 'succeeded', 'completed', $1, queued_at, started_at, clock_timestamp(),
           started_seq, seq
    FROM moved
), counted AS (
    INSERT INTO stat_deltas (n, queue, type, owner_id, origin, target)
    SELECT count(*), queue, type, owner_id, 'running', 'completed' FROM moved GROUP BY queue, type, owner_id
)
SELECT id, seq, version FROM moved"""
RECORD_SUCCESSES = f"""-- store.moves.record_successes
{_MOVE_SUCCESSES}
), {_KEEP_SUCCESSES}"""
# Of tasks some of whose events are told: of the others it costs less not to ask.
RECORD_TOLD_SUCCESSES = f"""-- store.moves.record_told_successes
{_MOVE_SUCCESSES}, t.callback, {telling.TOLD_SUCCEEDED}
), {telling.WRITE_SUCCEEDED}, {_KEEP_SUCCESSES}"""


def its_move(recorded: Mapping[str, Recorded], record: Record) -> Recorded | None:
    """The move that this very record made. A batch may hold two attempts of one task, of which one is too late."""
    found = recorded.get(record.task.id)
    return found if found is not None and found.moved.version == record.task.version + 1 else None


async def record_outcomes(conn: Conn, records: Sequence[Record]) -> dict[str, Recorded]:
    """Write how attempts ended. Returns the moves by task id; a task that is missing was no longer the worker's.

    Nearly all succeed: they have a statement that is told a third as much.
    """
    if not records:
        return {}
    rows = sorted(records, key=lambda record: record.task.id)
    worker_id = rows[0].task.worker_id
    plain = [r for r in rows if r.decision.execution == "succeeded" and r.task.worker_id == worker_id]
    if len(plain) == len(rows):
        return await _record_successes(conn, plain)
    if not plain:
        return await _record_others(conn, rows)
    others = [r for r in rows if r.decision.execution != "succeeded" or r.task.worker_id != worker_id]
    async with conn.transaction():
        return {**await _record_successes(conn, plain), **await _record_others(conn, others)}


async def _record_successes(conn: Conn, rows: Sequence[Record]) -> dict[str, Recorded]:
    moved = await conn.fetch(
        RECORD_TOLD_SUCCESSES if any(r.task.told_events for r in rows) else RECORD_SUCCESSES,
        rows[0].task.worker_id,
        uuids([r.task.id for r in rows]),
        integers([r.task.version for r in rows]),
        [r.decision.result for r in rows],
    )
    tasks = {r.task.id: r.task for r in rows}
    recorded = {}
    for row_id, seq, version in moved:
        task = tasks[str(row_id)]
        move = Moved(task.id, seq, version, "completed", task.type, task.queue, task.lane, task.owner)
        recorded[task.id] = Recorded(move, None, None)
    return recorded


async def _record_others(conn: Conn, rows: Sequence[Record]) -> dict[str, Recorded]:
    moved = await conn.fetch(
        RECORD_OUTCOMES,
        [r.task.id for r in rows],
        [r.task.version for r in rows],
        [r.task.worker_id for r in rows],
        [r.decision.status for r in rows],
        [r.decision.execution for r in rows],
        [r.decision.result for r in rows],
        [error_text(r.decision.error) for r in rows],
        [r.decision.due_at for r in rows],
        [r.decision.attempt for r in rows],
        [r.decision.losses for r in rows],
        [r.decision.snoozes for r in rows],
        [r.letter_id for r in rows],
        [r.decision.bury for r in rows],
    )
    return {
        str(r["id"]): Recorded(wire.moved(r), r["rung_at"], str(r["letter_id"]) if r["letter_id"] else None)
        for r in moved
    }


# $1 task id uuid[] (sorted)  $2 number  $3 worker id  $4 execution status  $5 error  $6 'started'
CLOSE_EXECUTIONS = """-- store.moves.close_executions
UPDATE executions e
SET status = g.status, finished_at = clock_timestamp(), error = g.error::json
FROM unnest($1::uuid[], $2::integer[], $3::uuid[], $4::text[], $5::text[]) AS g(task_id, number, worker_id, status, error)
WHERE e.task_id = g.task_id AND e.number = g.number AND e.worker_id = g.worker_id AND e.status = $6
RETURNING e.task_id, e.number"""


async def close_executions(conn: Conn, records: Sequence[Record]) -> set[tuple[str, int]]:
    """Close the tries whose tasks were cancelled while they ran. Returns (task id, number) of those that were open."""
    rows = sorted(records, key=lambda record: record.task.id)
    closed = await conn.fetch(
        CLOSE_EXECUTIONS,
        [r.task.id for r in rows],
        [r.task.number for r in rows],
        [r.task.worker_id for r in rows],
        [ExecutionStatus.CANCELLED] * len(rows),
        [error_text(r.decision.error) for r in rows],
        ExecutionStatus.STARTED,
    )
    return {(str(row["task_id"]), row["number"]) for row in closed}
