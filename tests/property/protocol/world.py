"""What there is: rows, doorbells, letters, workers, the scheduler, and the faults that may still happen.

A world is a value. Moves make new ones; two that are equal are one state. Times are epochs of one healer's grace; only
their order matters, so they are renumbered (`renumbered`) and the states stay few.
"""

from __future__ import annotations

from typing import NamedTuple

from taskflow.domain.transitions import Status

SCHEDULED, QUEUED, RUNNING, RETRYING = (
    Status.SCHEDULED.value, Status.QUEUED.value, Status.RUNNING.value, Status.RETRYING.value,
)  # fmt: skip
COMPLETED, FAILED, CANCELLED, EXPIRED = (
    Status.COMPLETED.value, Status.FAILED.value, Status.CANCELLED.value, Status.EXPIRED.value,
)  # fmt: skip

GRACE = 1
"""The healer's grace, in epochs."""
STEP = GRACE + 1
"""The least number of epochs between two moments of which the first is past the grace."""
NEVER = -1
PARKED = 1_000_000
"""`rung_at = 'infinity'`."""

Owner = tuple[int, int]
"""A worker's identity: its place, and how many identities that place had before."""
Key = tuple[int, int]
"""A task and its version."""
Ends = frozenset[tuple["Try", str]]
"""Tries and how each ended, as codes of `policy.OUTCOMES`."""
NONE: frozenset = frozenset()


class Try(NamedTuple):
    """A claim of a task, as its worker holds it: `domain.task.Claimed`."""

    task: int
    version: int
    owner: Owner
    life: int
    attempt: int
    losses: int

    @property
    def key(self) -> Key:
        """By which workers and PostgreSQL name it to each other."""
        return self.task, self.version


class Row(NamedTuple):
    """A row of `tasks`, with its executions. `status` None: not submitted yet.

    `lapsed`: its `expires_at` has passed. `recorded`: the keys of its executions; `opened`: those that a cancel left
    `started`. For the laws alone: `successes` and `starts` (versions whose handler was started), both of this life.
    """

    kind: str
    status: str | None = None
    version: int = 0
    life: int = 1
    attempt: int = 0
    losses: int = 0
    owner: Owner | None = None
    rung_at: int = NEVER
    lapsed: bool = False
    recorded: frozenset[object] = NONE
    opened: frozenset[tuple[int, Owner]] = NONE
    successes: int = 0
    starts: frozenset[int] = NONE


class Letter(NamedTuple):
    """A row of `dead_letters`."""

    task: int
    life: int
    status: str = "pending"
    handled: bool = False


class Holder:
    """Who has a message, if no worker has it."""

    WAITING = -1
    """Nobody: it may be delivered."""
    UNACKED = -2
    """Nobody any more, but `ack_wait` is not over."""
    STRANDED = -3
    """Nobody, and it will never be delivered again."""


class Bell(NamedTuple):
    """A message of the work queue, in the order of the stream. `holder`: a worker, or one of the three above."""

    number: int
    task: int
    stamp: int
    holder: int = Holder.WAITING


class Claim(NamedTuple):
    """A claim statement under way. `answered`: PostgreSQL has carried it out; `won`: what it gave."""

    task: int
    bell: int
    answered: bool = False
    won: Try | None = None


class Beat(NamedTuple):
    """The answer to a beat, with what was held when it was sent: `store.workers.Beat`."""

    owner: Owner
    lease_live: bool
    running: frozenset[Key]
    held: frozenset[Try]


class Process:
    """How a worker's process is: `BLOCKED` is its event loop alone; `ABSENT` has not been started yet."""

    UP, PAUSED, BLOCKED, DRAINING, DEAD, ABSENT = "up", "paused", "blocked", "draining", "dead", "absent"


class Lease:
    """How a lease is: `OVER` ran out, `ENDED` was given up or pronounced dead (`ended_at`), `GONE` has no row."""

    LIVE, OVER, ENDED, GONE = "live", "over", "ended", "gone"


class Worker(NamedTuple):
    """A worker process and the lease of its present identity.

    `held`: what `Executor.held` has; `running`: handlers that run; `ended`: results that wait to be recorded;
    `record`: those under way to PostgreSQL; `unknown`: claims that are about to be handed back; `verdict`: what the
    watchdog has decided to record before it ends the process; `mute`: the heart cannot reach PostgreSQL.
    """

    process: str = Process.UP
    generation: int = 0
    lease: str = Lease.LIVE
    mute: bool = False
    claim: Claim | None = None
    parking: Claim | None = None
    held: frozenset[Try] = NONE
    running: frozenset[Try] = NONE
    ended: Ends = NONE
    record: Ends = NONE
    beats: tuple[Beat, ...] = ()
    suspects: frozenset[Key] = NONE
    unknown: frozenset[Key] = NONE
    registering: bool = False
    verdict: Ends | None = None


