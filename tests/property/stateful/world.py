"""The world of one example: the programs' parts, what the small model believes, and the two compared."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.property.stateful import small_model as model
from tests.property.stateful.rows import Books, check_laws, read_books, visible
from tests.property.stateful.values import GONE, Claim, State
from tests.support.engines import Engines

from taskflow.domain.task import Claimed, NewTask
from taskflow.kit.ids import new_id
from taskflow.store import workers
from taskflow.store.workers import Registration

QUEUE = "default"
COMMON, RARE = "demo", "rare"
TYPES = ([COMMON], [COMMON], [COMMON, RARE])
"""What each of the three workers declares."""
LEASE_SECONDS = 3_600.0

Act = Callable[[], Awaitable[None]]


class Effect(NamedTuple):
    """What a deed makes of a task. `may_miss`: where others are at work too, it may pass a task by this time."""

    on: Callable[[str, State], State]
    may_miss: bool = False


class Deed(NamedTuple):
    """Something a program does, and what must come of it, task by task, in this order."""

    act: Act
    effects: tuple[Effect, ...] = ()


@dataclass
class Hands:
    """What a worker knows: who it is, what it holds, and what its last beat saw running that it does not hold."""

    types: list[str]
    id: str = field(default_factory=new_id)
    held: dict[tuple[str, int], Claimed] = field(default_factory=dict)
    suspects: set[tuple[str, int]] = field(default_factory=set)


class Handed(NamedTuple):
    """A claim that was won, whatever became of it, and the worker whose it was."""

    who: int
    task: Claimed


class World:
    """Tasks by id as they should be, workers as they should be, and every claim that ever was."""

    def __init__(self, engines: Engines) -> None:
        self.engines = engines
        self.tasks: dict[str, State] = {}
        self.submitted: dict[str, NewTask] = {}
        self.keys: dict[str, str] = {}
        self.hands = [Hands(types) for types in TYPES]
        self.fleet: dict[str, str] = {}
        self.ancient: set[str] = set()
        self.beats: dict[str, bool] = {}
        self.claims: list[Handed] = []
        self.letters_pruned = False
        self.racing = False
        self.books: Books
        self._won: list[Handed] = []

    async def open(self) -> None:
        """Register the workers."""
        for who in range(len(self.hands)):
            await self.register(who)
        await self.observe()

    async def register(self, who: int) -> None:
        """A worker appears under its present id."""
        hands = self.hands[who]
        said = Registration(hands.id, "here", 1, "0", [QUEUE], hands.types, 10)
        await self.engines.ground.hand.run(lambda conn: workers.register(conn, said, LEASE_SECONDS))
        self.fleet[hands.id] = "live"

    async def do(self, *deeds: Deed) -> None:
        """One deed after the other; then rows and model must agree."""
        for deed in deeds:
            await deed.act()
            for task_id in self.tasks:
                for effect in deed.effects:
                    self.tasks[task_id] = effect.on(task_id, self.tasks[task_id])
            self._take_over()
        await self.observe()

    async def race(self, deeds: Sequence[Deed], *, piled_up: bool) -> None:
        """Deeds at the same time; each task must be as some order of them leaves it.

        `piled_up`: their statements are made to wait for rows that somebody has locked, and let go together.
        """
        self.racing = True
        if piled_up and deeds:
            await self._pile_up(deeds)
        else:
            await together(*(deed.act() for deed in deeds))
        self.racing = False
        books = await self._read()
        before, self.fleet = self.fleet, dict(books.fleet)
        assert all(self.fleet[worker] == "live" for worker, state in before.items() if state == "live")
        for worker, lease_live in self.beats.items():
            assert lease_live == (self.fleet.get(worker) == "live"), "renewed and dead at once"
            if lease_live:
                self.ancient.discard(worker)
        self.beats.clear()
        effects = [effect for deed in deeds for effect in deed.effects]
        for task_id, task in self.tasks.items():
            found = books.state(task_id, task)
            ends = {visible(end): end for end in outcomes(task_id, task, effects)}
            assert found in ends, f"no order of the deeds makes {task} into {found}"
            self.tasks[task_id] = ends[found]
        self._take_over()
        await self.observe()

    async def _pile_up(self, deeds: Sequence[Deed]) -> None:
        hand = self.engines.ground.hand

        async def hold(conn: Any) -> set[asyncio.Task[Any]]:
            async with conn.transaction():
                await conn.execute("SELECT FROM tasks ORDER BY id FOR UPDATE")
                await conn.execute("SELECT FROM workers ORDER BY id FOR UPDATE")
                pending = {asyncio.ensure_future(deed.act()) for deed in deeds}
                started = set(pending)
                for _ in range(20):
                    _, pending = await asyncio.wait(pending, timeout=0.002)
                    waiting = await conn.fetchval(
                        "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
                    )
                    if waiting >= len(pending):
                        break
                return started

        await together(*await hand.run(hold))

    def won(self, who: int, task: Claimed, *, told: bool) -> None:
        """A claim was answered (or would have been, if its answer had not been lost)."""
        self._won.append(Handed(who, task))
        if told:
            self.hands[who].held[task.id, task.version] = task

    def _take_over(self) -> None:
        """The claims just won: each of a version nobody claimed before, and all numbers as the model has them."""
        before = {(handed.task.id, handed.task.version) for handed in self.claims}
        for handed in sorted(self._won, key=lambda handed: (handed.who, handed.task.id)):
            task = handed.task
            assert (task.id, task.version) not in before, "a version was claimed twice"
            now = self.tasks[task.id]
            if now.status == "running" and now.version == task.version:
                assert claim_of(task) == now.claim
                assert (task.life, task.attempt, task.losses, task.snoozes, task.max_attempts) == (
                    now.life, now.attempt, now.losses, now.snoozes, now.max_attempts,
                )  # fmt: skip
            self.claims.append(handed)
        self._won.clear()

    async def observe(self) -> None:
        """Compare what stands with what should stand."""
        self.books = books = await self._read()
        check_laws(books, letters_pruned=self.letters_pruned)
        assert books.tasks.keys() <= self.tasks.keys(), "a task nobody submitted"
        for task_id, task in self.tasks.items():
            assert books.state(task_id, task) == visible(task)
        assert books.fleet == self.fleet
        expected: Counter[tuple[str, str]] = Counter()
        for task in self.tasks.values():
            expected[task.type, "accepted"] += 1
            expected[task.type, "pruned" if task.status == GONE else task.status] += 1
        assert books.totals == expected, "the figures are not what was done"

    async def _read(self) -> Books:
        return await self.engines.ground.hand.run(read_books)

    def dead(self) -> set[str]:
        """Workers without a live lease: those whose ran out, and those nobody knows."""
        named = {one.worker for task in self.tasks.values() for one in task.tries}
        named |= {task.worker for task in self.tasks.values() if task.worker}
        return {worker for worker in named if self.fleet.get(worker) != "live"}

    def pick(self, picks: Iterable[int]) -> list[str]:
        """Tasks by number, the newest first, each once; ended and pruned ones too."""
        ids = list(self.tasks)
        return sorted({ids[-1 - number % len(ids)] for number in picks}) if ids else []

    def waiting(self) -> list[str]:
        """The queued tasks, the oldest first."""
        return [task_id for task_id, task in self.tasks.items() if task.status == "queued"]

    def retryable(self) -> list[str]:
        """The tasks that a caller may retry, the newest last."""
        return [task_id for task_id, task in self.tasks.items() if model.retried(task) != task]

    def alive(self, who: int) -> int:
        """A worker with a live lease, this one if it has."""
        return self._first(who, lambda hands: self.fleet.get(hands.id) == "live")

    def silent(self, who: int) -> int:
        """A worker whose lease ran out while nobody looked, this one if it did."""
        return self._first(who, lambda hands: self.fleet.get(hands.id) == "out")

    def holder(self, who: int) -> tuple[int, list[Claimed]]:
        """A worker that holds something, this one if it does, and what it holds."""
        holder = self._first(who, lambda hands: bool(hands.held))
        return holder, list(self.hands[holder].held.values())

    def _first(self, who: int, fits: Callable[[Hands], bool]) -> int:
        order = [*range(who, len(self.hands)), *range(who)]
        return next((number for number in order if fits(self.hands[number])), who)

    def pick_claims(self, picks: Sequence[int]) -> tuple[int, list[Claimed]]:
        """Claims of one worker by number, the newest first, each once; finished and lost ones too."""
        if not self.claims:
            return 0, []
        owner = self.claims[-1 - picks[0] % len(self.claims)].who
        own = [handed.task for handed in self.claims if handed.who == owner]
        found = {number % len(own): own[-1 - number % len(own)] for number in picks}
        return owner, list(found.values())

    def pick_letter(self, number: int) -> tuple[str, int] | None:
        """The task and life of a dead letter, resolved ones too."""
        letters = [(task_id, row["life"]) for task_id, rows in self.books.letters.items() for row in rows]
        return letters[-1 - number % len(letters)] if letters else None


async def together(*acts: Awaitable[None]) -> None:
    """All at once. Every one is awaited, also when one fails: nothing goes on behind the next step's back."""
    for answer in await asyncio.gather(*acts, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer


def claim_of(task: Claimed) -> Claim:
    """The part of a claim that guards."""
    return Claim(task.version, task.number, task.worker_id)


def outcomes(task_id: str, task: State, effects: Sequence[Effect]) -> set[State]:
    """What every order of these effects can make of a task."""
    found: set[State] = set()
    seen: set[tuple[State, frozenset[int]]] = set()

    def go(now: State, left: frozenset[int]) -> None:
        if (now, left) in seen:
            return
        seen.add((now, left))
        if all(effects[number].may_miss for number in left):
            found.add(now)
        for number in left:
            go(effects[number].on(task_id, now), left - {number})

    go(task, frozenset(range(len(effects))))
    return found
