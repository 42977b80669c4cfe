"""The rows read back: as values of the small model, and asked for the laws that hold whatever was done to them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import msgspec
from tests.property.stateful.values import ENDED, GONE, LIVE, POISON_LOSSES, Letter, State, Try

from taskflow.domain.task import LOCAL_OWNER
from taskflow.store import stats

_PARTS = {
    "tasks": """
        SELECT *, due_at <= now() AS due_past, expires_at <= now() AS expiry_past, rung_at = 'infinity' AS parked,
               (retry->>'base_seconds')::float8 > 0 AS patient, finished_at < now() - interval '1 minute' AS old,
               started_at + (timeout_seconds + 10) * interval '1 second' < now() AS overdue
        FROM tasks ORDER BY id""",
    "tries": """
        SELECT e.*, e.error->>'type' AS error_type,
               e.status = 'started' AND coalesce(
                   e.started_at + (t.timeout_seconds + 10) * interval '1 second' < now(), false) AS overdue
        FROM executions e LEFT JOIN tasks t ON t.id = e.task_id ORDER BY task_id, number""",
    "letters": """
        SELECT *, coalesce(resolved_at < now() - interval '1 minute', false) AS old
        FROM dead_letters ORDER BY task_id, life""",
    "marks": "SELECT task_id, seq, status FROM task_events ORDER BY task_id, seq",
    "logs": "SELECT task_id, seq FROM task_logs ORDER BY task_id, seq",
    "fleet": """
        SELECT id, CASE WHEN lease_until > now() THEN 'live' WHEN ended_at IS NULL THEN 'out' ELSE 'dead' END AS state
        FROM workers ORDER BY id""",
    "totals": stats.READ_TOTALS,
    "owned": stats.READ_OWNED,
}
# One round trip: it is asked after every step.
_READ = "SELECT json_build_object(" + ", ".join(
    f"'{name}', (SELECT coalesce(json_agg(part), '[]') FROM ({query}) AS part)" for name, query in _PARTS.items()
) + ")"  # fmt: skip
Row = dict[str, Any]
SPENDING = {"failed", "timed_out", "lost"}


@dataclass
class Books:
    """All that PostgreSQL holds, read at one moment when nothing was under way."""

    tasks: dict[str, Row]
    tries: dict[str, list[Row]]
    letters: dict[str, list[Row]]
    marks: dict[str, list[Row]]
    logs: dict[str, list[Row]]
    fleet: dict[str, str]
    totals: Counter[tuple[str, str]]
    owned: dict[tuple[str, str, str], int]

    def letter_id(self, task_id: str, life: int) -> str:
        """The id of the dead letter of that life."""
        return next(row["id"] for row in self.letters[task_id] if row["life"] == life)

    def state(self, task_id: str, like: State) -> State:
        """The task as a value; of what only its submit says, `like` is believed."""
        letters = tuple(
            Letter(row["life"], row["attempts"], row["reason"], row["status"], row["old"])
            for row in self.letters[task_id]
        )
        row = self.tasks.get(task_id)
        if row is None:
            return State(like.type, like.lane, like.max_attempts, like.patient, GONE, letters=letters)
        return visible(
            State(
                row["type"], row["lane"], row["max_attempts"], row["patient"], row["status"],
                due=_when(row["due_past"]), expiry=_when(row["expiry_past"]),
                rung=None if row["rung_at"] is None else "parked" if row["parked"] else "rung",
                overdue=bool(row["overdue"]), old=bool(row["old"]), version=row["version"], seq=row["seq"],
                started_seq=row["started_seq"], life=row["life"], attempt=row["attempt"], number=row["number"],
                losses=row["losses"], snoozes=row["snoozes"], worker=row["worker_id"],
                tries=tuple(_try(one) for one in self.tries[task_id]), letters=letters,
                marks=tuple((one["seq"], one["status"]) for one in self.marks[task_id]),
                logs=tuple(one["seq"] for one in self.logs[task_id]),
            )
        )  # fmt: skip


def visible(task: State) -> State:
    """Without what means nothing in the task's present status."""
    return replace(
        task, rung=task.rung if task.status == "queued" else None,
        overdue=task.overdue and task.status == "running", old=task.old and task.status in ENDED,
    )  # fmt: skip


async def read_books(conn: asyncpg.Connection) -> Books:
    """Read everything."""
    read: dict[str, list[Row]] = msgspec.json.decode(await conn.fetchval(_READ))
    return Books(
        {row["id"]: row for row in read["tasks"]},
        *(_by_task(read[name]) for name in ("tries", "letters", "marks", "logs")),
        {row["id"]: row["state"] for row in read["fleet"]},
        Counter({(row["type"], row["status"]): row["n"] for row in read["totals"]}),
        {(row["owner_id"], row["type"], row["status"]): row["n"] for row in read["owned"]},
    )


