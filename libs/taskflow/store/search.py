"""Lists of tasks that take a bounded time, however rare what is looked for is, and however many tasks there are.

What an index leads to is read at once. Whatever walks back from the newest task is walked in windows, each some times as
long as the one before: between two of them it is looked at the clock. A walk that is broken off says how far it came, and
the next page goes on from there.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from taskflow.domain.filters import TaskFilters
from taskflow.domain.task import LOCAL_OWNER, Task
from taskflow.store import tasks
from taskflow.store.connect import Conn

SEARCH_SECONDS = 0.7
"""How long a search looks; what it has not found by then it says to be partial."""
INDEX_SHARE = 0.5
"""Of that, what a list by the indexes of statuses may take; then the walk has the rest."""
WINDOW_ROWS = 2_000
WINDOW_GROWTH = 4

_BOUND = "SELECT id FROM tasks WHERE id >= $1 AND id < $2"
_AT = "ORDER BY id DESC OFFSET $3 LIMIT 1"
# $1 first id  $2 end id (exclusive)  $3 how many ids the window holds
FIND_WINDOW = f"""-- store.search.find_window
{_BOUND} {_AT}"""
# $4 owner id
FIND_OWN_WINDOW = f"""-- store.search.find_own_window
{_BOUND} AND owner_id = $4 AND owner_id <> '{LOCAL_OWNER}' {_AT}"""

_FIRST, _END = 5, 6
"""Where the bounds stand in what `tasks.matching` gives."""


class PageWanted(NamedTuple):
    """A page: `limit` tasks older than `before`, with payload and result or without."""

    limit: int
    before: str | None = None
    payload: bool = False
    result: bool = False


class Found(NamedTuple):
    """What was found. `until`: the smallest id that was looked at, if older ones were not; then there may be more."""

    tasks: list[Task]
    until: str | None = None


async def search_tasks(
    conn: Conn, filters: TaskFilters, asked: PageWanted, seconds: float = SEARCH_SECONDS
) -> Found:
    """Tasks, newest first, as many as are asked for or as `seconds` suffice to find."""
    statement = await tasks.way_to(conn, filters)
    if statement is None:
        return Found([])
    arguments = (*tasks.matching(filters, asked.before), asked.limit, asked.payload, asked.result)
    if not filters.narrows:
        return Found(await tasks.read_list(conn, statement, arguments))
    ends_at = time.monotonic() + seconds
    if statement == tasks.LIST_BY_STATUS:
        try:
            return Found(await tasks.read_list(conn, statement, arguments, seconds * INDEX_SHARE))
        except TimeoutError:  # of that status there are too many: few of them fit the rest
            statement = tasks.walk_of(filters)
    return await _walk(conn, statement, arguments, filters.owner, ends_at)


async def _walk(
    conn: Conn, statement: str, arguments: tuple[object, ...], owner: str | None, ends_at: float
) -> Found:
    first, end, limit = str(arguments[_FIRST]), str(arguments[_END]), arguments[-3]
    assert isinstance(limit, int)
    found: list[Task] = []
    rows = WINDOW_ROWS
    until: str | None = None
    while True:
        begun = time.monotonic()
        if until is not None and begun >= ends_at:
            return Found(found, until)
        # The first window is short, and is read to its end: every page gets on.
        patience = None if until is None else ends_at - begun
        try:
            low = await _window(conn, first, end, rows, owner, patience)
            bounds = (*arguments[:_FIRST], low or first, end, *arguments[_END + 1 : -3])
            if patience is not None:
                patience = max(0.001, ends_at - time.monotonic())
            found += await tasks.read_list(
                conn, statement, (*bounds, limit - len(found), *arguments[-2:]), patience
            )
        except TimeoutError:
            return Found(found, until)
        if low is None or len(found) >= limit:
            return Found(found)
        rows = _next_rows(rows, time.monotonic() - begun, ends_at - time.monotonic())
        end = until = low


async def _window(
    conn: Conn, first: str, end: str, rows: int, owner: str | None, seconds: float | None
) -> str | None:
    """The id `rows` before `end`; None: there are not so many. TimeoutError as `tasks.read_list`."""
    if owner is None:
        low = await conn.fetchval(FIND_WINDOW, first, end, rows, timeout=seconds)
    else:
        low = await conn.fetchval(FIND_OWN_WINDOW, first, end, rows, owner, timeout=seconds)
    return None if low is None else str(low)


def _next_rows(rows: int, took: float, left: float) -> int:
    """Some times as many, as far as the time that is left will do for them by what the last took."""
    affordable = int(rows * left / took) if took > 0 else rows * WINDOW_GROWTH
    return max(WINDOW_ROWS, min(rows * WINDOW_GROWTH, affordable))
