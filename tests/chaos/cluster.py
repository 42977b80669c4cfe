"""A NATS cluster of three nodes with streams of three replicas, whose leaders are killed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from nats.errors import Error
from tests.chaos.cell import Scale, cell
from tests.chaos.stage import Stage
from tests.support.cluster import NODES, Cluster, Node, running_cluster
from tests.support.waiting import wait_until_sync

from taskflow.bus.topology import Topology

NAP = {"type": "nap", "payload": {"seconds": 0.05}}
NAMES = Topology()
CONSUMER = NAMES.task_consumer(2, "default")


@contextmanager
def cluster_of_three(_scale: Scale) -> Iterator[Cluster]:
    """Three nodes, and a system with `NATS_REPLICAS=3`."""
    with running_cluster() as cluster:
        yield cluster


@cell(
    "leaders killed in a NATS cluster",
    expects="submits are accepted all the while; every task runs once",
    full_only=True,
    ground=cluster_of_three,
)
def leaders_killed(stage: Stage) -> None:
    """The node that leads the stream, then the one that leads the consumer, is killed under load and started again."""
    cluster: Cluster = stage.ground
    _check_replicas(cluster)
    pids = stage.kept_pids()
    ids = stage.naps(stage.tasks(6_000), 0.05)
    gaps: list[float] = []
    with stage.load(NAP, pause=0.05) as load:
        load.until_accepted(20)
        stage.lasting(1, "what was accepted is announced")
        cluster.let_lead(NAMES.stream, cluster.nodes[0])  # which all clients are connected to
        leads_stream = partial(cluster.leader_of_stream, NAMES.stream)
        leads_consumer = partial(cluster.leader_of_consumer, NAMES.stream, CONSUMER)
        for leader in (leads_stream,) if stage.short else (leads_stream, leads_consumer) * 2:
            gaps.append(_kill(stage, cluster, leader))
        load.until_accepted(20)
    stage.note("leaderless for s", f"{min(gaps):.1f} to {max(gaps):.1f}")
    assert {answer.status for answer in load.answers} == {202}
    stage.until_done()
    stage.note("rung again", sum(stage.rung_again()))
    tries = stage.books.tries([*ids, *load.ids.values()]).values()
    stage.note("tries", dict(Counter(status for each in tries for status in each)))
    assert set(map(tuple, tries)) == {("succeeded",)}
    assert stage.kept_pids() == pids


@cell(
    "a NATS cluster without its majority",
    expects="submits are accepted; all runs once it is back",
    full_only=True,
    ground=cluster_of_three,
)
def majority_lost(stage: Stage) -> None:
    """Two of three nodes are killed under load and started again ten seconds later."""
    cluster: Cluster = stage.ground
    pids = stage.kept_pids()
    ids = stage.naps(stage.tasks(2_000), 0.05)
    with stage.load(NAP, pause=0.05) as load:
        load.until_accepted(20)
        dead = cluster.nodes[:2]
        for node in dead:
            node.kill()
        stage.lasting(5 if stage.short else 10, "the cluster has no leader")
        stage.damage()
        for node in dead:
            node.start()
        cluster.until_healthy()
        load.until_accepted(20)
    assert {answer.status for answer in load.answers} == {202}
    stage.until_done()
    stage.note("rung again", sum(stage.rung_again()))
    assert set(map(tuple, stage.books.tries([*ids, *load.ids.values()]).values())) == {("succeeded",)}
    assert stage.kept_pids() == pids


def _check_replicas(cluster: Cluster) -> None:
    for name in (NAMES.stream, NAMES.dlq_stream):
        info = cluster.ask(lambda js, name=name: js.stream_info(name))
        assert info.config.num_replicas == NODES, info
        assert len(info.cluster.replicas) == NODES - 1, info
        for consumer in cluster.ask(lambda js, name=name: js.consumers_info(name)):
            assert len(consumer.cluster.replicas) == NODES - 1, consumer


def _kill(stage: Stage, cluster: Cluster, leader: Callable[[], Node]) -> float:
    """Kill the leader; without it a task must run; start it again. The seconds until there was another leader."""
    first = leader()
    first.kill()
    stage.damage()
    began = time.monotonic()

    def other() -> bool:
        with suppress(Error, TimeoutError, OSError, StopIteration):
            return leader() is not first
        return False

    wait_until_sync(other, "there is another leader", 30)
    gap = time.monotonic() - began
    task = stage.system.submit("echo")["id"]
    stage.books.until_all("completed", [task], 30)
    stage.note("ran without the node after s", round(time.monotonic() - began, 1))
    first.start()
    cluster.until_healthy()
    return gap
