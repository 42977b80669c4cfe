"""What a task says of others on the web: whom to tell what becomes of it (`callback`), who executes it (`target`).

Header values and secrets are kept encrypted, as one sealed text, and read back as `***`.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

PUSH_TYPE = "http.push"
"""The type of a task with a target that names none, and what a worker declares that pushes."""
HIDDEN = "***"

Event = Literal[
    "task.succeeded", "task.failed", "task.cancelled", "task.expired", "task.started", "task.retrying"
]
EVENTS: tuple[Event, ...] = get_args(Event)
DEFAULT_EVENTS: tuple[Event, ...] = EVENTS[:4]
EVENT_BITS: dict[str, int] = {event: 1 << place for place, event in enumerate(EVENTS)}
"""As `tasks.told_events` has them: which events of a task write a delivery."""
EVENT_OF_STATUS: dict[str, Event] = {
    "completed": "task.succeeded",
    "failed": "task.failed",
    "cancelled": "task.cancelled",
    "expired": "task.expired",
    "running": "task.started",
    "retrying": "task.retrying",
}


Url = Annotated[
    str, Meta(min_length=1, max_length=2_000, description="a URL such as https://example.org/hook")
]
Events = Annotated[
    list[Event],
    Meta(min_length=1, max_length=len(EVENTS), description=f"a list of some of {', '.join(EVENTS)}"),
]
HeaderValues = Annotated[
    dict[str, str],
    Meta(max_length=64, description="an object of at most 64 names of headers and their values"),
]
Secret = Annotated[
    str,
    Meta(
        min_length=16,
        max_length=255,
        description="whsec_ and base64 of 24 to 64 bytes, or 16 to 255 visible ASCII characters",
    ),
]
# A float that is whole: JSON knows no integers, and 5.0 is 5.
Tries = Annotated[float, Meta(ge=1, le=100, multiple_of=1, description="a whole number from 1 to 100")]
Method = Annotated[Literal["POST", "PUT", "PATCH"], Meta(description="POST, PUT or PATCH")]


class CallbackWish(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to tell what becomes of a task, as callers say it."""

    url: Url
    events: Events | None = None
    headers: HeaderValues | None = None
    secret: Secret | None = None
    max_attempts: Tries | None = None


class TargetWish(Struct, frozen=True, forbid_unknown_fields=True):
    """Who executes a task over HTTP, as callers say it."""

    url: Url
    method: Method | None = None
    headers: HeaderValues | None = None


class Callback(Struct, frozen=True):
    """Where a task's events are sent, as it is kept. `sealed`: headers and secret, encrypted, in base64."""

    url: str
    host: str
    events: list[Event]
    header_names: list[str] = []
    has_secret: bool = False
    max_attempts: int | None = None
    sealed: str | None = None

    @property
    def bits(self) -> int:
        """Its events, as `EVENT_BITS` counts them."""
        return sum(EVENT_BITS[event] for event in set(self.events))


class Target(Struct, frozen=True):
    """Where a task is executed, as it is kept. `sealed`: its headers, encrypted, in base64."""

    url: str
    host: str
    method: str = "POST"
    header_names: list[str] = []
    sealed: str | None = None


class Hidden(Struct, frozen=True):
    """What `sealed` holds."""

    headers: dict[str, str] = {}
    secret: str | None = None


class ShownCallback(Struct, frozen=True):
    """A callback as callers read it: header values and secret are `***`."""

    url: str
    events: list[Event]
    headers: dict[str, str]
    secret: str | None
    max_attempts: int | None


class ShownTarget(Struct, frozen=True):
    """A target as callers read it: header values are `***`."""

    url: str
    method: str
    headers: dict[str, str]


def shown_callback(kept: Callback) -> ShownCallback:
    """What callers may see of it."""
    secret = HIDDEN if kept.has_secret else None
    return ShownCallback(kept.url, kept.events, _hidden(kept.header_names), secret, kept.max_attempts)


def shown_target(kept: Target) -> ShownTarget:
    """What callers may see of it."""
    return ShownTarget(kept.url, kept.method, _hidden(kept.header_names))


def _hidden(names: list[str]) -> dict[str, str]:
    return dict.fromkeys(names, HIDDEN)
