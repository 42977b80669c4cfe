"""The publisher of the feed's measurement, a process of its own: `python -m tests.benchmarks.feed_publisher`, the orders on
stdin, what it did on stdout.

It tells of moves that nobody made, by the code that tells of real ones, at a steady rate. Which task moved how is given by
the event's number, so that readers know what they must be told.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time

import msgspec
import uvloop
from msgspec import Struct

from taskflow.bus.announce import Announcer
from taskflow.bus.connect import Bus
from taskflow.bus.topology import Topology
from taskflow.domain.task import Moved
from taskflow.engine.dispatch import Dispatcher
from taskflow.kit.ids import new_id

FIRST = 1_000_000
"""The `seq` of the first event; those of real tasks are far below."""
TYPES, QUEUES, STATUSES = 4, 5, ("queued", "running", "completed", "failed")
OWNED = 10
"""One event in so many is of the plain user's tasks."""
TICK_SECONDS = 0.004


class Orders(Struct, kw_only=True):
    """What to tell, from `begins` (seconds since 1970) on; `singly`: each event in a message of its own."""

    nats_url: str
    begins: float
    rate: float
    count: int
    singly: bool
    owner: str


class Done(Struct):
    """How it went: how late the last event was sent, and the processor time that all took."""

    seconds: float
    late_seconds: float
    cpu_seconds: float


def traits(number: int) -> dict[str, str]:
    """What readers may filter the event of this number by, from 0 on."""
    return {
        "type": f"feed.{number // 4 % TYPES}",
        "queue": f"feed-{number // 16 % QUEUES}",
        "status": STATUSES[number % len(STATUSES)],
    }


def event(number: int, owner: str) -> Moved:
    """The event of this number."""
    mine = number % OWNED == 0
    return Moved(id=new_id(), seq=FIRST + number, version=1, owner=owner if mine else None, **traits(number))


async def publish(orders: Orders) -> Done:
    """Tell all of it."""
    async with Bus(orders.nats_url, Topology(), name="bench") as bus, Dispatcher(bus) as dispatcher:
        await bus.wait_connected()
        announcer, sent = Announcer(bus), 0
        await asyncio.sleep(orders.begins - time.time())
        before = _cpu_seconds()
        while sent < orders.count:
            due = min(orders.count, int((time.time() - orders.begins) * orders.rate))
            events = [event(number, orders.owner) for number in range(sent, due)]
            if orders.singly:
                for one in events:
                    await announcer.publish([one])
            else:
                dispatcher.tell(events)
            sent = due
            await asyncio.sleep(TICK_SECONDS)
        await bus.client.flush()
    seconds = time.time() - orders.begins
    return Done(seconds, seconds - orders.count / orders.rate, _cpu_seconds() - before)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    done = uvloop.run(publish(msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)))
    sys.stdout.buffer.write(msgspec.json.encode(done))
