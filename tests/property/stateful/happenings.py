"""What may happen in an example, as hypothesis draws it: how often each, by whom, to what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st
from tests.property.stateful.deeds import OUTCOMES
from tests.property.stateful.habits import Shape
from tests.property.stateful.values import End
from tests.property.stateful.world import COMMON, RARE


@dataclass(frozen=True)
class Step:
    """What happens: by which worker (or scheduler: 0 and 2 are one), to which tasks or claims (the newest is 0)."""

    what: str
    who: int = 0
    numbers: Sequence[int] = (0,)
    end: End = End.SUCCEEDED
    other: End = End.SUCCEEDED
    flag: bool = False

    def __repr__(self) -> str:
        flag = ", flag" if self.flag else ""
        return f"<{self.what} by {self.who} of {list(self.numbers)}: {self.end}, {self.other}{flag}>"


# What leads on comes often; each of the rest now and then.
_OFTEN = {
    "claim what waits": 12, "finish what is held": 9, "finish": 4, "come due": 2, "die": 3, "vanish": 2, "retry": 4,
    "late": 2,
}  # fmt: skip
_NOW_AND_THEN = (
    "claim", "claim unanswered", "finish unanswered", "lines", "beat", "lease out", "rescue", "turn", "overrun",
    "fall due", "cancel", "cancel one", "letter", "letter", "park", "park", "park", "unpark", "unpark", "heal",
    "ring again", "grow old", "prune", "fold",
)  # fmt: skip
_SINGLE = [*(name for name, weight in _OFTEN.items() for _ in range(weight)), *_NOW_AND_THEN]
_RIVALS = [
    "claim", "claim", "claim", "finish", "finish", "finish what is held", "cancel", "cancel one", "retry", "retry this",
    "letter", "rescue", "rescue", "rescue", "renew", "renew", "turn", "turn", "park", "unpark", "ring again",
    "prune meanwhile", "lines",
]  # fmt: skip

_ends = st.sampled_from([*sorted(OUTCOMES), End.DIED, End.DIED, End.FAILED])
shapes = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([COMMON, COMMON, COMMON, RARE]),
        "lane": st.sampled_from([2, 3]),
        "max_attempts": st.sampled_from([5, 2, 1]),
        "patient": st.booleans(),
        "delayed": st.sampled_from([False, False, True]),
        "expires": st.booleans(),
    }
)


def _steps(names: Sequence[str], most: int) -> st.SearchStrategy[Step]:
    numbers = st.lists(st.integers(0, most), min_size=1, max_size=3)
    parts = st.tuples(st.sampled_from(names), st.integers(0, 2), numbers, _ends, _ends, st.booleans())
    return parts.map(lambda drawn: Step(*drawn))


@dataclass(frozen=True)
class Race:
    """Several at the same time, on few tasks, just after something happened; `piled_up` behind a lock."""

    rivals: Sequence[Step]
    after: Step
    piled_up: bool


@dataclass(frozen=True)
class Submit:
    """Something new, if there is not enough; and what was submitted before, since its outcome was not known."""

    shape: Shape
    again: Sequence[int]
    batch: bool


@dataclass(frozen=True)
class SubmitKeyed:
    """A request with a key, by one caller or by three at once."""

    shape: Shape
    key: str
    by_three: bool


Happening = Step | Race | Submit | SubmitKeyed
_submits = st.builds(Submit, shapes, st.lists(st.integers(0, 5), max_size=2), st.booleans())
_keyed = st.builds(SubmitKeyed, shapes, st.sampled_from("ab"), st.booleans())
_races = st.builds(
    Race, st.lists(_steps(_RIVALS, 2), min_size=2, max_size=4),
    _steps(["lease out", "lease out", "fall due", "late", "overrun", "grow old", "claim what waits"], 5), st.booleans(),
)  # fmt: skip
_kinds = [_steps(_SINGLE, 5)] * 15 + [_races] * 5 + [_submits, _keyed]
happenings: st.SearchStrategy[Happening] = st.sampled_from(_kinds).flatmap(lambda kind: kind)
"""The next thing that happens."""
