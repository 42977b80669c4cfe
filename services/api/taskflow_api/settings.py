"""The api's settings: contract, section 5. Read once, by `kit.lifecycle.program`."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from msgspec import Meta

from taskflow.engine.settings import BusSettings
from taskflow.kit.settings import Seconds, SettingsError, Url


class Settings(BusSettings, frozen=True, kw_only=True):
    """What the api reads from its environment."""

    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Meta(ge=0, le=65_535)] = 8080
    database_url: Url
    auth_disabled_anywhere: bool = False
    strict_types: bool = False
    validate_payloads: bool = True
    task_timeout: Annotated[Seconds, Meta(gt=0, le=86_400)] = 30.0
    worker_max_attempts: Annotated[int, Meta(ge=1, le=100)] = 5
    worker_backoff_base: Annotated[Seconds, Meta(ge=0)] = 0.5
    worker_backoff_max: Annotated[Seconds, Meta(ge=0)] = 10.0
    traces: bool = False
    trace_sample_ratio: Annotated[float, Meta(ge=0, le=1)] = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_open_address(self)


def refuse_open_address(settings: Settings) -> None:
    """While nobody signs in, the api listens on loopback only, unless AUTH_DISABLED_ANYWHERE is set."""
    if settings.auth_disabled_anywhere or _is_loopback(settings.http_host):
        return
    expected = (
        "a loopback address such as 127.0.0.1, or AUTH_DISABLED_ANYWHERE=true: nobody signs in to this api"
    )
    raise SettingsError("HTTP_HOST", settings.http_host, expected)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
