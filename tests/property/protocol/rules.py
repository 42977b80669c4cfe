"""What can be varied: the rules of the protocol, each of which a mutant drops, and the size of a world."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.property.protocol.world import Lease, Process, Row, Scheduler, Worker, World


@dataclass(frozen=True)
class Rules:
    """The protocol as it is built. Every mutant changes one or two of these, and must be caught."""

    claims_only_queued: bool = True
    claims_by_live_lease: bool = True
    records_by_version: bool = True
    """By (version, worker), not by the status alone."""
    executions_by_number: bool = True
    """Keyed by a number that is never used again, not by the attempt."""
    letter_with_failure: bool = True
    """Written by the statement that fails the task, not by whoever takes the notice."""
    notices_again: bool = True
    two_way_comparison: bool = True
    lost_claims_by_version: bool = True
    """What is handed back is the version that two beats saw, not whatever version the task has by then."""
    held_by_version: bool = True
    """A worker remembers every try it holds, also two of one task."""
    stale_by_version: bool = True
    """What a batch of records did not move is told by (task, version), not by the task."""
    beats_by_identity: bool = True
    """An identity is taken once it is registered, and what was answered to an older one is not listened to."""
    renews_late: bool = True
    """A lease that ran out is renewed, until somebody has pronounced its worker dead."""
    watchdog: bool = True
    nothing_begins_after_verdict: bool = True
    rescues_from_tasks: bool = True
    """Asks for running tasks without a live worker, not for tasks of workers whose lease ran out."""
    pronounces_dead: bool = True
    deadline: bool = True
    closes_overdue_tries: bool = True
    """Tries of cancelled tasks are closed past their time also while their worker lives."""
    holds_off: bool = True
    writes_before_rescue: bool = True
    """Else what is refused to workers alone, their writes, begins no hold-off."""
    heals_by: str = "stamp in the doorbell"
    """Or "queued_at" (ringing again changes nothing in the row), or "time of the bus"."""
    above_ack_floor: bool = True
    foreign: str = "park"
    """What becomes of a doorbell that nobody here can run: parked at last; "nak" or "ack" for ever."""
    healer_unparks: bool = True


@dataclass(frozen=True)
class Scope:
    """How large the world is, and what may happen in it.

    `kinds` is one task type a task; `declared` what each worker runs; `absent` workers that start some time later.
    `clock`: time passes in steps, and a doorbell is published some time after its commit. Without it any time may
    have passed between two moves, and a publish follows its commit at once or is lost.
    """

    faults: tuple[str, ...] = ()
    rules: Rules = field(default_factory=Rules)
    kinds: tuple[str, ...] = ("a",)
    declared: tuple[str, ...] = ("a", "a")
    absent: frozenset[int] = frozenset()
    schedulers: int = 1
    slots: int = 1
    max_attempts: int = 2
    outcomes: tuple[str, ...] = ("ok", "fail")
    clock: bool = False
    skew: int = 0
    gathers: bool = False
    """Results gather until they are sent together, as they do beside those of other tasks."""
    slow_loops: bool = False
    """Things happen between a beat and what is learnt from it, and between a lost claim and the second look, also where
    no loop is blocked."""
    restarts: bool = True
    excused: frozenset[str] = frozenset()
    """Laws that are not looked at here, so that a mutant may go on to break another."""
    nobody_dies: bool = False
    """No fault of this scope excuses a lost try."""

    def first(self) -> World:
        """The world before anything has happened."""
        workers = tuple(
            Worker(process=Process.ABSENT, lease=Lease.GONE) if number in self.absent else Worker()
            for number in range(len(self.declared))
        )
        return World(
            rows=tuple(Row(kind) for kind in self.kinds),
            workers=workers,
            faults=tuple(sorted(self.faults)),
            schedulers=(Scheduler(),) * self.schedulers,
        )