class Scheduler(NamedTuple):
    """`found`: what a rescue under way has read, with whether each worker's lease was live; `watermark`: what a look of
    the healer under way has read; `unsent`: doorbells that are stamped and not published."""

    found: frozenset[tuple[Try, bool]] = NONE
    holds_off: bool = False
    watermark: int | None = None
    unsent: frozenset[tuple[int, int]] = NONE


class Late(NamedTuple):
    """A statement whose sender is gone or listens no more; PostgreSQL may still carry it out."""

    claim: tuple[int, Owner] | None = None
    ends: Ends = NONE


class World(NamedTuple):
    """All of it. `faults`: what may still happen, each once; `breach`: the law that the last move broke."""

    rows: tuple[Row, ...]
    workers: tuple[Worker, ...]
    faults: tuple[str, ...]
    bells: tuple[Bell, ...] = ()
    schedulers: tuple[Scheduler, ...] = (Scheduler(),)
    letters: tuple[Letter, ...] = ()
    notices: frozenset[tuple[int, int]] = NONE
    unsent: frozenset[tuple[int, int]] = NONE
    late: frozenset[Late] = NONE
    now: int = 0
    breach: str | None = None

    def with_row(self, task: int, **changes: object) -> World:
        """With a changed row."""
        return self._replace(rows=_put(self.rows, task, self.rows[task]._replace(**changes)))

    def with_worker(self, number: int, **changes: object) -> World:
        """With a changed worker."""
        return self._replace(workers=_put(self.workers, number, self.workers[number]._replace(**changes)))

    def with_scheduler(self, number: int, **changes: object) -> World:
        """With a changed scheduler."""
        return self._replace(
            schedulers=_put(self.schedulers, number, self.schedulers[number]._replace(**changes))
        )

    def broken(self, law: str) -> World:
        """Against a law; the first one stands."""
        return self._replace(breach=self.breach or law)

    def without_fault(self, name: str) -> World:
        """After this fault has happened."""
        index = self.faults.index(name)
        return self._replace(faults=self.faults[:index] + self.faults[index + 1 :])

    def lease_lives(self, owner: Owner | None) -> bool:
        """Whether this identity has a live lease."""
        if owner is None:
            return False
        worker = self.workers[owner[0]]
        return worker.generation == owner[1] and worker.lease == Lease.LIVE

    def newest(self) -> int:
        """The latest moment that anything here remembers."""
        return max((moment for moment in self._moments()), default=0)

    def _moments(self) -> set[int]:
        moments = {row.rung_at for row in self.rows}
        moments.update(bell.stamp for bell in self.bells)
        moments.update(stamp for _, stamp in self.unsent)
        for scheduler in self.schedulers:
            moments.update(stamp for _, stamp in scheduler.unsent)
            if scheduler.watermark is not None:
                moments.add(scheduler.watermark)
        moments.add(self.now)
        return moments - {NEVER, PARKED}

    def renumbered(self, before: World | None = None) -> World:
        """The same, with the earliest moment 0 and no gap longer than it needs to be.

        `before`: a renumbered world that this one was made from; what is still the same object needs no new look.
        """
        if (
            before is not None
            and self.rows is before.rows
            and self.bells is before.bells
            and self.schedulers is before.schedulers
            and self.unsent is before.unsent
            and self.now == before.now
        ):
            return self
        moments = sorted(self._moments())
        places: dict[int, int] = {NEVER: NEVER, PARKED: PARKED}
        place = 0
        for last, moment in zip([moments[0], *moments], moments, strict=False):
            place += min(moment - last, STEP)
            places[moment] = place
        if all(moment == place for moment, place in places.items()):
            return self
        return self._replace(
            rows=tuple(row._replace(rung_at=places[row.rung_at]) for row in self.rows),
            bells=tuple(bell._replace(stamp=places[bell.stamp]) for bell in self.bells),
            unsent=_moved(self.unsent, places),
            schedulers=tuple(
                scheduler._replace(
                    unsent=_moved(scheduler.unsent, places),
                    watermark=None if scheduler.watermark is None else places[scheduler.watermark],
                )
                for scheduler in self.schedulers
            ),
            now=places[self.now],
        )


def _put(items: tuple, index: int, item: object) -> tuple:
    return (*items[:index], item, *items[index + 1 :])


def _moved(bells: frozenset[tuple[int, int]], places: dict[int, int]) -> frozenset[tuple[int, int]]:
    return frozenset((task, places[stamp]) for task, stamp in bells)
