"""The dlq-consumer's settings: contract, section 5."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from taskflow.engine.burial import Limits
from taskflow.engine.settings import ServiceSettings
from taskflow.kit.egress import ANYWHERE, BadUrl, EgressRefused
from taskflow.kit.settings import Seconds, SettingsError

Letters = Annotated[int, Meta(ge=0, le=100_000)]
Window = Annotated[Seconds, Meta(ge=1, le=86_400)]
_EXPECTED = "type=count, with commas between, each count from 0 to 100000"


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """What a dlq-consumer reads from its environment. Of letters 0 means: no limit."""

    dead_letter_surge: Letters = 100
    dead_letter_surge_window: Window = 60.0
    burial_limit: Letters = 0
    burial_limit_by_type: tuple[str, ...] = ()
    burial_window: Window = 60.0
    alert_webhook_url: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.limits()

    def limits(self) -> Limits:
        """How fast letters may come in."""
        return Limits(
            surge=self.dead_letter_surge,
            surge_seconds=self.dead_letter_surge_window,
            burial=self.burial_limit,
            burial_seconds=self.burial_window,
            by_type=dict(map(_pair, self.burial_limit_by_type)),
            alert_url=_url(self.alert_webhook_url),
        )


def _url(text: str | None) -> str | None:
    try:
        if text is not None:
            ANYWHERE.check(text)
    except (BadUrl, EgressRefused) as error:
        raise SettingsError(
            "ALERT_WEBHOOK_URL", text, f"a URL such as https://example.org/hook ({error})"
        ) from None
    return text


def _pair(text: str) -> tuple[str, int]:
    name, _, count = text.partition("=")
    if not name or not count.isdecimal() or len(count) > 6 or int(count) > 100_000:
        raise SettingsError("BURIAL_LIMIT_BY_TYPE", text, _EXPECTED)
    return name, int(count)
