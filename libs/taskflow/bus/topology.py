"""Every stream, consumer and subject, with its limits: named here and nowhere else.

Facts behind the settings (probed on nats-server 2.15): a work queue deletes on ack; `discard: new` refuses instead of
dropping the oldest; `max_deliver=-1`, because attempts are counted in PostgreSQL; `ack_wait` covers a claim only.
"""

from __future__ import annotations

from msgspec import Struct
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from taskflow.domain.task import DEFAULT_QUEUE, LANE_NAMES, Lane

DLQ_SUBJECT = "tasks.dlq"
EVENT_SHARDS = 16
STAMP_HEADER = "Taskflow-Rung"
IDS_PER_MESSAGE_MAX = 20
ACK_WAIT_SECONDS = 5.0
CONSUMERS_MAX = 4_096
WORKER_COMMANDS = ("cancel", "pause", "drain")
OPERATOR_COMMANDS = (*WORKER_COMMANDS, "operation")
COMMANDS = (*OPERATOR_COMMANDS, "webhook")
"""What is told on `control.>`; `operation` is for dlq-consumers."""

TASKS_BYTES_MAX = 2 * 1024**3
_DAY = 86_400


class Topology(Struct, frozen=True):
    """Names under a prefix: `stream` is NATS_STREAM_NAME, `consumer` NATS_CONSUMER_NAME."""

    stream: str = "TASKFLOW"
    consumer: str = "taskflow-worker"
    replicas: int = 1
    bytes_max: int = TASKS_BYTES_MAX
    """What the stream of tasks may hold."""

    @property
    def dlq_stream(self) -> str:
        """The stream of dead letter notices."""
        return f"{self.stream}_DLQ"

    @property
    def events_stream(self) -> str:
        """The stream of state changes, for live views."""
        return f"{self.stream}_EVENTS"

    @property
    def dlq_consumer(self) -> str:
        """The durable consumer of the dlq-consumer service."""
        return f"{self.consumer}-dlq"

    @property
    def dlq_subject(self) -> str:
        """Where dead letters are announced."""
        return DLQ_SUBJECT

    def task_subject(self, lane: int, queue: str) -> str:
        """Where tasks of this lane and queue are announced."""
        name = f"tasks.{LANE_NAMES[lane]}"
        return name if queue == DEFAULT_QUEUE else f"{name}.{queue}"

    def task_consumer(self, lane: int, queue: str) -> str:
        """The durable consumer of one lane of one queue, shared by all workers."""
        return f"{self.consumer}-{LANE_NAMES[lane]}-{queue}"

    def event_subject(self, task_id: str) -> str:
        """Where changes of this task are told; ids are spread over shards."""
        return self.shard_subject(event_shard(task_id))

    def shard_subject(self, shard: int) -> str:
        """The subject of one shard of events."""
        return f"events.{shard:x}"

    def shard_subjects(self) -> list[str]:
        """All shards of events. One by one: a right to `events.*` would let a subscription to `events.>` pass."""
        return [self.shard_subject(shard) for shard in range(EVENT_SHARDS)]

    def control_subject(self, command: str) -> str:
        """Where commands to processes go: one of `COMMANDS`."""
        return f"control.{command}"

    def lane_subjects(self) -> list[str]:
        """Every subject on which tasks are announced: each lane's own, and those of its named queues."""
        lanes = [f"tasks.{lane.label}" for lane in Lane]
        return [subject for lane in lanes for subject in (lane, f"{lane}.*")]

    def next_subject(self, stream: str, consumer: str) -> str:
        """Where the next messages of a consumer are asked for (ADR-13)."""
        return f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"

    def delete_subject(self, stream: str, consumer: str) -> str:
        """Where a consumer is done away with."""
        return f"$JS.API.CONSUMER.DELETE.{stream}.{consumer}"

    def ack_subjects(self, stream: str, consumer: str) -> list[str]:
        """Where deliveries of a consumer are answered, in both forms a server may ask for (ADR-15)."""
        return [f"$JS.ACK.{stream}.{consumer}.>", f"$JS.ACK.*.*.{stream}.{consumer}.>"]

    def streams(self) -> list[StreamConfig]:
        """The streams as they should be."""
        return [
            StreamConfig(
                name=self.stream,
                subjects=self.lane_subjects(),
                retention=RetentionPolicy.WORK_QUEUE,
                storage=StorageType.FILE,
                discard=DiscardPolicy.NEW,
                num_replicas=self.replicas,
                max_msg_size=4_096,
                max_bytes=self.bytes_max,
                max_consumers=CONSUMERS_MAX,
                duplicate_window=120,
            ),
            StreamConfig(
                name=self.dlq_stream,
                subjects=[self.dlq_subject],
                retention=RetentionPolicy.LIMITS,
                storage=StorageType.FILE,
                discard=DiscardPolicy.OLD,
                num_replicas=self.replicas,
                max_msg_size=4_096,
                max_bytes=256 * 1024**2,
                max_age=3 * _DAY,
                duplicate_window=120,
            ),
            StreamConfig(
                name=self.events_stream,
                subjects=["events.>"],
                retention=RetentionPolicy.LIMITS,
                storage=StorageType.MEMORY,
                discard=DiscardPolicy.OLD,
                num_replicas=1,
                max_bytes=64 * 1024**2,
                max_age=600,
                duplicate_window=120,
            ),
        ]

    def task_consumer_config(self, lane: int, queue: str) -> ConsumerConfig:
        """The consumer of one lane of one queue, as it should be."""
        name = self.task_consumer(lane, queue)
        return ConsumerConfig(
            name=name,
            durable_name=name,
            filter_subject=self.task_subject(lane, queue),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_SECONDS,
            max_deliver=-1,
            max_ack_pending=-1,
            max_waiting=4_096,
        )

    def dlq_consumer_config(self) -> ConsumerConfig:
        """The consumer of notices, as it should be."""
        return ConsumerConfig(
            name=self.dlq_consumer,
            durable_name=self.dlq_consumer,
            filter_subject=self.dlq_subject,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=30,
            max_deliver=-1,
            max_ack_pending=-1,
        )


_SHARDS = {digit: int(digit, EVENT_SHARDS) for digit in "0123456789abcdef"}


def event_shard(task_id: str) -> int:
    """Which of the shards tells about this task."""
    return _SHARDS[task_id[-1]]


def ids_per_message(count: int, together: int, slots: int = 0) -> int:
    """How many ids go into one message, of `count` for one subject when `together` tasks are announced in all.

    Few, so that workers can share: at least a hundred messages in all, and five for each subject. With `slots` known, those
    of the smallest worker that serves the subject, eight messages will do if none fills more than a quarter of them.
    """
    many = min(together // 100, count // 5)
    some = min(count // 8, slots // 4)
    return max(1, min(IDS_PER_MESSAGE_MAX, max(many, some)))
