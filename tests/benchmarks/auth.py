"""What credentials cost: single submits with and without them, and how long a try to sign in takes.

Two apis on one database and one bus, one of which asks for credentials; the queue is paused. Of each round the figures
are taken in turn: without credentials, with an API key, with an access token, and with a key whose account has limits (a
third api). 64 keep-alive connections, as in single submits; the ratios are those of each round's rates. Then 200 tries to
sign in with a wrong password and a known name, 200 with a name that nobody has, alternately, one at a time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.figures import Row, Table, short, spreads
from tests.benchmarks.ground import Ground, running_ground, send
from tests.benchmarks.load import Orders
from tests.benchmarks.processes import MIB, resident_bytes
from tests.benchmarks.single import BODY, CONNECTIONS
from tests.support import accounts
from tests.support.apis import Api, running_api

SUBMITS = 12_000
TRIES = 200
SIGN_INS = 80
MANY = "1000000000"
PASSWORD = "a password for measurements"
NEVER_LOCKED = {"MAX_FAILED_ATTEMPTS": "1000000", "LOGIN_RATE_LIMIT_PER_HOUR": "0"}


class Apis(NamedTuple):
    """The three apis, and credentials for the latter two."""

    open: Api
    closed: Api
    limited: Api
    key: str
    token: str


@cell("Credentials")
def measure(asked: Asked) -> list[Table]:
    """Submits, then sign-ins."""
    with running_ground(workers=1) as ground, running_apis(ground) as apis:
        ground.pause()
        round_of(apis, asked.size(SUBMITS // 10))
        rounds = [round_of(apis, asked.size(SUBMITS), turn) for turn in range(asked.rounds)]
        submits = [Row(f"{CONNECTIONS} connections", spreads(rounds))]
        sign_ins = [tries(apis, asked.size(TRIES)), successes(apis, asked.size(SIGN_INS))]
    return [Table("Submits", submits), Table("Sign-ins", sign_ins)]


@contextmanager
def running_apis(ground: Ground) -> Iterator[Apis]:
    """Start them beside the ground's own, which stays idle."""
    facts = ground.system.facts()
    servers = (facts["database_url"], facts["nats_url"])
    bus = {"NATS_STREAM_NAME": "TASKFLOW", "NATS_CONSUMER_NAME": "taskflow-worker"}
    required = {**bus, **accounts.REQUIRED, **NEVER_LOCKED}
    limits = {"RATE_LIMIT_PER_HOUR": MANY, "USER_RATE_LIMIT_PER_HOUR": MANY}
    with (
        running_api(*servers, **bus) as open_,
        running_api(*servers, **required) as closed,
        running_api(*servers, **required, **limits) as limited,
    ):
        admin = accounts.sign_in(closed.url)["access_token"]
        made = accounts.make_user(closed.url, admin, username="ann", password=PASSWORD)
        token = accounts.sign_in(closed.url, "ann", PASSWORD)["access_token"]
        yield Apis(open_, closed, limited, made["api_key"], token)


def round_of(apis: Apis, count: int, turn: int = 0) -> dict[str, float]:
    """One after the other, so that none disturbs another; `turn` tells which is the first."""
    key, token = (f"Authorization: Bearer {shown}" for shown in (apis.key, apis.token))
    ways = {
        "without": (apis.open, []),
        "with a key": (apis.closed, [key]),
        "with a token": (apis.closed, [token]),
        "with limits": (apis.limited, [key]),
    }
    names = [*ways][turn % len(ways) :] + [*ways][: turn % len(ways)]
    rates = {name: _rate(ways[name][0], count, *ways[name][1]) for name in names}
    without = rates["without"]
    ratios = {f"{name} / without": rates[name] / without for name in ways if name != "without"}
    return {"without, submits/s": without, **ratios}


def _rate(api: Api, count: int, *headers: str) -> float:
    place = urlsplit(api.url)
    orders = Orders(
        host=place.hostname or "", port=place.port or 0, path="/api/v1/tasks", bodies=[BODY],
        connections=CONNECTIONS, count=count, headers=list(headers),
    )  # fmt: skip
    answers = send(orders)
    assert answers.statuses == {"202": count}, f"{answers.statuses}: {answers.refusal}"
    return count / answers.seconds


def tries(apis: Apis, count: int) -> Row:
    """Wrong passwords, for names that are known and names that are not."""
    took: dict[str, list[float]] = {"known": [], "unknown": []}
    with httpx.Client(base_url=apis.closed.url, timeout=60) as client:
        for number in range(count + 3):
            for kind, name in (("known", "ann"), ("unknown", f"nobody-{number}")):
                body = {"username": name, "password": "not the password"}
                began = time.perf_counter()
                answer = client.post("/api/v1/auth/token", json=body)
                took[kind].append((time.perf_counter() - began) * 1000)
                assert answer.status_code == 401, answer.text
    known, unknown = (statistics.median(values[3:]) for values in took.values())  # the first ones warm it up
    return Row(
        f"{count} tries each, wrong password",
        {
            "known name, median ms": short(known),
            "unknown name, median ms": short(unknown),
            "known / unknown": short(known / unknown),
        },
    )


def successes(apis: Apis, count: int) -> Row:
    """Sign-ins one after the other, and what they leave of the api's memory."""
    before = resident_bytes(apis.closed.process.pid)
    began = time.perf_counter()
    for _ in range(count):
        accounts.sign_in(apis.closed.url, "ann", PASSWORD)
    seconds = time.perf_counter() - began
    after = resident_bytes(apis.closed.process.pid)
    return Row(
        f"{count} sign-ins, one caller",
        {
            "sign-ins/s": short(count / seconds),
            "MiB before": short(before / MIB),
            "MiB after": short(after / MIB),
        },
    )
