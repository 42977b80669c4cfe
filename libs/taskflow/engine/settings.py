"""Settings that several services share. Names are the contract's, section 5, in lower case."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from msgspec import Meta, Struct

from taskflow.bus.login import Login
from taskflow.bus.nkey import BadSeed, key_pair
from taskflow.bus.rights import Role
from taskflow.bus.topology import TASKS_BYTES_MAX, Topology
from taskflow.domain.retry import RetryPolicy
from taskflow.kit.egress import Egress, allowed, known_schemes, port_ranges
from taskflow.kit.settings import LogLevel, ProgramSettings, Seconds, Secret, SettingsError, Url

T = TypeVar("T")
Attempts = Annotated[int, Meta(ge=1, le=100)]


BusName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z", description="1 to 64 of A-Z a-z 0-9 _ -")]


class BusNames(ProgramSettings, frozen=True, kw_only=True):
    """What streams and consumers are called, and how many replicas streams have."""

    nats_stream_name: BusName = "TASKFLOW"
    nats_consumer_name: BusName = "taskflow-worker"
    nats_replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    nats_stream_bytes_max: Annotated[int, Meta(ge=1024**2, le=1024**4)] = TASKS_BYTES_MAX

    def topology(self) -> Topology:
        """The names on the bus."""
        return Topology(
            self.nats_stream_name, self.nats_consumer_name, self.nats_replicas, self.nats_stream_bytes_max
        )


class BusSettings(BusNames, frozen=True, kw_only=True):
    """How NATS is reached, and who we are there."""

    nats_url: Url = "nats://localhost:4222"
    nats_nkey_seed: Secret | None = None
    nats_ca_file: str | None = None

    def __post_init__(self) -> None:
        if self.nats_nkey_seed is not None:
            try:
                key_pair(self.nats_nkey_seed)
            except BadSeed as error:
                raise SettingsError("NATS_NKEY_SEED", "***", str(error).removeprefix("expected ")) from None
        if self.nats_ca_file is not None:
            try:
                ssl.create_default_context(cafile=self.nats_ca_file)
            except OSError as error:
                why = error.strerror or "no certificate in it"
                raise SettingsError(
                    "NATS_CA_FILE", self.nats_ca_file, f"a file of certificates in PEM ({why})"
                ) from None

    def login(self, role: Role) -> Login:
        """What NATS is told of us."""
        return Login(role, self.nats_nkey_seed, self.nats_ca_file)


class ServiceSettings(BusSettings, frozen=True, kw_only=True):
    """What every service needs."""

    database_url: Url
    http_host: str = "127.0.0.1"
    probe_port: Annotated[int, Meta(ge=0, le=65_535)] | None = None


KEY_BYTES_MIN = 32
"""As many as the hash of HS256 has: RFC 7518, section 3.2."""
KEY_EXPECTED = f"at least {KEY_BYTES_MIN} random bytes, as `openssl rand -base64 48` prints them"
_PLACEHOLDERS = ("changeme", "change-me", "change_me", "change this", "change-this", "change_this", "replace-me",
                 "replace_me", "your-secret", "your_secret", "insecure", "supersecret", "super-secret")  # fmt: skip


class KeySettings:
    """What those must agree on who sign or open what is sealed: api, worker, notifier. No Struct, as two do not combine:
    each has the fields itself.
    """

    __slots__ = ()
    secret_key: str | None
    secret_key_previous: str | None
    sealing_key: str | None
    sealing_key_previous: str | None

    def judge_keys(self) -> None:
        """A key that can be guessed lets anybody sign in as anybody. Raises SettingsError."""
        for name in ("secret_key", "secret_key_previous", "sealing_key", "sealing_key_previous"):
            key: str | None = getattr(self, name)
            if key is not None and (
                len(key.encode()) < KEY_BYTES_MIN or any(word in key.lower() for word in _PLACEHOLDERS)
            ):
                raise SettingsError(name.upper(), "***", KEY_EXPECTED)


class ResealSettings(KeySettings, ProgramSettings, frozen=True, kw_only=True):
    """What `taskflow admin reseal` reads, beside DATABASE_URL."""

    secret_key: Secret | None = None
    secret_key_previous: Secret | None = None
    sealing_key: Secret | None = None
    sealing_key_previous: Secret | None = None

    def __post_init__(self) -> None:
        self.judge_keys()


class EgressSettings:
    """What those must agree on who judge URLs or send to them: api, worker, notifier. No Struct, as `KeySettings`."""

    __slots__ = ()
    egress_allow: tuple[str, ...]
    egress_ports: tuple[str, ...]
    egress_schemes: tuple[str, ...]

    def egress(self) -> Egress:
        """What may be reached. Raises SettingsError."""
        return Egress(
            _judged("EGRESS_ALLOW", self.egress_allow, allowed),
            _judged("EGRESS_PORTS", self.egress_ports, port_ranges),
            _judged("EGRESS_SCHEMES", self.egress_schemes, known_schemes),
        )


def _judged(name: str, texts: tuple[str, ...], read: Callable[[Sequence[str]], T]) -> T:
    try:
        return read(texts)
    except ValueError as error:
        what, _, expected = str(error).partition("; expected ")
        raise SettingsError(name, ",".join(texts), f"{expected} ({what})") from None


class LeaseSettings(ServiceSettings, frozen=True, kw_only=True):
    """What workers and schedulers must agree on: how long a worker is believed alive, and what its losses mean."""

    worker_lease: Annotated[Seconds, Meta(ge=1, le=3_600)] = 15.0
    handler_grace: Annotated[Seconds, Meta(ge=0, le=3_600)] = 5.0
    poison_losses_max: Annotated[int, Meta(ge=1, le=100)] = 3


AccountRetention = Annotated[Seconds, Meta(ge=1)]
AuditRetention = Annotated[Seconds, Meta(ge=86_400)]
KeyIdleMax = Annotated[Seconds, Meta(ge=0)]
ACCOUNT_RETENTION, AUDIT_RETENTION = 30 * 86_400.0, 365 * 86_400.0
_KEY_IDLE_LEAST = 86_400.0
"""When a key was last used is not written at each call, and some are used once a day."""


def judge_key_idle_max(seconds: float) -> None:
    """Nobody means to lose keys that are in use. Raises SettingsError."""
    if 0 < seconds < _KEY_IDLE_LEAST:
        raise SettingsError("API_KEY_IDLE_MAX", f"{seconds:g}s", "0, or a duration of at least 1d")


class JanitorSettings(ProgramSettings, frozen=True, kw_only=True):
    """What `taskflow janitor` reads: of a scheduler's, those that matter to it. It logs errors only."""

    log_level: LogLevel = "error"
    database_url: Url
    account_retention: AccountRetention = ACCOUNT_RETENTION
    audit_retention: AuditRetention = AUDIT_RETENTION
    api_key_idle_max: KeyIdleMax = 0.0

    def __post_init__(self) -> None:
        judge_key_idle_max(self.api_key_idle_max)


class TaskDefaults(Struct, frozen=True, kw_only=True):
    """What a task gets that neither it nor its type says."""

    worker_max_attempts: Attempts = 5
    worker_backoff_base: Seconds = 0.5
    worker_backoff_max: Seconds = 10.0
    task_timeout: Seconds = 30.0

    def retry_policy(self) -> RetryPolicy:
        """Exponential, factor 2, jitter added."""
        return RetryPolicy(base_seconds=self.worker_backoff_base, max_seconds=self.worker_backoff_max)