def check_laws(books: Books, *, letters_pruned: bool) -> None:
    """What holds of the rows by themselves, whoever wrote them."""
    for task_id, task in books.tasks.items():
        _check_times(task)
        _check_tries(task, books.tries[task_id])
        _check_letters(task, books.letters[task_id], letters_pruned)
        _check_numbers(task, books, task_id)
    for name in ("tries", "marks", "logs"):
        orphans = getattr(books, name).keys() - books.tasks.keys()
        assert not [task_id for task_id in orphans if getattr(books, name)[task_id]], f"{name} without a task"
    for task_id, letters in books.letters.items():
        if task_id not in books.tasks:
            assert all(row["status"] != "pending" for row in letters), "a pending letter kept no task"
    _check_conservation(books)


def _check_times(task: Row) -> None:
    status = task["status"]
    assert (status == "running") <= (task["worker_id"] is not None and task["started_at"] is not None)
    assert (status == "queued") <= (task["queued_at"] is not None and task["rung_at"] is not None)
    assert (status in {"scheduled", "retrying"}) == (task["due_at"] is not None)
    assert (status in ENDED) == (task["finished_at"] is not None)
    assert 0 <= task["attempt"] <= task["max_attempts"]


def _check_tries(task: Row, tries: list[Row]) -> None:
    running = task["status"] == "running"
    numbers = [one["number"] for one in tries] + ([task["number"]] if running else [])
    assert numbers == list(range(1, task["number"] + 1)), "executions are not numbered without a gap"
    lives: dict[int, list[Row]] = defaultdict(list)
    for one in tries:
        lives[one["life"]].append(one)
    for life, own in lives.items():
        assert life <= task["life"]
        statuses = [one["status"] for one in own]
        assert statuses.count("succeeded") <= 1, "a life succeeded twice"
        spent = sum(status in SPENDING for status in statuses)
        assert spent <= task["max_attempts"], "a life spent more attempts than it has"
        assert _deaths_in_a_row(own) <= POISON_LOSSES, "a poisonous task ran on"
    present = lives[task["life"]]
    assert (task["status"] == "completed") == any(one["status"] == "succeeded" for one in present)
    if task["status"] not in {"cancelled", "completed"}:
        spent = sum(one["status"] in SPENDING for one in present)
        assert task["attempt"] == spent + running, "attempts are not what the executions say"


def _deaths_in_a_row(tries: list[Row]) -> int:
    longest = run = 0
    for one in tries:
        if one["status"] == "lost" or (one["status"] == "failed" and one["error_type"] == "HandlerDied"):
            run += 1
        elif one["status"] != "released":
            run = 0
        longest = max(longest, run)
    return longest


def _check_letters(task: Row, letters: list[Row], letters_pruned: bool) -> None:
    present = [row for row in letters if row["life"] == task["life"]]
    if task["status"] == "failed":
        assert letters_pruned or present, "failed without a dead letter"
        assert all(row["status"] in {"pending", "discarded"} for row in present)
    else:
        assert not present, "a dead letter of a life that has not failed"
    assert all(row["status"] != "pending" for row in letters if row["life"] != task["life"])


def _check_numbers(task: Row, books: Books, task_id: str) -> None:
    """Every number of the history is taken once, and none lies beyond the newest."""
    taken = [row["seq"] for row in (*books.marks[task_id], *books.logs[task_id])]
    for one in books.tries[task_id]:
        taken += [one["started_seq"], *([one["finished_seq"]] if one["finished_seq"] else [])]
    taken += [task["started_seq"]] if task["status"] == "running" else []
    assert len(set(taken)) == len(taken), "a number of the history was given twice"
    assert all(1 < number <= task["seq"] for number in taken)


def _check_conservation(books: Books) -> None:
    """Accepted = live + terminal + pruned, by the figures; and the figures are what the rows say."""
    rows = Counter((row["type"], row["status"]) for row in books.tasks.values())
    figures = {key: n for key, n in books.totals.items() if key[1] not in {"accepted", "pruned"}}
    assert figures == dict(rows), "the figures are not what the rows say"
    for kind in {key[0] for key in books.totals}:
        standing = sum(books.totals[kind, status] for status in (LIVE | ENDED))
        assert books.totals[kind, "accepted"] == standing + books.totals[kind, "pruned"], "a task was lost"
    owned = Counter((row["owner_id"], row["type"], row["status"]) for row in books.tasks.values())
    theirs = {place: n for place, n in owned.items() if place[0] != LOCAL_OWNER}
    told = {place: n for place, n in books.owned.items() if place[2] not in {"accepted", "pruned"}}
    assert told == theirs, "an owner's figures are not what his rows say"


def _when(past: bool | None) -> Any:
    return None if past is None else "past" if past else "later"


def _try(row: Row) -> Try:
    return Try(
        row["number"], row["life"], row["attempt"], row["status"], row["worker_id"], row["started_seq"],
        row["finished_seq"], row["moved_to"], row["overdue"],
    )  # fmt: skip


def _by_task(rows: list[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["task_id"]].append(row)
    return found
