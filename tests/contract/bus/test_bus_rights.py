"""Least privilege on a real server: what each role may say and hear, and that all else is denied, and denied loudly."""

from __future__ import annotations

import ast
import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nats.js.api import ConsumerConfig
from tests.support import leaks
from tests.support.keyed_nats import KeyedNats, keyed_nats
from tests.support.logs import logged
from tests.support.systems import ROOT
from tests.support.waiting import wait_until

from taskflow.bus import announce, connect
from taskflow.bus.announce import publish_control, subscribe_control
from taskflow.bus.connect import Bus
from taskflow.bus.errors import BusAway
from taskflow.bus.login import Login
from taskflow.bus.nkey import BadSeed, key_pair, make_seed
from taskflow.bus.publisher import publish_notice
from taskflow.bus.rights import Role
from taskflow.bus.streams import (
    ensure_dlq_consumer,
    ensure_streams,
    ensure_task_consumer,
    parse_stamp,
    read_watermark,
)
from taskflow.bus.topology import STAMP_HEADER, Topology

A, W, S, D, N = Role.API, Role.WORKER, Role.SCHEDULER, Role.DLQ_CONSUMER, Role.NOTIFIER
NOBODY: set[Role] = set()

# Every member of the topology that names subjects: who may publish there, who may subscribe.
NAMED: dict[str, dict[str, tuple[set[Role], set[Role]]]] = {
    "task_subject": {
        "tasks.critical": ({A, W, S, D}, NOBODY),
        "tasks.low.mail": ({A, W, S, D}, NOBODY),
        "tasks.other": (NOBODY, NOBODY),
    },
    "lane_subjects": {"tasks.normal": ({A, W, S, D}, NOBODY), "tasks.high.a-b_c": ({A, W, S, D}, NOBODY)},
    "dlq_subject": {"tasks.dlq": ({W, S}, NOBODY)},
    "event_subject": {"events.7": ({A, W, S, D}, {A})},
    "shard_subject": {"events.f": ({A, W, S, D}, {A})},
    "shard_subjects": {
        "events.0": ({A, W, S, D}, {A}),
        "events.g": (NOBODY, NOBODY),
        "events.*": (NOBODY, NOBODY),
        "events.>": (NOBODY, NOBODY),
    },
    "control_subject": {
        "control.cancel": ({A, D}, {W}),
        "control.pause": ({A, D}, {W}),
        "control.drain": ({A}, {W}),
        "control.operation": ({A}, {D}),
        "control.webhook": ({A, W, S, D}, {N}),
        "control.stop": (NOBODY, NOBODY),
        "control.>": (NOBODY, NOBODY),
    },
    "next_subject": {
        "$JS.API.CONSUMER.MSG.NEXT.TASKFLOW.taskflow-worker-low-mail": ({W}, NOBODY),
        "$JS.API.CONSUMER.MSG.NEXT.TASKFLOW_DLQ.taskflow-worker-dlq": ({D}, NOBODY),
        "$JS.API.CONSUMER.MSG.NEXT.TASKFLOW_DLQ.another": (NOBODY, NOBODY),
        "$JS.API.CONSUMER.MSG.NEXT.TASKFLOW_EVENTS.feed-1": ({A}, NOBODY),
    },
    "delete_subject": {
        "$JS.API.CONSUMER.DELETE.TASKFLOW_EVENTS.feed-1": ({A}, NOBODY),
        "$JS.API.CONSUMER.DELETE.TASKFLOW.taskflow-worker-low-default": (NOBODY, NOBODY),
    },
    "ack_subjects": {
        "$JS.ACK.TASKFLOW.taskflow-worker-low-mail.1.1.1.1.0": ({W}, NOBODY),
        "$JS.ACK.hub.A1B2.TASKFLOW.taskflow-worker-low-mail.1.1.1.1.0.x": ({W}, NOBODY),
        "$JS.ACK.TASKFLOW_DLQ.taskflow-worker-dlq.1.1.1.1.0": ({D}, NOBODY),
        "$JS.ACK.hub.A1B2.TASKFLOW_DLQ.taskflow-worker-dlq.1.1.1.1.0.x": ({D}, NOBODY),
    },
}
# Every method of nats-py's JetStream that the bus calls: the subjects it speaks on.
CALLED: dict[str, dict[str, set[Role]]] = {
    "publish": {},  # on the subjects above
    "stream_info": {"$JS.API.STREAM.INFO.TASKFLOW": {A, S}, "$JS.API.STREAM.INFO.TASKFLOW_EVENTS": {A, S}},
    "add_stream": {"$JS.API.STREAM.CREATE.TASKFLOW_DLQ": {S}, "$JS.API.STREAM.CREATE.OTHER": NOBODY},
    "update_stream": {"$JS.API.STREAM.UPDATE.TASKFLOW": {S}, "$JS.API.STREAM.UPDATE.TASKFLOW_EVENTS": {S}},
    "add_consumer": {
        "$JS.API.CONSUMER.CREATE.TASKFLOW.taskflow-worker-low-mail.tasks.low.mail": {W},
        "$JS.API.CONSUMER.CREATE.TASKFLOW.taskflow-worker-low-default.tasks.low": {W},
        "$JS.API.CONSUMER.CREATE.TASKFLOW.spy": NOBODY,
        "$JS.API.CONSUMER.DURABLE.CREATE.TASKFLOW.spy": NOBODY,
        "$JS.API.CONSUMER.CREATE.TASKFLOW_EVENTS.feed-1": {A},
        "$JS.API.CONSUMER.CREATE.TASKFLOW_EVENTS.spy.events.>": NOBODY,
        "$JS.API.CONSUMER.CREATE.TASKFLOW_DLQ.taskflow-worker-dlq.tasks.dlq": {D},
    },
    "consumer_info": {
        "$JS.API.CONSUMER.INFO.TASKFLOW.taskflow-worker-low-mail": {A, S},
        "$JS.API.CONSUMER.INFO.TASKFLOW_DLQ.taskflow-worker-dlq": NOBODY,
    },
    "get_msg": {
        "$JS.API.STREAM.MSG.GET.TASKFLOW": {A, S},
        "$JS.API.STREAM.MSG.GET.TASKFLOW_EVENTS": NOBODY,
    },
}
# What nobody calls, and nobody may.
NEVER = [
    "$JS.API.STREAM.DELETE.TASKFLOW", "$JS.API.STREAM.PURGE.TASKFLOW", "$JS.API.STREAM.MSG.DELETE.TASKFLOW",
    "$JS.API.STREAM.LIST", "$JS.API.CONSUMER.DELETE.TASKFLOW.taskflow-worker-low-mail",
    "$JS.API.CONSUMER.LIST.TASKFLOW", "$JS.API.SERVER.REMOVE", "$JS.API.ACCOUNT.PURGE.TASKFLOW",
    "$SYS.REQ.SERVER.PING", "anything",
]  # fmt: skip
HEARD_BY_NOBODY = ["_INBOX.>", ">", "tasks.>", "$JS.API.>", "$SYS.>"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedNats]:
    with keyed_nats(tmp_path_factory.mktemp("keyed")) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left_running(server: KeyedNats) -> Iterator[None]:
    """The server of this module may stay, and nothing else."""
    before = leaks.running()
    yield
    leaks.check_none_left(before)


