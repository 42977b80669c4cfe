"""The protocol less one rule or two: each mutant breaks a law, in a small scope that shows why the rule is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.property.protocol.rules import Rules, Scope
from tests.property.protocol.scenarios import LATER, UNDECLARED, WAITING, Scenario

ENDS = "every accepted task ends"
CLOSED = "every execution is closed"
NO_LEASE = "a worker without a live lease wins a task"
STILL_RINGS = "a task is rung again that still has its doorbell"
STARTS_OVER = "a worker that lives starts over"

ONE_WORKER = Scope(outcomes=("ok",), declared=("a",))
UNHEARD = replace(ONE_WORKER, faults=("claim answer lost",))
BLOCKED = replace(ONE_WORKER, faults=("block",))
TWO_TRIES = replace(ONE_WORKER, faults=("cancel", "replay"), slots=2)
PAUSED = Scope(faults=("pause",), outcomes=("ok",))
MUTE = Scope(faults=("mute",), outcomes=("ok",))
AWAY = Scope(faults=("outage",), outcomes=("ok",), nobody_dies=True)
CRASH_FOR_GOOD = Scope(faults=("crash",), restarts=False, excused=frozenset({NO_LEASE}))
BESIDE_BLOCKED = replace(BLOCKED, kinds=("a", "a"), slots=2, max_attempts=1)


def mutants() -> Iterator[Scenario]:
    """All of them."""
    yield from _of_claims_and_records()
    yield from _of_leases_and_rescue()
    yield from _of_doorbells_and_letters()
    yield from _of_memory()


def _less(name: str, law: str, scope: Scope, **rules: Any) -> Scenario:
    return Scenario(name, replace(scope, rules=Rules(**rules)), law)


def _of_claims_and_records() -> Iterator[Scenario]:
    yield _less(
        "a record is guarded by status alone",
        "a late result changes a task",
        PAUSED,
        records_by_version=False,
    )
    twice = Scope(faults=("published twice",))
    yield _less(
        "what has ended can be claimed",
        "a task moves from completed to running",
        twice,
        claims_only_queued=False,
    )
    replay = Scope(faults=("replay",))
    yield _less("executions are keyed by attempt", ENDS, replay, executions_by_number=False)


def _of_leases_and_rescue() -> Iterator[Scenario]:
    yield _less("no comparison, no deadline", ENDS, UNHEARD, two_way_comparison=False, deadline=False)
    yield _less("no watchdog, no deadline", ENDS, BLOCKED, watchdog=False, deadline=False)
    yield _less(
        "rescue from the workers' side, no deadline", ENDS, CRASH_FOR_GOOD,
        rescues_from_tasks=False, deadline=False, claims_by_live_lease=False,
    )  # fmt: skip
    yield _less("a claim without a live lease", NO_LEASE, MUTE, claims_by_live_lease=False)
    taken = "a task is taken from a worker with a live lease"
    yield _less("nobody is pronounced dead", taken, MUTE, pronounces_dead=False)
    innocent = "a try is lost though no worker died"
    yield _less("no hold-off", innocent, AWAY, holds_off=False)
    refused = replace(AWAY, faults=("writes refused",))
    yield _less("reads are taken for writes", innocent, refused, writes_before_rescue=False)
    yield _less("no late renewal", STARTS_OVER, AWAY, renews_late=False)


def _of_doorbells_and_letters() -> Iterator[Scenario]:
    wipe, strand, lost = ("wipe",), ("strand",), ("api crash",)
    yield _less(
        "healing compares queued_at", STILL_RINGS, replace(WAITING, faults=wipe), heals_by="queued_at"
    )
    skewed = replace(WAITING, skew=3)
    yield _less("healing compares the clock of the bus", STILL_RINGS, skewed, heals_by="time of the bus")
    yield _less("no ack floor", ENDS, Scope(faults=strand), above_ack_floor=False)
    yield _less("a foreign type is nak'ed for ever", ENDS, replace(UNDECLARED, faults=lost), foreign="nak")
    yield _less("a foreign type is acked", "the healer rings for ever", UNDECLARED, foreign="ack")
    yield _less("the healer does not unpark", ENDS, LATER, healer_unparks=False)
    without = "a task has failed without a dead letter"
    yield _less("a dead letter by its notice alone", without, Scope(), letter_with_failure=False)
    handled = "every dead letter is handled"
    yield _less("a notice is sent once", handled, Scope(faults=wipe), notices_again=False)


def _of_memory() -> Iterator[Scenario]:
    """What a worker remembers, and for how long it may believe it. These were found in the code by this model."""
    held = "a worker hands back a claim that it holds"
    yield _less("a hand-back of whatever version", held, UNHEARD, lost_claims_by_version=False)
    runs_on = "no handler runs on for a task that is not its worker's"
    yield _less("held by id alone", runs_on, TWO_TRIES, held_by_version=False)
    gathering = replace(TWO_TRIES, gathers=True)
    yield _less(
        "a batch knows its tasks by id", CLOSED, gathering, stale_by_version=False, closes_overdue_tries=False
    )
    cancelled = replace(UNHEARD, faults=("cancel", "claim answer lost"))
    yield _less("only a dead worker's tries are closed", CLOSED, cancelled, closes_overdue_tries=False)
    yield _less("answers to an older name are listened to", STARTS_OVER, PAUSED, beats_by_identity=False)
    twice = "a handler starts twice though it has one attempt"
    yield _less(
        "handlers begin after the watchdog's verdict",
        twice,
        BESIDE_BLOCKED,
        nothing_begins_after_verdict=False,
    )
