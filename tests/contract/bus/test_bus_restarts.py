"""A server that is killed and comes back: nothing acked comes again, nothing rung is lost, nobody is told to restart."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.bus.hands import bells, pulling
from tests.support.waiting import wait_until, wait_until_sync

from taskflow.bus.connect import Bus
from taskflow.bus.errors import BusAway
from taskflow.bus.publisher import ring
from taskflow.bus.streams import ensure_streams, ensure_task_consumer, read_watermark
from taskflow.bus.topology import Topology
from taskflow.cli.dev.nats import Nats
from taskflow.domain.task import Lane


class Server:
    """A nats-server on a fixed port with its data in a folder."""

    def __init__(self, home: Path) -> None:
        self.nats = Nats(home)
        self._log = (home / "nats.log").open("wb")
        self._process: subprocess.Popen[bytes] | None = None
        self.nats.prepare()

    def start(self) -> None:
        process = self._process = self.nats.start(self._log.fileno())
        wait_until_sync(lambda: self.nats.is_ready(process.pid), "nats-server is ready", 20)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None

    def close(self) -> None:
        self.kill()
        self._log.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    yield server
    server.close()


TOPOLOGY = Topology("TEST_RESTARTS", "test-restarts")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_pulling_goes_on_when_the_server_is_back(server: Server, number: signal.Signals) -> None:
    async with Bus(server.nats.url, TOPOLOGY, name="test") as bus:
        await ensure_streams(bus)
        await ensure_task_consumer(bus, Lane.NORMAL, "default")
        before, kept, after = bells(3)
        async with pulling(bus) as hands:
            await ring(bus, [before])
            await hands.hold(1, "it came")
            await hands.ack_all()
            await wait_until(lambda: _settled(bus), "the ack has arrived")
            await hands.puller.demand(0)
            await ring(bus, [kept])

            server.kill(number)
            await wait_until(lambda: not bus.connected, "the connection is known to be lost")
            began = time.monotonic()
            for act in (ring(bus, [after]), ensure_streams(bus), read_watermark(bus, Lane.NORMAL, "default")):
                with pytest.raises(BusAway):
                    await act
            assert time.monotonic() - began < 1
            await hands.puller.demand(100)

            server.start()
            await wait_until(lambda: bus.connected, "the connection is back")
            await ring(bus, [after])
            await wait_until(
                lambda: {kept.id, after.id} <= set(hands.ids), "what was kept and what is new came", 15
            )
            assert hands.ids.count(before.id) == 1
            await hands.ack_all()


async def _settled(bus: Bus) -> bool:
    return (await read_watermark(bus, Lane.NORMAL, "default")).stamp is None


async def test_a_ring_under_way_when_the_server_dies_does_not_hang(server: Server) -> None:
    async with Bus(server.nats.url, TOPOLOGY, name="test") as bus:
        await ensure_streams(bus)
        server.kill()
        began = time.monotonic()
        with contextlib.suppress(BusAway):
            assert await ring(bus, bells(10)) == 0
        assert time.monotonic() - began < 7


async def test_a_bus_enters_while_the_server_is_away_and_finds_it_when_it_comes(server: Server) -> None:
    server.kill()
    told: list[bool] = []

    async def connected() -> None:
        told.append(True)

    bus = Bus(server.nats.url, TOPOLOGY, name="test")
    bus.on_connected(connected)
    async with bus:
        assert not bus.connected
        server.start()
        await wait_until(lambda: bus.connected and told, "it was found")
        assert await ensure_streams(bus) == [s.name for s in TOPOLOGY.streams()]
