"""Parts of the statements that move tasks: what they tell by webhook is written by the same statement.

A delivery bears the row as the move has left it: later moves, and the end of the task's retention, do not change it.
"""

from __future__ import annotations

from taskflow.domain.callback import EVENT_BITS, EVENT_OF_STATUS

# UUIDv7 (RFC 9562, section 5.7) of a random one: the time over its first 48 bits, and version 7 for 4.
NEW_ID = """encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
               substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
               52, 1), 53, 1), 'hex')::uuid"""


def told(status: str) -> str:
    """A column of RETURNING: the row `t`, if its callback asks for the event of this status (SQL); else NULL."""
    bits = " ".join(f"WHEN '{name}' THEN {EVENT_BITS[event]}" for name, event in EVENT_OF_STATUS.items())
    return f"CASE WHEN t.told_events & CASE {status} {bits} ELSE 0 END <> 0 THEN to_json(t) END AS told"


def told_of(status: str) -> str:
    """As `told`, for a statement that moves to one status only."""
    bit = EVENT_BITS[EVENT_OF_STATUS[status]]
    return f"CASE WHEN t.told_events & {bit} <> 0 THEN to_json(t) END AS told"


def delivered(event: str) -> str:
    """A WITH query over `moved`, of which it takes `id owner_id callback told`; `event` is SQL."""
    return f"""delivered AS (
    INSERT INTO webhook_deliveries (id, task_id, owner_id, created_at, due_at, event, url, host, sealed, max_attempts,
                                    content)
    SELECT {NEW_ID},
           id, owner_id, clock_timestamp(), clock_timestamp(), {event},
           callback->>'url', callback->>'host', callback->>'sealed', (callback->>'max_attempts')::smallint, told
    FROM moved WHERE told IS NOT NULL
)"""
