"""Parts of the statements that move tasks: what they tell by webhook is written by the same statement.

`TOLD_...` is a column of RETURNING: the row `t` as the move left it, for a callback that asks for the event. `WRITE_...`
is the WITH query that makes a delivery of it, from a query `moved` that has `id owner_id callback told`. A delivery bears
the row: later moves, and the end of the task's retention, do not change it.
"""

from __future__ import annotations

from taskflow.domain.callback import EVENT_BITS

# UUIDv7 (RFC 9562, section 5.7) of a random one: the time over its first 48 bits, and version 7 for 4.
NEW_ID = """encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
               substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
               52, 1), 53, 1), 'hex')::uuid"""

_TOLD = "CASE WHEN t.told_events & {} <> 0 THEN to_json(t) END AS told"
TOLD_STARTED = _TOLD.format(EVENT_BITS["task.started"])
TOLD_SUCCEEDED = _TOLD.format(EVENT_BITS["task.succeeded"])
TOLD_CANCELLED = _TOLD.format(EVENT_BITS["task.cancelled"])
# Of what came due nothing is told.
TOLD_EXPIRED = _TOLD.format(f"CASE n.target WHEN 'expired' THEN {EVENT_BITS['task.expired']} ELSE 0 END")
# A hand-back is no event; a loss that goes straight back is one, as a failure that waits is.
TOLD_RECORDED = _TOLD.format(
    f"CASE WHEN g.execution = 'released' THEN 0 WHEN t.status = 'completed' THEN {EVENT_BITS['task.succeeded']}"
    f" WHEN t.status = 'failed' THEN {EVENT_BITS['task.failed']} ELSE {EVENT_BITS['task.retrying']} END"
)

_WRITE = """delivered AS (
    INSERT INTO webhook_deliveries (id, task_id, owner_id, created_at, due_at, event, url, host, sealed, max_attempts,
                                    content)
    SELECT __NEW_ID__, id, owner_id, clock_timestamp(), clock_timestamp(), {},
           callback->>'url', callback->>'host', callback->>'sealed', (callback->>'max_attempts')::smallint, told
    FROM moved WHERE told IS NOT NULL
)""".replace("__NEW_ID__", NEW_ID)
WRITE_STARTED = _WRITE.format("'task.started'")
WRITE_SUCCEEDED = _WRITE.format("'task.succeeded'")
WRITE_CANCELLED = _WRITE.format("'task.cancelled'")
WRITE_EXPIRED = _WRITE.format("'task.expired'")
WRITE_RECORDED = _WRITE.format(
    "CASE status WHEN 'completed' THEN 'task.succeeded' WHEN 'failed' THEN 'task.failed' ELSE 'task.retrying' END"
)
