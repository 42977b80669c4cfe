"""push hosts: how many pushes a host gets at once, and whether any. What waits longer than a moment is handed back.

The limit is for all workers together: each takes its share of it. The circuit breaker is a row, written only where pushes
fail; a worker trusts what it has read of it for two seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Self

from msgspec import Struct

from taskflow.domain.callback import PUSH_TYPE
from taskflow.kit.batcher import Batcher, Full
from taskflow.kit.logging import get_logger
from taskflow.store import push_hosts
from taskflow.store.connect import Conn, Line
from taskflow.store.errors import verdict
from taskflow.store.push_hosts import CLOSED, HostKey, HostState, Report

log = get_logger(__name__)

OPENS_AFTER_FAILURES = 5
OPEN_SECONDS, OPEN_SECONDS_MAX = 10.0, 600.0
"""The breaker opens for the first, and twice as long each time, up to the last."""
AGE_SECONDS_MAX = 2.0
WAIT_SECONDS_MAX = 2.0
"""What is expected to wait longer for its host than this, or than a quarter of its timeout, is handed back."""
HORIZON_SECONDS_MAX = 300.0
"""Appointments lie no further ahead: a host may become faster."""
FULL_SECONDS_MIN = 1.0
PROBE_SECONDS_MAX = 30.0
HOSTS_KEPT_MAX = 10_000
_GUESS_SECONDS = 0.1
_WEIGHT = 0.2


class HandBack(Struct, frozen=True):
    """Not now: when to come again, and why."""

    delay_seconds: float
    reason: str


class _Host:
    """What this worker knows of one host of one owner. Times are those of `time.monotonic`."""

    def __init__(self) -> None:
        self.turns: set[Turn] = set()
        self.waiting: deque[asyncio.Future[Turn]] = deque()
        self.seconds = _GUESS_SECONDS
        self.read_at = float("-inf")
        self.state = CLOSED
        self.appointment_at = 0.0

    @property
    def idle(self) -> bool:
        return not self.turns and not self.waiting

    def pace(self, moment: float) -> float:
        """How long a push takes, by those that have ended and those that have not."""
        ages = [moment - turn.began for turn in self.turns]
        return max(self.seconds, sum(ages) / len(ages)) if ages else self.seconds

    def learn(self, state: HostState, moment: float) -> None:
        self.state, self.read_at = state, moment

    def open_seconds(self, moment: float) -> float:
        """How long nothing may be sent, by what was read."""
        return self.state.open_seconds - (moment - self.read_at) if self.state.openings else 0.0

    def appointment(self, moment: float, not_before: float, share: int) -> float:
        """The next free moment of the host at its present pace, in seconds from now."""
        self.appointment_at = max(self.appointment_at, moment + not_before) + self.pace(moment) / share
        ahead = self.appointment_at - moment
        if ahead > HORIZON_SECONDS_MAX + not_before:
            self.appointment_at = moment + not_before + HORIZON_SECONDS_MAX
            return not_before + HORIZON_SECONDS_MAX * random.uniform(0.5, 1.0)  # nosec B311  # dice, not a secret
        return ahead


class Turn:
    """Leave to push to a host. `seen` says how it went; leaving gives the place to the next."""

    def __init__(self, hosts: PushHosts, key: HostKey, host: _Host) -> None:
        self._hosts = hosts
        self._key = key
        self._host = host
        self.began = time.monotonic()
        host.turns.add(self)
        hosts.whole.turns.add(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._host.turns.discard(self)
        self._hosts.whole.turns.discard(self)
        while self._host.waiting:
            waiter = self._host.waiting.popleft()
            if not waiter.done():
                waiter.set_result(Turn(self._hosts, self._key, self._host))
                break

    def seen(self, error: str | None) -> None:
        """The host answered (None), or failed."""
        host, took = self._host, time.monotonic() - self.began
        for each in (host, self._hosts.whole):
            each.seconds += (took - each.seconds) * _WEIGHT
        if error is None and not host.waiting:
            host.appointment_at = 0.0  # there is room: who comes next need not be put off
        if error is not None or host.state != CLOSED:
            self._hosts.report(Report(self._key, 0 if error is None else 1, error is None, error))


async def _waited(host: _Host, seconds: float) -> Turn | None:
    """The turn that comes within this time."""
    waiter: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
    host.waiting.append(waiter)
    try:
        async with asyncio.timeout(seconds):
            return await waiter
    except TimeoutError:
        return (
            waiter.result() if waiter.done() and not waiter.cancelled() else None
        )  # it may come at the last moment
    except asyncio.CancelledError:
        if waiter.done() and not waiter.cancelled():  # its turn came at the same moment: to the next
            await waiter.result().__aexit__()
        raise


class PushHosts:
    """The hosts this worker pushes to. `limit`: pushes to a host at once, by all workers. `whole`: all of them together."""

    def __init__(self, line: Line, *, limit: int) -> None:
        self._line = line
        self._limit = limit
        self.whole = _Host()
        self._hosts: OrderedDict[HostKey, _Host] = OrderedDict()
        self._share = limit
        self._share_read_at = float("-inf")
        self._reads: Batcher[HostKey, HostState] = Batcher(self._read, verdict=verdict, repeat_seconds=2.0)
        self._reports: Batcher[Report, None] = Batcher(
            self._write, verdict=verdict, repeat_seconds=5.0, pending_max=100_000
        )

    async def __aenter__(self) -> Self:
        await self._reads.__aenter__()
        await self._reports.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reports.__aexit__()
        await self._reads.__aexit__()

    async def enter(self, key: HostKey, timeout_seconds: float) -> Turn | HandBack:
        """Wait a moment for leave to push to a host; HandBack if that would take long."""
        host = self._host(key)
        moment = time.monotonic()
        if moment - host.read_at > AGE_SECONDS_MAX:
            host.learn(await self._reads.put(key), moment)
        moment = time.monotonic()
        if (opened := host.open_seconds(moment)) > 0:
            delay = host.appointment(moment, opened, self._share)
            return HandBack(delay, f"{key[1]} has failed {host.state.failures} times in a row")
        if host.state.openings:
            return await self._probe(key, host, timeout_seconds)
        if len(host.turns) < self._share:
            return Turn(self, key, host)
        return await self._wait(key, host, timeout_seconds)

    def appointment(self, slots: int) -> float:
        """When to come again, in seconds, for what finds all of so many slots taken."""
        return self.whole.appointment(time.monotonic(), FULL_SECONDS_MIN, slots)

    def report(self, report: Report) -> None:
        """Tell the others; in a flood, of some."""
        with contextlib.suppress(Full):
            self._reports.add_one(report)

    async def _probe(self, key: HostKey, host: _Host, timeout_seconds: float) -> Turn | HandBack:
        """Half open: one push at a time finds out whether the host is back; one that says nothing is waited for briefly."""
        probe_seconds = min(timeout_seconds, PROBE_SECONDS_MAX) + 5
        if await self._line.run(lambda conn: push_hosts.take_probe(conn, key, probe_seconds)):
            return Turn(self, key, host)
        delay = host.appointment(time.monotonic(), min(1.0, timeout_seconds), self._share)
        return HandBack(delay, f"{key[1]} failed; one push finds out whether it is back")

    async def _wait(self, key: HostKey, host: _Host, timeout_seconds: float) -> Turn | HandBack:
        moment, longest = time.monotonic(), min(WAIT_SECONDS_MAX, timeout_seconds / 4)
        expected = (len(host.waiting) + 1) * host.pace(moment) / self._share
        if expected <= longest and (turn := await _waited(host, longest)) is not None:
            return turn
        delay = host.appointment(time.monotonic(), expected, self._share)
        return HandBack(delay, f"{key[1]} has as many pushes as it may have at once")

    def _host(self, key: HostKey) -> _Host:
        host = self._hosts.get(key)
        if host is None:
            while len(self._hosts) >= HOSTS_KEPT_MAX and next(iter(self._hosts.values())).idle:
                self._hosts.popitem(last=False)
            host = self._hosts[key] = _Host()
        self._hosts.move_to_end(key)
        return host

    async def _read(self, keys: list[HostKey]) -> Sequence[HostState]:
        async def read(conn: Conn) -> dict[HostKey, HostState]:
            if time.monotonic() - self._share_read_at > AGE_SECONDS_MAX:
                pushers = await push_hosts.count_pushers(conn, PUSH_TYPE)
                self._share = max(1, self._limit // max(1, pushers))
                self._share_read_at = time.monotonic()
            return await push_hosts.read_hosts(conn, sorted(set(keys)))

        found = await self._line.run(read)
        return [found.get(key, CLOSED) for key in keys]

    async def _write(self, reports: list[Report]) -> Sequence[None]:
        summed: dict[HostKey, Report] = {}
        for one in reports:
            before = summed.get(one.key)
            failures = 0 if one.arrived or before is None else before.failures
            arrived = one.arrived or (before is not None and before.arrived)
            summed[one.key] = Report(one.key, failures + one.failures, arrived, one.error)
        states = await self._line.run(
            lambda conn: push_hosts.report(
                conn,
                list(summed.values()),
                opens_after=OPENS_AFTER_FAILURES,
                open_seconds=OPEN_SECONDS,
                open_seconds_max=OPEN_SECONDS_MAX,
            )
        )
        moment = time.monotonic()
        for key, state in states.items():
            host = self._hosts.get(key)
            if host is not None:
                if state.openings > host.state.openings:
                    log.warning("host.opened", host=key[1], owner_id=key[0], failures=state.failures)
                host.learn(state, moment)
        return [None] * len(reports)
