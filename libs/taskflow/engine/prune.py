"""prune: keep the tables in shape. Ranges are made ahead, figures are folded, old terminal tasks go."""

from __future__ import annotations

from datetime import timedelta

from taskflow.kit.clock import now
from taskflow.kit.ids import first_id_at
from taskflow.store import partitions, series, signing_secrets, stats, tending, webhook_reads
from taskflow.store.connect import Line

PAGE = 2_000
DAYS_KEPT = 400
"""Figures by the day: more than a year."""


class Pruner:
    """The slow loops of the scheduler."""

    def __init__(
        self, line: Line, *, keep_tasks_seconds: float, keep_letters_seconds: float, keep_stats_seconds: float
    ) -> None:
        self._line = line
        self._keep_stats_seconds = keep_stats_seconds
        self._keep_tasks_seconds = keep_tasks_seconds
        self._keep_letters_seconds = keep_letters_seconds

    async def prune_once(self) -> bool:
        """Delete a page of what is old, then the ranges that leaves empty; returns whether there may be more."""
        before = now() - timedelta(seconds=self._keep_tasks_seconds)
        before_id = first_id_at(before)
        gone = await self._line.run(
            lambda conn: tending.prune_tasks(
                conn, before_id=before_id, keep_seconds=self._keep_tasks_seconds, limit=PAGE
            )
        )
        letters = await self._line.run(
            lambda conn: tending.prune_letters(conn, keep_seconds=self._keep_letters_seconds, limit=PAGE)
        )
        delivered = await self._line.run(
            lambda conn: webhook_reads.prune_deliveries(
                conn, before_id=before_id, keep_seconds=self._keep_tasks_seconds, limit=PAGE
            )
        )
        figures = await self._line.run(
            lambda conn: series.prune_series(conn, keep_seconds=self._keep_stats_seconds, limit=PAGE)
        )
        if more := max(gone, letters, delivered, figures) >= PAGE:
            return more
        await self._line.run(
            lambda conn: tending.prune_rest(conn, keep_letters_seconds=self._keep_letters_seconds)
        )
        await self._line.run(
            lambda conn: webhook_reads.prune_endpoints(conn, keep_seconds=self._keep_tasks_seconds)
        )
        await self._line.run(
            lambda conn: signing_secrets.prune_secrets(conn, keep_seconds=self._keep_tasks_seconds)
        )
        await self._line.run(lambda conn: stats.prune_days(conn, keep_days=DAYS_KEPT))
        await self._line.run(lambda conn: partitions.drop_empty_ranges(conn, before))
        return False

    async def fold_once(self) -> bool:
        """Fold a page of deltas; returns whether there may be more."""
        return await self._line.run(stats.fold) >= 20_000

    async def ranges_once(self) -> None:
        """Make the ranges of ids that will be needed."""
        await self._line.run(partitions.ensure_ranges_ahead)
