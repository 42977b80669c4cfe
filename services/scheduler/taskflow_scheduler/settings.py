"""The scheduler's settings: contract, section 5."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from taskflow.engine.settings import (
    ACCOUNT_RETENTION,
    AUDIT_RETENTION,
    AccountRetention,
    AuditRetention,
    KeyIdleMax,
    LeaseSettings,
    judge_key_idle_max,
)
from taskflow.kit.settings import Seconds


class Settings(LeaseSettings, frozen=True, kw_only=True):
    """What a scheduler reads from its environment."""

    task_retention: Annotated[Seconds, Meta(ge=1)] = 30 * 86_400.0
    dead_letter_retention: Annotated[Seconds, Meta(ge=1)] = 90 * 86_400.0
    stats_retention: Annotated[Seconds, Meta(ge=7 * 86_400)] = 14 * 86_400.0
    account_retention: AccountRetention = ACCOUNT_RETENTION
    audit_retention: AuditRetention = AUDIT_RETENTION
    api_key_idle_max: KeyIdleMax = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        judge_key_idle_max(self.api_key_idle_max)