def table() -> list[tuple[str, str, set[Role]]]:
    """(publish or subscribe, subject, who may)."""
    said = [row for rows in NAMED.values() for row in rows.items()]
    rows = [
        ("publish", subject, may) for subject, (may, _) in said if "*" not in subject and ">" not in subject
    ]
    rows += [("subscribe", subject, may) for subject, (_, may) in said]
    rows += [("publish", subject, may) for rows_ in CALLED.values() for subject, may in rows_.items()]
    rows += [("publish", subject, NOBODY) for subject in NEVER]
    rows += [("subscribe", subject, NOBODY) for subject in HEARD_BY_NOBODY]
    rows += [("subscribe", f"{owner.inbox}.>", {owner}) for owner in Role]
    return rows


@pytest.mark.parametrize("role", Role)
async def test_a_role_may_do_its_work_and_nothing_else(server: KeyedNats, role: Role) -> None:
    async def unheard(_: object) -> None: ...

    async with server.bus(role) as bus:
        assert bus.connected
        for deed, subject, may in table():
            bus.denied = []
            if deed == "publish":
                await bus.publish(subject, b"")
            else:
                await bus.client.subscribe(subject, cb=unheard)
            for _ in range(2):  # the first PING may overtake what was to be sent
                await bus.client.flush()
            granted = not bus.denied
            assert granted == (role in may), f"{role} {deed} {subject}: {bus.denied or 'granted'}"


