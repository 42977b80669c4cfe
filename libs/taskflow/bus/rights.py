"""Who may say and hear what on the bus: least privilege for each service, made from the topology.

A worker runs code that users bring: it may ask for work, answer it and announce what came of it, but neither change
streams nor read what other roles are answered: replies go to an inbox of the role's own. What NATS cannot deny it is told
in docs/decisions/0024.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from taskflow.bus.topology import OPERATOR_COMMANDS, WORKER_COMMANDS, Topology


class Role(StrEnum):
    """A service as NATS knows it. The doctor, which does what a scheduler does, comes with the scheduler's key."""

    API = "api"
    WORKER = "worker"
    SCHEDULER = "scheduler"
    DLQ_CONSUMER = "dlq-consumer"
    NOTIFIER = "notifier"

    @property
    def inbox(self) -> str:
        """The prefix of the subjects on which it is answered."""
        return f"_INBOX_{self.value}"


class Rights(Struct, frozen=True):
    """Subjects, with NATS' wildcards. What is not named is denied."""

    publish: list[str]
    subscribe: list[str]


def rights(topology: Topology, role: Role) -> Rights:
    """What a service needs."""
    match role:
        case Role.API:
            publish, subscribe = _api(topology)
        case Role.WORKER:
            publish, subscribe = _worker(topology)
        case Role.SCHEDULER:
            publish, subscribe = _scheduler(topology)
        case Role.DLQ_CONSUMER:
            publish, subscribe = _dlq_consumer(topology)
        case Role.NOTIFIER:
            publish, subscribe = _notifier(topology)
    return Rights(publish, [f"{role.inbox}.>", *subscribe])


def _api(topology: Topology) -> tuple[list[str], list[str]]:
    """Announces what was submitted, tells commands, hears what moves, and reads it again from the stream of events; looks
    whether a task has a doorbell, and how the streams stand.
    """
    streams = [topology.stream, topology.dlq_stream, topology.events_stream]
    return [
        *(f"$JS.API.STREAM.INFO.{stream}" for stream in streams),
        *_announcing(topology),
        *_commands(topology, OPERATOR_COMMANDS),
        *_watermarks(topology),
        f"$JS.API.CONSUMER.CREATE.{topology.events_stream}.*",
        topology.next_subject(topology.events_stream, "*"),
        topology.delete_subject(topology.events_stream, "*"),
    ], topology.shard_subjects()


def _worker(topology: Topology) -> tuple[list[str], list[str]]:
    """Makes the consumers of the queues it serves, takes tasks, announces what they left; hears commands."""
    stream = topology.stream
    return [
        *_announcing(topology),
        topology.dlq_subject,
        *(f"$JS.API.CONSUMER.CREATE.{stream}.*.{subject}" for subject in topology.lane_subjects()),
        topology.next_subject(stream, "*"),
        *topology.ack_subjects(stream, "*"),
    ], _commands(topology, WORKER_COMMANDS)


def _scheduler(topology: Topology) -> tuple[list[str], list[str]]:
    """Makes and mends streams, reads watermarks, rings again what was lost."""
    streams = [topology.stream, topology.dlq_stream, topology.events_stream]
    return [
        *_announcing(topology),
        topology.dlq_subject,
        *(f"$JS.API.STREAM.{verb}.{stream}" for verb in ("INFO", "CREATE", "UPDATE") for stream in streams),
        *_watermarks(topology),
    ], []


def _dlq_consumer(topology: Topology) -> tuple[list[str], list[str]]:
    """Makes the consumer of notices, takes them; hears of operations, announces what they replay; cancels, pauses types."""
    stream, consumer = topology.dlq_stream, topology.dlq_consumer
    return [
        *_announcing(topology),
        *_commands(topology, ("cancel", "pause")),
        f"$JS.API.CONSUMER.CREATE.{stream}.{consumer}.{topology.dlq_subject}",
        topology.next_subject(stream, consumer),
        *topology.ack_subjects(stream, consumer),
    ], _commands(topology, ("operation",))


def _notifier(topology: Topology) -> tuple[list[str], list[str]]:
    """Hears that a delivery is due; says nothing."""
    return [], _commands(topology, ("webhook",))


def _announcing(topology: Topology) -> list[str]:
    """Doorbells, news of what moved, and that there are webhooks to deliver."""
    return [*topology.lane_subjects(), *topology.shard_subjects(), topology.control_subject("webhook")]


def _watermarks(topology: Topology) -> list[str]:
    """The oldest doorbell of each lane."""
    return [f"$JS.API.CONSUMER.INFO.{topology.stream}.*", f"$JS.API.STREAM.MSG.GET.{topology.stream}"]


def _commands(topology: Topology, names: Sequence[str]) -> list[str]:
    return [topology.control_subject(command) for command in names]
