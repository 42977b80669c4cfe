"""What the feed of all events costs, and how far behind its readers are, at 5,000 events a second.

A process of its own tells of moves that nobody made, by the code that tells of real ones, for a minute: each in a message
of its own, or in batches as a busy system does. 50 readers in two processes read `GET /api/v1/events`: 49 as admins, one as
a plain user who owns each tenth of the tasks; or 50 with five different filters; or one reads nothing for a while (15 s).
*Behind* is the age of an event when it was read, by the time that is in it (when NATS had it); of all that a reader takes
at once the oldest counts. *After due* counts from when it was due to be published. *Missing* is what readers were not told
of what they should have been; the one who stops is left out. Memory is the api's RSS each second: *early* the mean of the
seconds 10 to 30, *late* that of the last 20. Submits come 40 a second, one caller, beside the feed and alone, half a minute
before it and half a minute after it; their queue is paused. All of it on the same cores.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
from tests.benchmarks import feed_publisher, feed_readers
from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.feed_publisher import traits
from tests.benchmarks.feed_readers import Told, Wish
from tests.benchmarks.figures import Row, Table, percentiles, short
from tests.benchmarks.ground import Ground, running_ground
from tests.benchmarks.processes import MIB, resident_bytes
from tests.support.systems import ROOT
from tests.support.waiting import wait_until_sync

RATE = 5_000
SECONDS = 60.0
READERS = 50
PROCESSES = 2
SUBMITS_A_SECOND = 40
_BEFORE_SECONDS = 2.0
_AFTER_SECONDS = 2.5
_SUBMIT = '{"type":"echo","payload":1}'


class Plain(NamedTuple):
    """The plain user among the readers."""

    id: str
    key: str


class Way(NamedTuple):
    """One way to read and to publish."""

    what: str
    singly: bool
    wishes: Callable[[Plain, float], list[Wish]]


def _admins(user: Plain, _seconds: float) -> list[Wish]:
    return [Wish() for _ in range(READERS - 1)] + [Wish(headers=[f"X-API-Key: {user.key}"])]


def _filters(_user: Plain, _seconds: float) -> list[Wish]:
    queries = ("?type=feed.1", "?queue=feed-2", "?status=completed", "?status=failed&queue=feed-0", "")
    return [Wish(queries[n % len(queries)]) for n in range(READERS)]


def _one_stops(_user: Plain, seconds: float) -> list[Wish]:
    stops = Wish(stops_after_seconds=seconds / 6, stops_seconds=seconds / 4)
    return [Wish() for _ in range(READERS - 1)] + [stops]


WAYS = (
    Way("one event a message", True, _admins),
    Way("in batches", False, _admins),
    Way("in batches, five filters", False, _filters),
    Way("in batches, one reader stops", False, _one_stops),
)


class Run(NamedTuple):
    """What one way came to."""

    way: Way
    published: feed_publisher.Done
    wishes: list[Wish]
    told: list[Told]
    ages: list[float]
    count: int
    memory: list[float]
    alone_ms: list[float]
    beside_ms: list[float]
    cpu: dict[str, float]


@cell("Live events", once=True)
def measure(asked: Asked) -> list[Table]:
    """All ways in one system."""
    return measured(WAYS, asked.seconds(SECONDS))


def measured(ways: Sequence[Way], seconds: float) -> list[Table]:
    """These ways, one after the other."""
    with running_ground(workers=1) as ground:
        ground.pause()
        user = _plain_user(ground)
        _submits(ground, 2.0)
        runs = [_run(ground, way, user, seconds) for way in ways]
    return [
        Table("Readers of 5,000 events/s", [Row(run.way.what, _reading(run)) for run in runs]),
        Table("The api meanwhile", [Row(run.way.what, _meanwhile(run)) for run in runs]),
        Table("Part of a core", [Row(run.way.what, _cpu(run)) for run in runs]),
    ]


def _plain_user(ground: Ground) -> Plain:
    body = {"username": "ann", "email": "ann@example.org", "password": "a password for measurements"}
    answer = ground.system.http.post(
        "/api/v1/auth/register", json=body | {"password_confirm": body["password"]}
    )
    assert answer.status_code == 201, answer.text
    return Plain(answer.json()["user"]["id"], answer.json()["api_key"])


def _submits(ground: Ground, seconds: float) -> list[float]:
    """Milliseconds until each of so many submits was answered."""
    count = round(SUBMITS_A_SECOND * seconds)
    return ground.send([_SUBMIT], count, connections=1, rate=SUBMITS_A_SECOND).milliseconds


def _run(ground: Ground, way: Way, user: Plain, seconds: float) -> Run:
    alone = _submits(ground, seconds / 2)
    wishes, count = way.wishes(user, seconds), round(RATE * seconds)
    readers = [_standing(ground, wishes[n::PROCESSES]) for n in range(PROCESSES)]
    begins = time.time() + _BEFORE_SECONDS
    for each in readers:
        _say(each, feed_readers.Times(begins=begins, rate=RATE, until=begins + seconds + _AFTER_SECONDS))
    publisher = _start("tests.benchmarks.feed_publisher")
    url = ground.system.facts()["nats_url"]
    orders = feed_publisher.Orders(
        nats_url=url, begins=begins, rate=RATE, count=count, singly=way.singly, owner=user.id
    )
    _say(publisher, orders)
    wait_until_sync(lambda: time.time() >= begins, "it begins", 10)
    before = ground.usage()
    with _memory(ground) as memory:
        beside = _submits(ground, seconds)
        published = _ended(publisher, feed_publisher.Done)
    used = {name: use.cpu_seconds - before[name].cpu_seconds for name, use in ground.usage().items()}
    parts = [_ended(each, feed_readers.Done) for each in readers]
    alone += _submits(ground, seconds / 2)
    cpu = {name: used[name] for name in ("api", "nats", "postgres")}
    cpu |= {"publisher": published.cpu_seconds, "readers": sum(part.cpu_seconds for part in parts)}
    return Run(
        way, published, wishes,
        told=[parts[n % PROCESSES].told[n // PROCESSES] for n in range(len(wishes))],
        ages=[age for part in parts for age in part.ages],
        count=count, memory=memory, alone_ms=alone, beside_ms=beside,
        cpu={name: cpu_seconds / seconds for name, cpu_seconds in cpu.items()},
    )  # fmt: skip


def _start(module: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )


def _say(process: subprocess.Popen[bytes], what: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(what) + b"\n")
    process.stdin.flush()


def _standing(ground: Ground, wishes: list[Wish]) -> subprocess.Popen[bytes]:
    """Readers whose streams are open."""
    process = _start("tests.benchmarks.feed_readers")
    host, port = ground.host.hostname or "", ground.host.port or 0
    _say(process, feed_readers.Orders(host=host, port=port, readers=wishes))
    assert process.stdout is not None
    assert process.stdout.readline() == b"standing\n"
    return process


def _ended(process: subprocess.Popen[bytes], kind: type[Any]) -> Any:
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return msgspec.json.decode(said, type=kind)


@contextmanager
def _memory(ground: Ground) -> Iterator[list[float]]:
    """MiB of the api, once a second."""
    pid, found, stop = ground.system.facts()["pids"]["api"], list[float](), threading.Event()

    def look() -> None:
        while not stop.wait(1.0):
            found.append(resident_bytes(pid) / MIB)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def _expected(wish: Wish, count: int) -> int:
    """How many of the events a reader wants."""
    if wish.headers:
        return len(range(0, count, feed_publisher.OWNED))
    wanted = dict(part.split("=") for part in wish.query.removeprefix("?").split("&") if part).items()
    return sum(wanted <= traits(number).items() for number in range(count))


def _reading(run: Run) -> dict[str, Any]:
    pairs = list(zip(run.wishes, run.told, strict=True))
    steady = [(wish, told) for wish, told in pairs if not wish.stops_seconds]
    expected = {wish.what: _expected(wish, run.count) for wish, _ in steady}
    ages = percentiles((age * 1000 for age in run.ages), 50, 99)
    stopped = [told for wish, told in pairs if wish.stops_seconds]
    return {
        "published/s": short(run.count / run.published.seconds),
        "behind p50 ms": short(ages["p50 ms"]),
        "p99 ms": short(ages["p99 ms"]),
        "worst s": short(max(t.behind_seconds for _, t in steady)),
        "worst after due s": short(max(t.due_seconds for _, t in steady)),
        "missing": sum(expected[wish.what] - told.events for wish, told in steady),
        "out of order": sum(t.disordered for _, t in steady),
        "resyncs": sum(t.resyncs for _, t in steady),
        "told of who stops": stopped[0].events if stopped else "",
        "resyncs of who stops": stopped[0].resyncs if stopped else "",
        "MB/s written": short(sum(t.bytes for t in run.told) / 1e6 / run.published.seconds),
    }


def _meanwhile(run: Run) -> dict[str, Any]:
    count = len(run.memory)
    early = statistics.mean(run.memory[count // 6 : count // 2 + 1])
    late = statistics.mean(run.memory[-(count // 3 + 1) :])
    alone, beside = (percentiles(times, 50, 99) for times in (run.alone_ms, run.beside_ms))
    return {
        "MiB early": short(early),
        "MiB late": short(late),
        "MiB at most": short(max(run.memory)),
        "grown %": short((late / early - 1) * 100),
        "submit alone p50 ms": short(alone["p50 ms"]),
        "alone p99 ms": short(alone["p99 ms"]),
        "beside p50 ms": short(beside["p50 ms"]),
        "beside p99 ms": short(beside["p99 ms"]),
        "beside / alone p99": short(beside["p99 ms"] / alone["p99 ms"]),
    }


def _cpu(run: Run) -> dict[str, Any]:
    return {name: short(share) for name, share in run.cpu.items()}
