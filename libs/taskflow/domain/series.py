"""What happened in the course of time, as points of a chart: which steps there are, and what is told of each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import Struct, field

from taskflow.domain.errors import Invalid, Problem
from taskflow.domain.task import Time

STEPS = (60, 300, 900, 3_600, 21_600, 86_400)
"""Seconds from one point to the next. Figures are kept in each of them, so that none is added up of a finer one."""
POINTS_MAX = 1_500
POINTS_SUGGESTED = 360
"""If no step is asked for it is the smallest with so many points at most."""
SERIES_MAX = 20
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

GroupBy = Literal["queue", "type"]


class Window(Struct, frozen=True):
    """A row of points, each `step_seconds` after the last; the steps are whole ones since 1970 (UTC)."""

    start: datetime
    step_seconds: int
    points: int

    @property
    def end(self) -> datetime:
        """The moment at which the last step ends."""
        return self.start + timedelta(seconds=self.step_seconds * self.points)

    def moments(self) -> list[datetime]:
        """When each step begins."""
        return [self.start + timedelta(seconds=self.step_seconds * place) for place in range(self.points)]


class Percentiles(Struct, frozen=True):
    """Seconds that 50, 95 and 99 % did not exceed, at most 19 % off (`domain.histogram`)."""

    p50: float
    p95: float
    p99: float


class SeriesPoint(Struct, frozen=True):
    """What happened in the step that begins at this moment.

    `started` counts attempts; `retried` those after which a task waits for another; the times are null if there were none.
    """

    at: Time
    submitted: int
    started: int
    completed: int
    failed: int
    retried: int
    wait_seconds: Percentiles | None
    run_seconds: Percentiles | None


class Series(Struct, frozen=True):
    """The points of a queue or a type, or of all that was asked for (both null)."""

    queue: str | None
    type: str | None
    points: list[SeriesPoint]


class SeriesAnswer(Struct, frozen=True):
    """What happened from `from` to `to`: what was asked for, widened to whole steps.

    Of very many queues or types those with the most tasks are told; `left_out` is how many are not.
    """

    from_: Time = field(name="from")
    to: Time
    step_seconds: int
    left_out: int
    series: list[Series]


def window(since: datetime, until: datetime, step_seconds: int | None) -> Window:
    """The points that show what happened between two moments. Raises `Invalid` where there are none, or too many."""
    if since >= until:
        raise _wrong("from", "a time before `to`")
    if step_seconds is None:
        step_seconds = next((s for s in STEPS if _points(since, until, s) <= POINTS_SUGGESTED), STEPS[-1])
    points = _points(since, until, step_seconds)
    if points <= POINTS_MAX:
        return Window(_begun(since, step_seconds), step_seconds, points)
    enough = next((s for s in STEPS if _points(since, until, s) <= POINTS_MAX), None)
    if enough is None:
        raise _wrong("from", f"a time at most {POINTS_MAX} days before `to`")
    raise _wrong(
        "step_seconds", f"at least {enough}: these would be {points} points, of {POINTS_MAX} at most"
    )


def _points(since: datetime, until: datetime, step_seconds: int) -> int:
    return -((_begun(since, step_seconds) - until) // timedelta(seconds=step_seconds))


def _begun(moment: datetime, step_seconds: int) -> datetime:
    """When the step began that this moment lies in."""
    return moment - (moment - EPOCH) % timedelta(seconds=step_seconds)


def _wrong(parameter: str, expected: str) -> Invalid:
    return Invalid(
        f"{parameter}: expected {expected}", problems=[Problem(f"expected {expected}", parameter=parameter)]
    )
