"""Which points show what happened between two moments."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.domain.samples import NOW

from taskflow.domain.errors import Invalid
from taskflow.domain.series import EPOCH, POINTS_MAX, POINTS_SUGGESTED, STEPS, Window, window

moments = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(NOW.tzinfo))
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@given(
    moments, st.timedeltas(timedelta(microseconds=1), timedelta(days=POINTS_MAX - 1)), st.sampled_from(STEPS)
)
def test_points_are_whole_steps_that_cover_what_is_asked_for(
    since: datetime, span: timedelta, step_seconds: int
) -> None:
    until, step = since + span, timedelta(seconds=step_seconds)
    try:
        found = window(since, until, step_seconds)
    except Invalid:
        assert span / step > POINTS_MAX - 2
        return
    assert found.points <= POINTS_MAX
    assert (found.start - EPOCH) % step == timedelta(0)
    assert found.start <= since < found.start + step
    assert found.end - step < until <= found.end
    assert found.moments()[0] == found.start
    assert found.moments()[-1] == found.end - step


@given(moments, st.timedeltas(timedelta(microseconds=1), timedelta(days=POINTS_MAX - 1)))
def test_the_step_is_the_smallest_that_makes_a_chart(since: datetime, span: timedelta) -> None:
    found = window(since, since + span, None)
    smaller = [step for step in STEPS if step < found.step_seconds]
    assert found.points <= POINTS_SUGGESTED or found.step_seconds == STEPS[-1]
    assert all(span / timedelta(seconds=step) > POINTS_SUGGESTED - 1 for step in smaller)


@pytest.mark.parametrize(
    ("span", "step_seconds"),
    [(HOUR, 60), (5 * HOUR, 60), (DAY, 300), (3 * DAY, 900), (7 * DAY, 3_600), (60 * DAY, 21_600), (300 * DAY, 86_400)],
)  # fmt: skip
def test_steps_of_usual_charts(span: timedelta, step_seconds: int) -> None:
    assert window(NOW - span, NOW, None).step_seconds == step_seconds


def test_steps_are_those_of_utc() -> None:
    local = timezone(timedelta(hours=5, minutes=30))
    since = datetime(2026, 11, 22, 3, 0, tzinfo=local)
    assert window(since, since + DAY, 86_400) == Window(datetime(2026, 11, 21, tzinfo=NOW.tzinfo), 86_400, 2)


@pytest.mark.parametrize(
    ("since", "until", "step_seconds", "parameter", "said"),
    [
        (NOW, NOW, None, "from", "a time before `to`"),
        (NOW, NOW - HOUR, 60, "from", "a time before `to`"),
        (
            NOW - 7 * DAY,
            NOW,
            60,
            "step_seconds",
            "at least 900: these would be 10080 points, of 1500 at most",
        ),
        (NOW - 1_501 * DAY, NOW, 86_400, "from", "a time at most 1500 days before `to`"),
        (NOW - 1_501 * DAY, NOW, None, "from", "a time at most 1500 days before `to`"),
    ],
)
def test_what_cannot_be_shown_is_refused_by_name(
    since: datetime, until: datetime, step_seconds: int | None, parameter: str, said: str
) -> None:
    with pytest.raises(Invalid, match=parameter) as caught:
        window(since, until, step_seconds)
    [problem] = caught.value.problems
    assert (problem.parameter, problem.detail) == (parameter, f"expected {said}")
