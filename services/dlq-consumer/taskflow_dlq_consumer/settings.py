"""The dlq-consumer's settings: contract, section 5."""

from __future__ import annotations

from taskflow.engine.settings import ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """What a dlq-consumer reads from its environment."""
