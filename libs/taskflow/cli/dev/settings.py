"""The settings of `taskflow dev`: contract, section 5."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from taskflow.kit.settings import ProgramSettings, Seconds, Url

_Port = Annotated[int, Meta(ge=0, le=65535, description="a port from 0 to 65535")]


class DevSettings(ProgramSettings, frozen=True, kw_only=True):
    """What `dev` itself reads; the services read the rest."""

    http_host: str = "127.0.0.1"
    http_port: _Port = 8080
    database_url: Url | None = None
    nats_url: Url | None = None
    worker_drain_timeout: Seconds = 30.0
    handler_grace: Seconds = 5.0
    probe_port: _Port | None = None
