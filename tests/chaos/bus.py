"""A bus that forgets, repeats itself, keeps things back and refuses: the rows know better."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from tests.chaos.cell import HOUSE, cell
from tests.chaos.stage import Stage
from tests.support.chaos import kill
from tests.support.jetstream import ask_jetstream, change_consumer
from tests.support.waiting import wait_until_sync

from taskflow.bus.topology import STAMP_HEADER, Topology, ids_per_message
from taskflow.domain.task import Lane

NAP = {"type": "nap", "payload": {"seconds": 0.05}}
NAMES = Topology()
NORMAL = NAMES.task_subject(Lane.NORMAL, "default")
CONSUMER = NAMES.task_consumer(Lane.NORMAL, "default")


def _url(stage: Stage) -> str:
    return str(stage.system.facts()["nats_url"])


@contextmanager
def _paused(stage: Stage) -> Iterator[None]:
    """Nobody pulls queue `default`: what is announced stays in the stream, and nothing of an earlier cell is there."""
    wait_until_sync(lambda: _left(stage) == 0, "messages of earlier cells are done with", 20)
    stage.system.post("/queues/default/pause")
    try:
        waiting = "SELECT count(*) FROM tasks WHERE status = 'running'"
        wait_until_sync(lambda: not stage.books.value(waiting), "what was claimed is done", 20)
        stage.lasting(2.2, "pulls that were parked end")
        yield
    finally:
        stage.system.post("/queues/default/resume")


@cell(
    "a type nobody declares at the head of a lane",
    expects="others pass; lost doorbells behind it are rung again; it runs once a worker declares it",
)
def foreign_type(stage: Stage) -> None:
    """Tasks of an unknown type lie before others, doorbells are deleted behind them, at last a worker declares the type."""
    foreign = stage.submit([{"type": "comes_late", "priority": "critical"}] * stage.tasks(400))
    naps = stage.naps(stage.tasks(2_000), 0.01, priority="critical")
    stage.books.until_all("completed", naps, 30)
    with _paused(stage):
        foreign += stage.submit([{"type": "comes_late"}] * stage.tasks(400))
        behind = stage.naps(stage.tasks(2_000), 0.01)
        _until_announced(stage, _bells(len(foreign) // 2) + _bells(len(behind)))
        ask_jetstream(_url(stage), lambda js: js.purge_stream(NAMES.stream))
    stage.damage()
    stage.books.until_all("completed", behind, 30)
    stage.note("rung again", sum(stage.rung_again()))
    assert stage.books.statuses(foreign) == {"queued": len(foreign)}
    (task,) = stage.system.get("/tasks", type="comes_late", limit=1)["items"]
    assert task["waiting_for"] == "worker_for_type"
    with stage.extra("taskflow_worker", WORKER_IMPORTS="tests.support.late_handlers"):
        stage.until_done()
    tries = stage.books.tries([*foreign, *naps, *behind]).values()
    assert set(map(tuple, tries)) == {("succeeded",)}


@cell(
    "messages stranded in the stream",
    expects="they are seen past, and their tasks rung again; the healthy ones behind them are not",
)
def stranded(stage: Stage) -> None:
    """Messages are delivered once, never acked, and never delivered again (`max_deliver` 1 for a moment)."""
    url = _url(stage)
    with _paused(stage):
        ask_jetstream(url, lambda js: js.purge_stream(NAMES.stream))
        change_consumer(url, NAMES.stream, CONSUMER, max_deliver=1, ack_wait=1)
        ids = stage.naps(stage.tasks(2_000), 0.01)
        _until_announced(stage, _bells(len(ids)))
        taken = ask_jetstream(url, lambda js: _take(js, _bells(len(ids))))
        wait_until_sync(lambda: _left(stage) == 0, "none will be delivered again", 10)
        change_consumer(url, NAMES.stream, CONSUMER, max_deliver=-1, ack_wait=5)
        stage.note("messages stranded", len(taken))
        assert _messages(stage) == len(taken)
        healthy = stage.naps(stage.tasks(2_000), 0.01)
    stage.damage()
    stage.until_done()
    stage.note("rung again", sum(stage.rung_again()))
    assert sum(stage.rung_again()) == len(ids)
    assert set(map(tuple, stage.books.tries([*ids, *healthy]).values())) == {("succeeded",)}


@cell(
    "half-deleted topology",
    expects="it is made anew with no one's help; nothing is lost, every letter is handled",
)
def half_deleted(stage: Stage) -> None:
    """The stream is purged, its consumer deleted, then the other streams and the consumer of dead letters, under load."""
    url = _url(stage)
    pids = stage.kept_pids()
    ids = stage.naps(stage.tasks(4_000), 0.5 if stage.short else 0.1)
    dead: list[str] = []
    blows = (
        lambda js: js.purge_stream(NAMES.stream),
        lambda js: js.delete_consumer(NAMES.stream, CONSUMER),
        lambda js: js.delete_stream(NAMES.dlq_stream),
        lambda js: js.delete_stream(NAMES.events_stream),
        lambda js: js.delete_consumer(NAMES.dlq_stream, NAMES.dlq_consumer),
    )
    with stage.load(NAP) as load:
        for blow in blows * (1 if stage.short else 2):
            load.until_accepted(15)
            dead += stage.submit([{"type": "gives_up"}] * 20)
            wait_until_sync(lambda blow=blow: _struck(url, blow), "there is something to delete", 15)
            stage.damage()
        load.until_accepted(15)
    assert {answer.status for answer in load.answers} == {202}
    stage.until_done()
    stage.note("rung again", sum(stage.rung_again()))
    assert stage.rung_again()
    for name in (NAMES.stream, NAMES.dlq_stream, NAMES.events_stream):
        wait_until_sync(lambda name=name: _exists(url, name), f"{name} is there", 15)
    handled = "SELECT count(*) FROM dead_letters WHERE task_id = ANY($1::uuid[]) AND handled_at IS NOT NULL"
    # A notice that was lost is sent again after half a minute: too long for the short form.
    waited = stage.submit([{"type": "gives_up"}] * 20) + ([] if stage.short else dead)
    wait_until_sync(
        lambda: stage.books.value(handled, waited) == len(waited), "letters are handled", 75, interval=0.3
    )
    assert set(map(tuple, stage.books.tries([*ids, *load.ids.values()]).values())) == {("succeeded",)}
    assert stage.kept_pids() == pids


@cell("doorbells doubled, late and meaningless", expects="each task runs once; rubbish goes")
def doubled(stage: Stage) -> None:
    """Every doorbell is rung five times more, in all lanes, before and after its task ran, among messages of no meaning."""
    ids = stage.naps(stage.tasks(2_000), 0.03)
    stamp = stage.books.value(
        "SELECT (extract(epoch FROM min(rung_at)) * 1e6)::bigint FROM tasks WHERE id = ANY($1::uuid[])", ids
    )

    async def repeat(js: JetStreamContext) -> None:
        for lane in Lane:
            subject = NAMES.task_subject(lane, "default")
            for start in range(0, len(ids), 20):
                bells = "\n".join(ids[start : start + 20])
                await js.publish(subject, bells.encode(), headers={STAMP_HEADER: str(stamp)})
            for rubbish in (b"", b"\xff\xfe", b"{}", b"not-an-id", bytes(4_000)):
                await js.publish(subject, rubbish)

    with stage.load(NAP) as load:
        ask_jetstream(_url(stage), repeat)
        stage.damage()
        load.until_accepted(20)
        stage.books.until_all("completed", ids, 60)
        ask_jetstream(_url(stage), repeat)
        stage.damage()
        load.until_accepted(20)
    stage.until_done()
    for lane in Lane:
        wait_until_sync(lambda lane=lane: _left(stage, lane) == 0, "all messages are done with", 20)
    assert set(map(tuple, stage.books.tries([*ids, *load.ids.values()]).values())) == {("succeeded",)}


@cell("stale acks", expects="what an old ack took away is rung again")
def stale_acks(stage: Stage) -> None:
    """Acks of deliveries of the old stream are sent again and again while the same places of a new stream are delivered."""
    url = _url(stage)
    with _paused(stage):
        ids = stage.submit([{**NAP}] * 40)
        _until_announced(stage, _bells(len(ids)))
        old = ask_jetstream(url, lambda js: _take(js, _bells(len(ids))))
        ask_jetstream(url, lambda js: js.delete_stream(NAMES.stream))
        wait_until_sync(lambda: _exists(url, NAMES.stream), "the stream is made anew", 15)
    stage.damage()
    ids += stage.naps(stage.tasks(2_000), 0.05)

    async def ack_all(js: JetStreamContext) -> None:
        for reply in old:
            await js._nc.publish(reply, b"+ACK")
        await js._nc.flush()

    for _ in range(20):
        ask_jetstream(url, ack_all)
    stage.until_done()
    stage.note("old acks", 20 * len(old))
    stage.note("rung again", sum(stage.rung_again()))
    assert set(map(tuple, stage.books.tries(ids).values())) == {("succeeded",)}


@cell(
    "NATS refuses everybody",
    expects="submits are accepted; once it takes them again all goes on, and no process exits",
)
def refused(stage: Stage) -> None:
    """NATS is given another token under load, drops everybody, and is given the old one back."""
    pids = stage.kept_pids()
    config = stage.system.folder / "nats" / "nats.conf"
    right = config.read_text()
    ids = stage.naps(stage.tasks(2_000), 0.05)
    with stage.load(NAP) as load:
        load.until_accepted(20)
        try:
            config.write_text(right.replace(str(urlsplit(_url(stage)).username), "another"))
            kill(stage.system.facts()["pids"]["nats"], signal.SIGHUP)
            wait_until_sync(lambda: "dispatch.failed" in stage.log(), "the api cannot announce", 15)
            stage.lasting(1 if stage.short else 10, "nobody is let in")
        finally:
            config.write_text(right)
            kill(stage.system.facts()["pids"]["nats"], signal.SIGHUP)
        stage.damage()
        load.until_accepted(20)
    assert {answer.status for answer in load.answers} == {202}
    stage.until_done()
    assert set(map(tuple, stage.books.tries([*ids, *load.ids.values()]).values())) == {("succeeded",)}
    assert stage.kept_pids() == pids


def _messages(stage: Stage) -> int:
    """How many messages the stream of tasks holds."""
    return ask_jetstream(_url(stage), lambda js: js.stream_info(NAMES.stream)).state.messages


def _bells(count: int) -> int:
    """How many messages announce so many tasks that were submitted together."""
    return -(-count // ids_per_message(count, count, int(HOUSE["WORKER_CONCURRENCY"])))


def _until_announced(stage: Stage, messages: int) -> None:
    wait_until_sync(lambda: _left(stage) == messages, f"{messages} messages wait", 10)


def _left(stage: Stage, lane: Lane = Lane.NORMAL) -> int:
    """How many messages of a lane will still be delivered."""
    consumer = NAMES.task_consumer(lane, "default")
    info = ask_jetstream(_url(stage), lambda js: js.consumer_info(NAMES.stream, consumer))
    return (info.num_pending or 0) + (info.num_ack_pending or 0)


async def _take(js: JetStreamContext, count: int) -> list[str]:
    """Have so many messages of lane `normal` delivered, and never ack them; where their acks would go."""
    pull = await js.pull_subscribe_bind(CONSUMER, NAMES.stream)
    replies: list[str] = []
    while len(replies) < count:
        replies += [message.reply for message in await pull.fetch(min(200, count - len(replies)), timeout=5)]
    return replies


def _struck(url: str, blow: Callable[[JetStreamContext], Awaitable[object]]) -> bool:
    try:
        ask_jetstream(url, blow)
    except NotFoundError:  # it is not made anew yet
        return False
    return True


def _exists(url: str, stream: str) -> bool:
    try:
        ask_jetstream(url, lambda js: js.stream_info(stream))
    except NotFoundError:
        return False
    return True
