"""Settings that several services share. Names are the contract's, section 5, in lower case."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from taskflow.bus.topology import Topology
from taskflow.domain.retry import RetryPolicy
from taskflow.kit.settings import ProgramSettings, Seconds, Url

Attempts = Annotated[int, Meta(ge=1, le=100)]


class ServiceSettings(ProgramSettings, frozen=True, kw_only=True):
    """What every service needs."""

    database_url: Url
    nats_url: Url = "nats://localhost:4222"
    nats_stream_name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "TASKFLOW"
    nats_consumer_name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "taskflow-worker"
    nats_replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    http_host: str = "127.0.0.1"
    probe_port: Annotated[int, Meta(ge=0, le=65_535)] | None = None

    def topology(self) -> Topology:
        """The names on the bus."""
        return Topology(self.nats_stream_name, self.nats_consumer_name, self.nats_replicas)


class LeaseSettings(ServiceSettings, frozen=True, kw_only=True):
    """What workers and schedulers must agree on: how long a worker is believed alive, and what its losses mean."""

    worker_lease: Annotated[Seconds, Meta(ge=1, le=3_600)] = 15.0
    handler_grace: Annotated[Seconds, Meta(ge=0, le=3_600)] = 5.0
    poison_losses_max: Annotated[int, Meta(ge=1, le=100)] = 3


class TaskDefaults(Struct, frozen=True, kw_only=True):
    """What a task gets that neither it nor its type says."""

    worker_max_attempts: Attempts = 5
    worker_backoff_base: Seconds = 0.5
    worker_backoff_max: Seconds = 10.0
    task_timeout: Seconds = 30.0

    def retry_policy(self) -> RetryPolicy:
        """Exponential, factor 2, jitter added."""
        return RetryPolicy(base_seconds=self.worker_backoff_base, max_seconds=self.worker_backoff_max)