def test_every_subject_of_the_topology_stands_in_the_table() -> None:
    members = {name for name, _ in inspect.getmembers(Topology) if name.endswith(("_subject", "_subjects"))}
    assert members == set(NAMED)


def test_every_call_of_jetstream_stands_in_the_table() -> None:
    called = set()
    for path in sorted((ROOT / "libs/taskflow").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and _is_jetstream(node.value):
                called.add(node.attr)
    assert called == set(CALLED)


def _is_jetstream(node: ast.expr) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "jetstream") or (
        isinstance(node, ast.Name) and node.id == "js"
    )


async def test_a_denied_action_is_loud_and_stays_until_the_next_connection(server: KeyedNats) -> None:
    with logged(connect) as logs:
        async with server.bus(Role.DLQ_CONSUMER) as bus:
            assert bus.trouble is None
            with pytest.raises(BusAway):
                await publish_notice(bus, b"{}", "a:1")
            await wait_until(lambda: bus.denied, "it is denied")
            assert bus.trouble == 'NATS denies: publish to "tasks.dlq"'
            for _ in range(3):
                await bus.publish("tasks.dlq", b"")
                await bus.client.flush()
            assert bus.denied == ['publish to "tasks.dlq"']
            await bus.client.force_reconnect()
            await wait_until(lambda: bus.connections == 2, "it is connected again")
            assert bus.trouble is None
    loud = [line for line in logs if line["log_level"] == "error"]
    assert [(line["event"], line["action"], line["role"]) for line in loud] == [
        ("nats.action_denied", 'publish to "tasks.dlq"', "dlq-consumer")
    ]


async def test_a_denied_subscription_is_told_after_a_reconnect_too(tmp_path: Path) -> None:
    """Nobody subscribes again by himself: a worker that said nothing of it would be deaf and well."""

    async def unheard(_: object) -> None: ...

    with keyed_nats(tmp_path) as server:
        async with server.bus(Role.WORKER) as bus:
            for command in ("cancel", "pause"):
                await bus.subscribe(f"control.{command}", unheard)
            await bus.client.flush()
            assert bus.trouble is None
            config = server.home / "nats" / "nats.conf"
            narrowed = config.read_text().replace('"control.pause"', '"control.nothing"')
            assert narrowed != config.read_text()
            config.write_text(narrowed)
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
            await wait_until(lambda: bus.connections == 2, "it is connected again", 20)
            await wait_until(lambda: bus.denied, "it is denied")
            await bus.client.flush()
            assert bus.trouble == 'NATS denies: subscription to "control.pause"'


async def test_a_worker_cannot_pass_a_message_off_as_a_command(server: KeyedNats) -> None:
    """JetStream delivers to any subject that a consumer names, past the rights of who asked for it."""
    obeyed: list[dict[str, Any]] = []

    async def obey(body: dict[str, Any]) -> None:
        obeyed.append(body)

    async with (
        server.bus(Role.SCHEDULER) as scheduler, server.bus(Role.API) as api,
        server.bus(Role.WORKER) as evil, server.bus(Role.WORKER) as victim,
    ):  # fmt: skip
        await ensure_streams(scheduler)
        await subscribe_control(victim, "drain", obey)
        await victim.client.flush()
        topology = evil.topology
        with logged(announce) as logs:
            for name, more in (("pull", {}), ("push", {"deliver_subject": "control.drain"})):
                subject = f"tasks.low.{name}"
                await evil.jetstream.publish(subject, b'{"worker_id": "forged"}')
                await evil.jetstream.add_consumer(
                    topology.stream,
                    ConsumerConfig(name=name, durable_name=name, filter_subject=subject, **more),
                )
            await evil.publish(
                topology.next_subject(topology.stream, "pull"), b'{"batch": 1}', "control.drain"
            )
            await wait_until(
                lambda: (
                    {line["subject"] for line in logs if line["event"] == "command.refused"}
                    == {"tasks.low.pull", "tasks.low.push"}
                ),
                "both are refused",
            )
        await publish_control(api, "drain", {"worker_id": "true"})
        await wait_until(lambda: obeyed, "the true command is heard")
        assert obeyed == [{"worker_id": "true"}]
        assert evil.denied == []  # which is why it must be refused here


