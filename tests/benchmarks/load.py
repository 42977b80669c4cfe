"""The load generator, a process of its own: `python -m tests.benchmarks.load`, the orders on stdin, the answer on stdout.

It shares the cores with what it measures, so it is cheap: bodies come encoded, and of an answer no more is read than
its status and where it ends. Started by `calling.py`.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import Counter, deque

import msgspec
import uvloop
from msgspec import Struct, field

SETTLE_SECONDS = 0.5
"""Before an open loop begins, so that its first requests do not pay for the server's welcome of all connections."""


class Orders(Struct, kw_only=True):
    """What to send. In a closed loop each connection sends `count` in all, the next once the last is answered.

    With a `rate` the loop is open: requests are sent at fixed distances, whatever has been answered, and the time of an
    answer is counted from when its request was meant to be sent. `{due}` in a body stands for that moment.
    """

    host: str
    port: int
    path: str
    bodies: list[str]
    connections: int
    count: int
    rate: float = 0.0
    headers: list[str] = []


class Answers(Struct):
    """What came back: how many of which status, from the first request to the last answer.

    `milliseconds` are those of the accepted ones; `refusal` is the body of the first that was not.
    """

    began: float = 0.0
    seconds: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)
    refusal: str = ""


class Caller(asyncio.Protocol):
    """One keep-alive connection with one request at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._rest = b""
        self._due = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as asyncio's own
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.fail(exc)

    def send(self, request: bytes, due: float) -> None:
        """Send a request that is due at that moment."""
        assert self._transport is not None
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        head = self._rest.find(b"\r\n\r\n")
        if head < 0:
            return
        mark = self._rest.index(b"content-length:", 0, head) + 15
        length = int(self._rest[mark : self._rest.index(b"\r\n", mark)])
        if len(self._rest) >= head + 4 + length:
            answer, self._rest = self._rest[: head + 4 + length], self._rest[head + 4 + length :]
            self._load.answered(self, answer, time.time() - self._due)


class Load:
    """All requests of some orders, over all connections."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._requests = [self._encoded(body) for body in orders.bodies]
        self._free: deque[Caller] = deque()
        self._late: deque[float] = deque()
        self._sent = 0
        self._statuses: Counter[str] = Counter()
        self._milliseconds: list[float] = []
        self._refusal = ""
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> Answers:
        """Connect, send everything, wait for all answers."""
        loop = asyncio.get_running_loop()
        for _ in range(self._orders.connections):
            _, caller = await loop.create_connection(
                lambda: Caller(self), self._orders.host, self._orders.port
            )
            self._free.append(caller)
        began = time.time() + (SETTLE_SECONDS if self._orders.rate else 0)
        if self._orders.rate:
            threading.Thread(target=self._pace, args=(loop, began), daemon=True).start()
        else:
            self._send_closed()
        await self._over
        seconds = time.time() - began
        return Answers(began, seconds, dict(self._statuses), self._milliseconds, self._refusal)

    def answered(self, caller: Caller, answer: bytes, seconds: float) -> None:
        """A connection is free again."""
        status = answer[9:12].decode()
        self._statuses[status] += 1
        self._free.append(caller)
        if status.startswith("2"):
            self._milliseconds.append(round(seconds * 1000, 3))
        elif not self._refusal:
            self._refusal = answer.decode()
        if self._statuses.total() == self._orders.count:
            self._over.set_result(None)
        elif not self._orders.rate:
            self._send_closed()
        elif self._late:
            self._send(self._late.popleft())

    def fail(self, error: Exception | None) -> None:
        """A connection was closed before all was answered."""
        if not self._over.done():
            self._over.set_exception(error or ConnectionError("the server closed a connection"))

    def _send_closed(self) -> None:
        while self._free and self._sent < self._orders.count:
            self._send(time.time())

    def _send(self, due: float) -> None:
        request = self._requests[self._sent % len(self._requests)]
        self._sent += 1
        if self._orders.rate:
            moment = f"{due:017.6f}".encode()
            request = request.replace(b"{due............}", moment)
        self._free.popleft().send(request, due)

    def _pace(self, loop: asyncio.AbstractEventLoop, began: float) -> None:
        """Ring on time: the loop's own timers are late by up to a millisecond, which would be measured too."""
        for place in range(self._orders.count):
            due = began + place / self._orders.rate
            if (wait := due - time.time()) > 0:
                time.sleep(wait)
            loop.call_soon_threadsafe(self._ring, due)

    def _ring(self, due: float) -> None:
        if self._free:
            self._send(due)
        else:
            self._late.append(due)

    def _encoded(self, body: str) -> bytes:
        text = body.replace("{due}", "{due............}").encode()
        head = (
            f"POST {self._orders.path} HTTP/1.1\r\nHost: {self._orders.host}:{self._orders.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n"
        )
        more = "".join(f"{header}\r\n" for header in self._orders.headers)
        return f"{head}{more}\r\n".encode() + text


async def _main() -> None:
    orders = msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)
    answers = await Load(orders).run()
    sys.stdout.buffer.write(msgspec.json.encode(answers))


if __name__ == "__main__":
    uvloop.run(_main())
