"""Turns at a host: none is lost, whoever gives up when."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from taskflow.engine.push_hosts import PushHosts, Turn, _Host, _waited
from taskflow.store.connect import Database, Line

KEY = ("00000000-0000-0000-0000-000000000000", "https://example.org:443")


def hosts(share: int) -> PushHosts:
    return PushHosts(Line(Database("postgresql://127.0.0.1:1/none", application="test")), limit=share)


async def test_a_turn_that_comes_as_the_wait_ends_is_taken() -> None:
    """The holder ends in the very step of the loop in which the time of who waits is over."""
    own, host, loop = hosts(1), _Host(), asyncio.get_running_loop()
    held = Turn(own, KEY, host)

    def leave() -> None:
        with suppress(StopIteration):
            held.__aexit__().send(None)

    waiting = asyncio.create_task(_waited(host, 0.02))
    await asyncio.sleep(0)
    loop.call_later(0.015, leave)
    loop.call_later(0.001, time.sleep, 0.05)  # the loop stands still, so that both are due at once
    turn = await waiting
    assert turn is not None
    assert host.turns == {turn}
    await turn.__aexit__()
    assert not host.turns
    assert not own.whole.turns


async def test_who_is_cancelled_as_his_turn_comes_passes_it_on() -> None:
    own, host = hosts(1), _Host()
    held = Turn(own, KEY, host)
    first, second = (asyncio.create_task(_waited(host, 5)) for _ in range(2))
    await asyncio.sleep(0)
    await held.__aexit__()
    first.cancel()
    turn = await second
    assert turn is not None
    assert host.turns == {turn}


def test_appointments_do_not_run_away_from_a_host_that_is_quick_again() -> None:
    host = _Host()
    host.seconds = 30.0
    far = [host.appointment(1_000.0, 0.0, 10) for _ in range(10_000)]
    assert max(far) <= 300
    assert host.appointment(1_400.0, 0.0, 10) <= 10, "a while later it is near again"


def test_one_slow_push_does_not_make_the_host_slow() -> None:
    own, host = hosts(100), _Host()
    turns = [Turn(own, KEY, host) for _ in range(100)]
    turns[0].began -= 3_600
    assert host.pace(time.monotonic()) < 60
