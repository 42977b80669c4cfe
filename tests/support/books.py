"""PostgreSQL asked directly: the truth beside what the API says, and the laws that hold of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import asyncpg
from tests.support.servers import blocking
from tests.support.systems import System
from tests.support.waiting import wait_until_sync

_OWNED = """WITH owned AS (
    SELECT owner_id, status FROM tasks WHERE owner_id <> '00000000-0000-0000-0000-000000000000')"""
# Each counts what may never be; all are zero once nothing is under way.
_LAWS = {
    "completed without exactly one success": """
        SELECT count(*) FROM tasks t WHERE t.status = 'completed' AND 1 <> (
            SELECT count(*) FROM executions e WHERE e.task_id = t.id AND e.life = t.life AND e.status = 'succeeded')""",
    "two successes in one life": """
        SELECT count(*) FROM (SELECT FROM executions WHERE status = 'succeeded' GROUP BY task_id, life
                              HAVING count(*) > 1) twice""",
    "failed without a dead letter": """
        SELECT count(*) FROM tasks t WHERE t.status = 'failed' AND NOT EXISTS (
            SELECT FROM dead_letters d WHERE d.task_id = t.id AND d.life = t.life)""",
    "tries without a row of their own": """
        SELECT count(*) FROM tasks t WHERE t.status IN ('completed', 'failed', 'cancelled', 'expired')
            AND t.number <> (SELECT count(*) FROM executions e WHERE e.task_id = t.id)""",
    "more attempts than allowed": """
        SELECT count(*) FROM executions e JOIN tasks t ON t.id = e.task_id WHERE e.attempt > t.max_attempts""",
    "tries left open": "SELECT count(*) FROM executions WHERE status = 'started'",
    "figures that differ from the rows": """
        SELECT count(*) FROM (
            SELECT status, sum(n) AS n FROM (
                SELECT status, n FROM stat_totals
                UNION ALL SELECT target, n FROM stat_deltas WHERE target IS NOT NULL
                UNION ALL SELECT origin, -n FROM stat_deltas WHERE origin IS NOT NULL
                UNION ALL SELECT 'accepted', n FROM stat_deltas WHERE origin IS NULL) parts
            GROUP BY status HAVING sum(n) <> 0
        ) told FULL JOIN (
            SELECT status, count(*) AS n FROM tasks GROUP BY status UNION ALL SELECT 'accepted', count(*) FROM tasks
        ) found USING (status) WHERE told.n IS DISTINCT FROM nullif(found.n, 0)""",
    "figures of owners that differ from the rows": """
        SELECT count(*) FROM (
            SELECT owner_id, status, sum(n) AS n FROM (
                SELECT owner_id, status, n FROM owner_totals
                UNION ALL SELECT owner_id, target, n FROM stat_deltas WHERE target IS NOT NULL
                UNION ALL SELECT owner_id, origin, -n FROM stat_deltas WHERE origin IS NOT NULL
                UNION ALL SELECT owner_id, 'accepted', n FROM stat_deltas WHERE origin IS NULL) parts
            WHERE owner_id <> '00000000-0000-0000-0000-000000000000' GROUP BY owner_id, status HAVING sum(n) <> 0
        ) told FULL JOIN (
            SELECT owner_id, status, count(*) AS n FROM owned GROUP BY owner_id, status
            UNION ALL SELECT owner_id, 'accepted', count(*) FROM owned GROUP BY owner_id
        ) found USING (owner_id, status) WHERE told.n IS DISTINCT FROM found.n""",
    "dead letters of another owner than their tasks'": """
        SELECT count(*) FROM dead_letters d JOIN tasks t ON t.id = d.task_id WHERE d.owner_id <> t.owner_id""",
}


class Books(NamedTuple):
    """PostgreSQL asked directly: the truth beside what the API says."""

    url: str

    def rows(self, statement: str, *arguments: Any) -> list[dict[str, Any]]:
        """The rows of a statement."""

        async def work() -> list[dict[str, Any]]:
            conn = await asyncpg.connect(self.url, timeout=10)
            try:
                return [dict(row) for row in await conn.fetch(statement, *arguments)]
            finally:
                await conn.close()

        return blocking(work)

    def value(self, statement: str, *arguments: Any) -> Any:
        """The only value of a statement."""
        (row,) = self.rows(statement, *arguments)
        (value,) = row.values()
        return value

    @contextmanager
    def holding(self, statement: str, *arguments: Any) -> Iterator[None]:
        """A transaction of one's own that has run this, until the end of the block."""
        done, held = threading.Event(), threading.Event()

        async def work() -> None:
            conn = await asyncpg.connect(self.url, timeout=10)
            try:
                async with conn.transaction():
                    await conn.fetch(statement, *arguments)
                    held.set()
                    await asyncio.to_thread(done.wait, 60)
            finally:
                await conn.close()

        holder = threading.Thread(target=asyncio.run, args=(work(),))
        holder.start()
        try:
            assert held.wait(10)
            yield
        finally:
            done.set()
            holder.join()

    def patient_value(self, statement: str, *arguments: Any, default: Any) -> Any:
        """The same, or `default` while PostgreSQL does not answer."""
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return self.value(statement, *arguments)
        return default

    def broken_laws(self) -> dict[str, int]:
        """Which laws do not hold, and how often."""
        names = list(_LAWS)
        columns = ", ".join(f"({law}) AS law{place}" for place, law in enumerate(_LAWS.values()))
        (row,) = self.rows(f"{_OWNED} SELECT {columns}")
        return {names[place]: n for place, n in enumerate(row.values()) if n}

    def balance(self, seconds: float = 12) -> None:
        """Wait until all laws hold."""
        last: dict[str, int] = {}

        def held() -> bool:
            last.clear()
            last.update(self.broken_laws())
            return not last

        with suppress(AssertionError):
            wait_until_sync(held, "the books balance", seconds, interval=0.2)
        assert not last, last

    def tries(self, ids: list[str]) -> dict[str, list[str]]:
        """The statuses of each task's tries, in order."""
        found = self.rows(
            "SELECT task_id::text AS id, array_agg(status ORDER BY number) AS tries FROM executions "
            "WHERE task_id = ANY($1::uuid[]) GROUP BY 1", ids,
        )  # fmt: skip
        return {row["id"]: row["tries"] for row in found}

    def statuses(self, ids: list[str]) -> dict[str, int]:
        """How many of these tasks are in which status."""
        found = self.rows(
            "SELECT status, count(*) AS n FROM tasks WHERE id = ANY($1::uuid[]) GROUP BY 1", ids
        )
        return {row["status"]: row["n"] for row in found}

    def until_all(self, status: str, ids: list[str], seconds: float) -> None:
        """Wait until all of these are in that status."""
        last: dict[str, int] = {}

        def there() -> bool:
            last.clear()
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                last.update(self.statuses(ids))
            return last == {status: len(ids)}

        with suppress(AssertionError):
            wait_until_sync(there, f"{len(ids)} are {status}", seconds, interval=0.1)
        assert last == {status: len(ids)}, (last, self._others(status, ids))

    def _others(self, status: str, ids: list[str]) -> list[str]:
        """Of those in another status, the first few: what became of them."""
        found = self.rows(
            "SELECT t.id, t.status, t.version, t.created_at, t.rung_at, t.started_at, t.finished_at, t.worker_id, "
            "e.status AS try, left(e.error::text, 500) AS error, clock_timestamp() AS seen_at "
            "FROM tasks t LEFT JOIN executions e ON e.task_id = t.id "
            "WHERE t.id = ANY($1::uuid[]) AND t.status <> $2 ORDER BY t.id LIMIT 5", ids, status,
        )  # fmt: skip
        return [", ".join(f"{key} {value}" for key, value in row.items()) for row in found]

    def running_on(self, pid: int) -> list[str]:
        """The tasks that run on the worker process of that pid."""
        found = self.rows(
            "SELECT t.id::text AS id FROM tasks t JOIN workers w ON w.id = t.worker_id "
            "WHERE t.status = 'running' AND w.pid = $1", pid,
        )  # fmt: skip
        return [row["id"] for row in found]


def books(system: System) -> Books:
    """The books of a system."""
    return Books(system.facts()["database_url"])
