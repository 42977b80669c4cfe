"""A cluster of three nats-servers with JetStream on loopback ports, whose nodes can be killed and started again."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from nats.errors import Error
from nats.js import JetStreamContext
from tests.support.jetstream import ask_jetstream
from tests.support.waiting import wait_until_sync

from taskflow.cli.dev.child import spawn, stop
from taskflow.cli.dev.places import free_port

T = TypeVar("T")
NODES = 3


class Node:
    """One server of the cluster. It keeps its name, its ports and its store when it is started again."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home / name
        self.port, self.route_port, self.monitor_port = free_port(), free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it; it logs into its folder."""
        with (self.home / "log").open("ab") as log:
            self.process = spawn(
                [_program(), "-c", str(self.home / "nats.conf")],
                env=os.environ, output=log.fileno(), death_signal=signal.SIGTERM, cwd=self.home,
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def is_healthy(self) -> bool:
        """Whether it has caught up with the others."""
        with suppress(OSError, ValueError):
            url = f"http://127.0.0.1:{self.monitor_port}/healthz"
            with urllib.request.urlopen(url, timeout=1) as answer:
                return bool(json.load(answer)["status"] == "ok")
        return False


class Cluster:
    """Three nodes. `url` names all of them."""

    def __init__(self, home: Path) -> None:
        self.token = secrets.token_urlsafe(12)
        self.nodes = [Node(f"n{number}", home) for number in range(1, NODES + 1)]

    @property
    def url(self) -> str:
        """How clients reach it, whichever nodes are up."""
        return ",".join(self._urls())

    @property
    def settings(self) -> dict[str, str]:
        """What leads a system here."""
        return {"NATS_URL": self.url, "NATS_REPLICAS": str(NODES)}

    def start(self) -> None:
        """Start all nodes and wait until they have elected a leader."""
        routes = [f"nats-route://127.0.0.1:{node.route_port}" for node in self.nodes]
        for node in self.nodes:
            node.home.mkdir()
            config = _config(
                node, self.token, [route for route in routes if str(node.route_port) not in route]
            )
            (node.home / "nats.conf").write_text(config)
            node.start()
        self.until_healthy()

    def stop(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            if node.process is not None:
                stop(node.process, ((signal.SIGTERM, 5.0),))

    def until_healthy(self, seconds: float = 30) -> None:
        """Wait until every node has caught up."""
        wait_until_sync(lambda: all(node.is_healthy() for node in self.nodes), "the cluster is well", seconds)

    def ask(self, act: Callable[[JetStreamContext], Awaitable[T]]) -> T:
        """What JetStream answers, whichever node is asked."""
        return ask_jetstream(self._urls(), act)

    def leader_of_stream(self, stream: str) -> Node:
        """The node that leads a stream."""
        info: Any = self.ask(lambda js: js.stream_info(stream))
        return self._node(info.cluster.leader)

    def leader_of_consumer(self, stream: str, consumer: str) -> Node:
        """The node that leads a consumer."""
        info: Any = self.ask(lambda js: js.consumer_info(stream, consumer))
        return self._node(info.cluster.leader)

    def let_lead(self, stream: str, node: Node) -> None:
        """Hand the lead of a stream to a node."""

        async def step_down(js: JetStreamContext) -> None:
            wish = json.dumps({"placement": {"preferred": node.name}}).encode()
            await js._nc.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", wish, timeout=2)

        def leads() -> bool:
            with suppress(Error, TimeoutError, OSError, StopIteration):
                if self.leader_of_stream(stream) is node:
                    return True
                self.ask(step_down)
            return False

        wait_until_sync(leads, f"{node.name} leads {stream}", 20, interval=0.3)

    def _node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def _urls(self) -> list[str]:
        return [f"nats://{self.token}@127.0.0.1:{node.port}" for node in self.nodes]


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Run one, with its stores in a folder that is removed."""
    home = Path(tempfile.mkdtemp(prefix="tf-cluster-"))
    cluster = Cluster(home)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(home, ignore_errors=True)


def _config(node: Node, token: str, routes: list[str]) -> str:
    quoted = json.dumps  # a JSON string is a string of the configuration language too
    return "\n".join([
        f"server_name: {node.name}",
        f"listen: 127.0.0.1:{node.port}",
        f"http: 127.0.0.1:{node.monitor_port}",
        f"authorization {{ token: {quoted(token)} }}",
        f"cluster {{ name: chaos, listen: 127.0.0.1:{node.route_port}, routes: [{', '.join(routes)}] }}",
        f'jetstream {{ store_dir: {quoted(str(node.home / "store"))}, sync_interval: "100ms" }}',
        "",
    ])  # fmt: skip


def _program() -> str:
    found = shutil.which(
        "nats-server", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    assert found, "there is no nats-server here"
    return found
