"""series: what happened in the course of time, by queue or type, as the points of a chart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from taskflow.domain.histogram import Counts, merge, percentiles
from taskflow.domain.series import (
    SERIES_MAX,
    GroupBy,
    Percentiles,
    Series,
    SeriesAnswer,
    SeriesPoint,
    Window,
)
from taskflow.kit.clock import rfc3339
from taskflow.store import series
from taskflow.store.connect import Conn, Database
from taskflow.store.series import Asked, Figures

PERCENTS = (50, 95, 99)
Points = list[Figures | None]


class SeriesReader:
    """Tells the series. What is not folded yet is left out: it follows within seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(
        self, window: Window, queues: Sequence[str], types: Sequence[str], group_by: GroupBy | None
    ) -> SeriesAnswer:
        """One series, or one for each queue (or type); of these the greatest. What is not narrowed is of all."""
        asked = Asked(window, queues, types, group_by)
        async with self._database.connection() as conn:
            if group_by is None:
                names: Sequence[str | None] = [None]
                left_out, rows = 0, await series.read_figures(conn, asked)
            else:
                names, left_out, rows = await _named(conn, asked)
        # Thousands of points take a moment, and others are waiting for an answer.
        told = await asyncio.to_thread(_told, window, rows, names, group_by)
        return SeriesAnswer(
            from_=rfc3339(window.start),
            to=rfc3339(window.end),
            step_seconds=window.step_seconds,
            left_out=left_out,
            series=told,
        )


async def _named(conn: Conn, asked: Asked) -> tuple[list[str], int, list[Figures]]:
    """What the series are called, how many more there are, and their figures. Those asked for by name are told though
    they are empty.
    """
    ranked, count = await series.rank_names(conn, asked, SERIES_MAX)
    is_by_queue = asked.group_by == "queue"
    wanted = set(asked.queues if is_by_queue else asked.types)
    names = [*ranked, *sorted(wanted.difference(ranked))][:SERIES_MAX]
    narrowed = asked._replace(queues=names) if is_by_queue else asked._replace(types=names)
    rows = await series.read_figures(conn, narrowed) if names else []
    return names, max(count, len(wanted)) - len(names), rows


def _told(
    window: Window, rows: Iterable[Figures], names: Iterable[str | None], group_by: GroupBy | None
) -> list[Series]:
    moments = window.moments()
    places = {moment: place for place, moment in enumerate(moments)}
    points: dict[str | None, Points] = {name: [None] * window.points for name in names}
    for row in rows:
        line, place = points[row.name], places[row.at]
        there = line[place]
        line[place] = row if there is None else _sum(there, row)
    at = [rfc3339(moment) for moment in moments]
    return [
        Series(
            queue=name if group_by == "queue" else None,
            type=name if group_by == "type" else None,
            points=[_point(*each) for each in zip(at, line, strict=True)],
        )
        for name, line in points.items()
    ]


def _sum(one: Figures, more: Figures) -> Figures:
    return Figures(
        one.name,
        one.at,
        one.submitted + more.submitted,
        one.started + more.started,
        one.completed + more.completed,
        one.failed + more.failed,
        one.retried + more.retried,
        merge(one.waits, more.waits),
        merge(one.runs, more.runs),
    )


def _point(at: str, row: Figures | None) -> SeriesPoint:
    if row is None:
        return SeriesPoint(at, 0, 0, 0, 0, 0, None, None)
    counts = (row.submitted, row.started, row.completed, row.failed, row.retried)
    return SeriesPoint(at, *counts, _percentiles(row.waits), _percentiles(row.runs))


def _percentiles(counts: Counts) -> Percentiles | None:
    found = percentiles(counts, PERCENTS)
    return None if found is None else Percentiles(*(round(seconds, 6) for seconds in found))
