"""The scheduler's settings: contract, section 5."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from taskflow.engine.settings import LeaseSettings
from taskflow.kit.settings import Seconds


class Settings(LeaseSettings, frozen=True, kw_only=True):
    """What a scheduler reads from its environment."""

    task_retention: Annotated[Seconds, Meta(ge=1)] = 30 * 86_400.0
    dead_letter_retention: Annotated[Seconds, Meta(ge=1)] = 90 * 86_400.0
