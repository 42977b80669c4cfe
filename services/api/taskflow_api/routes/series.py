"""What happened in the course of time, for charts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, get_args

from taskflow.domain.series import (
    POINTS_MAX,
    POINTS_SUGGESTED,
    SERIES_MAX,
    STEPS,
    GroupBy,
    window,
)
from taskflow.kit.clock import now
from taskflow_api.operation import Answer, Call, Operation
from taskflow_api.queries import Parameter, one_of, time_of
from taskflow_api.replies import answer
from taskflow_api.routes.tasks import QUEUES, TYPES

if TYPE_CHECKING:
    from litestar.types import ASGIApp

DEFAULT_SPAN = timedelta(hours=1)
_STEPS_TOLD = ", ".join(map(str, STEPS))


def _step(text: str) -> int:
    if text not in map(str, STEPS):
        raise ValueError(f"one of {_STEPS_TOLD}")
    return int(text)


STEP = Parameter(
    "step_seconds",
    f"From one point to the next, {POINTS_MAX} points at most; else the smallest with {POINTS_SUGGESTED} at most",
    {"type": "integer", "enum": list(STEPS)},
    _step,
)


async def read_series(call: Call) -> ASGIApp:
    """Points without anything are there, too."""
    query = call.query
    until = query["to"] or now()
    asked = window(query["from"] or until - DEFAULT_SPAN, until, query["step_seconds"])
    return answer(await call.services.series.read(asked, query["queue"], query["type"], query["group_by"]))


OPERATIONS = (
    Operation(
        id="readSeries",
        method="GET",
        path="/api/v1/stats/series",
        tag="Operations",
        summary="What happened: rates, and how long tasks waited and ran, step by step",
        description=(
            f"Without `group_by` one series, else one a queue or type: the {SERIES_MAX} with the most tasks, and "
            "`left_out` says how many more there are. What happened within the last 15 seconds may be missing."
        ),
        handle=read_series,
        query=(
            time_of("from", "The first moment to be shown; an hour before `to` unless it is said"),
            time_of("to", "The last one; now unless it is said"),
            STEP,
            QUEUES,
            TYPES,
            one_of("group_by", get_args(GroupBy), "One series for each of these", many=False),
        ),
        answers=(Answer(200, "The series", "SeriesAnswer"),),
        scope="admin",
    ),
)