async def test_a_role_is_not_let_in_with_the_key_of_nobody(server: KeyedNats) -> None:
    login = Login(Role.WORKER, make_seed())
    async with Bus(server.url, Topology(), name="stranger", login=login) as bus:
        await wait_until(lambda: "Authorization" in str(bus.trouble), "it says why")
        assert bus.trouble == "NATS is not connected: Authorization Violation"


async def test_nobody_is_let_in_without_a_key(server: KeyedNats) -> None:
    async with Bus(server.url, Topology(), name="stranger") as bus:
        assert not bus.connected


async def test_limits_bear_what_the_topology_asks_for_twice(server: KeyedNats) -> None:
    async with server.bus(Role.SCHEDULER) as first, server.bus(Role.SCHEDULER) as second:
        await ensure_streams(first)
        for config in second.topology.streams():
            await second.jetstream.add_stream(config)
        assert await ensure_streams(second) == []
    async with server.bus(Role.WORKER) as worker, server.bus(Role.DLQ_CONSUMER) as undertaker:
        for lane in range(4):
            await ensure_task_consumer(worker, lane, "default")
            await ensure_task_consumer(worker, lane, "mail")
        await ensure_dlq_consumer(undertaker)


async def test_an_api_may_see_how_old_the_oldest_doorbell_is(server: KeyedNats) -> None:
    async with server.bus(Role.SCHEDULER) as scheduler, server.bus(Role.WORKER) as worker:
        await ensure_streams(scheduler)
        await ensure_task_consumer(worker, 2, "seen")
    async with server.bus(Role.API) as bus:
        assert (await read_watermark(bus, 2, "seen")).stamp is None
        for stamp in ("1000000", "2000000"):
            await bus.jetstream.publish("tasks.normal.seen", b"", headers={STAMP_HEADER: stamp})
        for queue, found in (("seen", parse_stamp("1000000")), ("unseen", None)):
            assert (await read_watermark(bus, 2, queue)).stamp == found
        assert bus.trouble is None


async def test_tls_is_demanded_of_the_server_and_its_authority_is_checked(tmp_path: Path) -> None:
    with keyed_nats(tmp_path, tls=True) as server:
        async with server.bus(Role.API) as bus:
            assert bus.connected
            # The server demands it, so that a client in the clear is not let in.
            assert bus.client._server_info["tls_required"] is True
        key = server.login(Role.API)
        async with Bus(server.url, Topology(), name="api", login=Login(Role.API, key.seed)) as bus:
            await wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in str(bus.trouble), "it says why")


async def test_a_server_by_another_name_than_its_certificate_is_refused(tmp_path: Path) -> None:
    with keyed_nats(tmp_path, tls=True, host="127.0.0.2") as server:
        async with server.bus(Role.API) as bus:
            await wait_until(lambda: "mismatch" in str(bus.trouble), "it says why")
            assert not bus.connected


async def test_a_server_in_the_clear_is_refused_where_tls_is_asked_for(
    server: KeyedNats, tmp_path: Path
) -> None:
    with keyed_nats(tmp_path, tls=True) as other:
        authorities = other.login(Role.API).ca_file
    login = Login(Role.API, server.login(Role.API).seed, authorities)
    async with Bus(server.url, Topology(), name="api", login=login) as bus:
        await wait_until(lambda: "does not speak TLS" in str(bus.trouble), "it says why")
        assert not bus.connected


def test_a_seed_makes_the_pair_that_nats_documents() -> None:
    # The pair shown in NATS' documentation of nkeys.
    pair = key_pair("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n")
    assert pair.public == "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
    made = make_seed()
    assert made != make_seed()
    assert key_pair(made).public == key_pair(made).public
    assert made.startswith("SU")
    assert key_pair(made).public.startswith("U")


@pytest.mark.parametrize(
    "text",
    ["", "SU", "x" * 58, "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VA",
     "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"],
)  # fmt: skip
def test_what_is_no_seed_of_a_user_is_refused(text: str) -> None:
    with pytest.raises(BadSeed):
        key_pair(text)
