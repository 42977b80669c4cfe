"""The notifier's settings: contract, section 5."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from taskflow.engine.notify import Rules
from taskflow.engine.settings import Attempts, EgressSettings, KeySettings, ServiceSettings
from taskflow.kit.settings import Seconds, Secret, SettingsError
from taskflow.webhooks import check_secret

Delay = Annotated[Seconds, Meta(ge=0, le=86_400)]
DELAYS = "1 to 100 durations from 0 to 24h, with commas between, such as 5s,30s,2m"
Delays = Annotated[tuple[Delay, ...], Meta(min_length=1, max_length=100, description=DELAYS)]


class Settings(KeySettings, EgressSettings, ServiceSettings, frozen=True, kw_only=True):
    """What a notifier reads from its environment."""

    secret_key: Secret | None = None
    secret_key_previous: Secret | None = None
    sealing_key: Secret | None = None
    sealing_key_previous: Secret | None = None
    egress_allow: tuple[str, ...] = ()
    egress_ports: tuple[str, ...] = ("80", "443", "1024-65535")
    egress_schemes: tuple[str, ...] = ("https", "http")
    webhook_timeout: Annotated[Seconds, Meta(ge=0.1, le=300)] = 10.0
    webhook_max_attempts: Attempts = 5
    webhook_delays: Delays = (5.0, 30.0, 120.0, 600.0, 3_600.0)
    webhook_concurrency: Annotated[int, Meta(ge=1, le=10_000)] = 100
    alert_webhook_secret: Secret | None = None
    webhook_host_concurrency: Annotated[int, Meta(ge=1, le=1_000)] = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self.judge_keys()
        self.egress()
        if (
            self.alert_webhook_secret is not None
            and (fault := check_secret(self.alert_webhook_secret)) is not None
        ):
            raise SettingsError("ALERT_WEBHOOK_SECRET", "***", fault.removeprefix("expected "))

    def rules(self) -> Rules:
        """How deliveries go."""
        return Rules(
            timeout_seconds=self.webhook_timeout,
            max_attempts=self.webhook_max_attempts,
            delays_seconds=self.webhook_delays,
            concurrency=self.webhook_concurrency,
            host_concurrency=self.webhook_host_concurrency,
        )
