"""Attempts and their ends, of every kind that can be."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.unit.domain.samples import ERROR, make_claimed

from taskflow.domain.attempt import Cancelled, Failed, Lost, Outcome, Released, Snoozed, Succeeded, TimedOut
from taskflow.domain.decide import SNOOZES_MAX
from taskflow.domain.retry import RetryPolicy
from taskflow.domain.task import Claimed

seconds = st.floats(0, 31_536_000)
policies = st.builds(
    RetryPolicy,
    strategy=st.sampled_from(["exponential", "linear", "fixed"]),
    base_seconds=seconds,
    factor=st.floats(1, 100),
    max_seconds=seconds,
    jitter=st.sampled_from(["none", "full", "added"]),
    jitter_seconds=seconds,
)

outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.just(Succeeded("null")),
    st.builds(
        Failed, st.just(ERROR), permanent=st.booleans(), died=st.booleans(),
        delay_seconds=st.none() | seconds,
    ),
    st.just(TimedOut(ERROR)),
    st.just(Lost(ERROR)),
    st.builds(Snoozed, seconds, st.sampled_from(["", "not yet"])),
    st.builds(Released, st.just("drain"), st.booleans()),
    st.just(Cancelled()),
)  # fmt: skip


@st.composite
def claims(draw: st.DrawFn) -> Claimed:
    """A claimed task as the rows can hold it: its attempt is within its budget."""
    max_attempts = draw(st.integers(1, 100))
    return make_claimed(
        attempt=draw(st.integers(1, max_attempts)),
        max_attempts=max_attempts,
        losses=draw(st.integers(0, 99)),
        snoozes=draw(st.integers(0, SNOOZES_MAX)),
        retry=draw(policies),
    )
