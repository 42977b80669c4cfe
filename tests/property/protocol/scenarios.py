"""What is tried: every fault alone, pairs of faults, backlogs by the clock, foreign types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import NamedTuple

from tests.property.protocol.rules import Rules, Scope

FAULTS = (
    "crash", "pause", "block", "drain", "mute", "outage", "writes refused", "claim answer lost", "record answer lost",
    "record dropped", "ack lost", "published twice", "wipe", "strand", "api crash", "scheduler crash",
)  # fmt: skip
USERS = ("cancel", "replay", "expire", "discard")
MANY_STATES = frozenset({"pause", "block", "mute", "outage", "writes refused", "claim answer lost"})
"""Beside another fault these are tried with handlers that succeed (losses and timeouts fail them often enough), or,
where a task has to fail first, with one attempt."""

AWAY = ("outage", "writes refused")
"""Faults of PostgreSQL alone: no task is lost."""

ONE_ATTEMPT = ("crash", "pause", "drain", "mute", *AWAY, "claim answer lost", "record answer lost", "wipe")
"""Faults under which a handler with one attempt never starts twice. (A result that memory lost is none of them.)"""

SMALL_PAIRS = (
    ("cancel", "record dropped"), ("cancel", "replay"), ("cancel", "drain"), ("wipe", "wipe"), ("wipe", "strand"),
    ("wipe", "ack lost"), ("wipe", "api crash"), ("crash", "api crash"), ("crash", "strand"),
    ("replay", "wipe"), ("replay", "discard"), ("expire", "scheduler crash"), ("ack lost", "ack lost"),
)  # fmt: skip
"""Pairs that cost little; the others are left to the full form."""

WAITING = Scope(kinds=("a", "a"), declared=(), clock=True)
"""Two tasks that nobody runs."""
CONSUMED = replace(WAITING, declared=("a",), outcomes=("ok",), max_attempts=1)
FOREIGN = Scope(kinds=("b", "a"), declared=("a", "ab"), outcomes=("ok",), max_attempts=1)
"""A type that only one of two workers knows, at the head of the lane."""
LATER = replace(FOREIGN, absent=frozenset({1}))
UNDECLARED = replace(FOREIGN, declared=("a",))


class Scenario(NamedTuple):
    """A scope with a name. `law`: the one that a mutant breaks; None: none is broken."""

    name: str
    scope: Scope
    law: str | None = None


def short() -> Iterator[Scenario]:
    """What is tried at every run of the tests: some ten thousand states."""
    yield from singles()
    yield from one_attempt()
    yield from backlogs()
    yield from foreign()
    yield from small_pairs()
    yield from single_nets()


def singles() -> Iterator[Scenario]:
    """Every fault and every wish alone."""
    yield Scenario("no fault", Scope())
    for fault in (*FAULTS, *USERS):
        outcomes = ("ok",) if fault in MANY_STATES else ("ok", "fail")
        yield Scenario(fault, Scope(faults=(fault,), outcomes=outcomes, nobody_dies=fault in AWAY))


def one_attempt() -> Iterator[Scenario]:
    """Where a handler must not start twice in a life."""
    for fault in ONE_ATTEMPT:
        yield Scenario(f"one attempt: {fault}", Scope(faults=(fault,), max_attempts=1))


def backlogs() -> Iterator[Scenario]:
    """Queued tasks, by the clock: a doorbell that is there is not rung again, a lost one is, once."""
    for faults in ((), ("wipe",), ("wipe", "wipe"), ("strand",), ("api crash",), ("slow publish",)):
        yield Scenario(f"backlog: {_told(faults)}", replace(WAITING, faults=faults))
    for faults in ((), ("wipe",), ("api crash",)):
        two = replace(WAITING, faults=faults, schedulers=2)
        yield Scenario(f"backlog, two schedulers: {_told(faults)}", two)
    yield Scenario("backlog: skewed clocks", replace(WAITING, skew=3))
    yield Scenario("backlog: wipe + scheduler crash", replace(WAITING, faults=("wipe", "scheduler crash")))
    yield Scenario("backlog, consumed: no fault", CONSUMED)


def foreign() -> Iterator[Scenario]:
    """A type that only some workers know, or one that starts later, or none; and a doorbell behind it is lost."""
    for faults in ((), ("api crash",)):
        yield Scenario(f"a type that one of two knows: {_told(faults)}", replace(FOREIGN, faults=faults))
        yield Scenario(f"a type that is declared later: {_told(faults)}", replace(LATER, faults=faults))
        yield Scenario(f"a type that nobody declares: {_told(faults)}", replace(UNDECLARED, faults=faults))


def small_pairs() -> Iterator[Scenario]:
    """Pairs of faults and wishes that cost little, and two that have taught something."""
    for pair in SMALL_PAIRS:
        yield Scenario(_told(pair), Scope(faults=pair))
    again = Scope(faults=("cancel", "replay"), outcomes=("ok",), slots=2, gathers=True)
    yield Scenario("cancel + replay, two slots", again)
    unheard = Scope(faults=("cancel", "claim answer lost"), outcomes=("ok",), declared=("a",))
    yield Scenario("cancel + claim answer lost, one worker", unheard)


def single_nets() -> Iterator[Scenario]:
    """Under a running task one net is enough, where it reaches."""
    for name, rules, fault in (
        ("the comparison", Rules(deadline=False), "claim answer lost"),
        ("the deadline", Rules(two_way_comparison=False), "claim answer lost"),
        ("the watchdog", Rules(deadline=False), "block"),
        ("the rescue", Rules(deadline=False), "crash"),
    ):
        scope = Scope(rules=rules, faults=(fault,), outcomes=("ok",), declared=("a",))
        yield Scenario(f"{name} alone: {fault}", scope)


def full() -> Iterator[Scenario]:
    """Every pair of faults and wishes, and what is too large for every run of the tests: about a million states."""
    for pair in combinations_with_replacement((*FAULTS, *USERS), 2):
        many, fails = not MANY_STATES.isdisjoint(pair), not {"replay", "discard"}.isdisjoint(pair)
        outcomes = ("ok",) if many and not fails else ("ok", "fail")
        yield Scenario(
            _told(pair), Scope(faults=pair, outcomes=outcomes, max_attempts=1 if many and fails else 2)
        )
    for fault in sorted(MANY_STATES):
        yield Scenario(f"{fault}, of handlers that fail", Scope(faults=(fault,)))
    for fault in ("pause", "drain", "mute", "claim answer lost", "cancel", "crash"):
        slow = Scope(faults=(fault,), outcomes=("ok",), slow_loops=True)
        yield Scenario(f"slow loops: {fault}", slow)
    for fault in ("crash", "mute", "scheduler crash"):
        two = Scope(faults=(fault,), outcomes=("ok",), schedulers=2, slow_loops=True, declared=("a",))
        yield Scenario(f"two schedulers: {fault}", two)
    for fault in ("crash", "wipe", "mute"):
        yield Scenario(f"a type that one of two knows: {fault}", replace(FOREIGN, faults=(fault,)))
    for faults in ((), ("wipe",), ("ack lost",), ("mute",)):
        yield Scenario(f"backlog, consumed: {_told(faults)}", replace(CONSUMED, faults=faults))
    for faults in ((), ("wipe", "wipe"), ("strand",), ("slow publish",), ("scheduler crash",)):
        two = replace(WAITING, faults=faults, schedulers=2)
        yield Scenario(f"backlog, two schedulers: {_told(faults)}", two)
    yield Scenario("backlog, consumed, two schedulers", replace(CONSUMED, schedulers=2))
    beside = Scope(
        faults=("block",), max_attempts=1, slots=2, outcomes=("ok",), kinds=("a", "a"), declared=("a",)
    )
    yield Scenario("one attempt, beside another: block", beside)
    stale = Scope(kinds=("a", "a"), faults=("wipe",), outcomes=("ok",), max_attempts=1)
    yield Scenario("two tasks: wipe", stale)


def _told(faults: tuple[str, ...]) -> str:
    return " + ".join(faults) or "no fault"
