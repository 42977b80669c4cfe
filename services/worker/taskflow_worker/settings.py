"""The worker's settings: contract, section 5."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta, field

from taskflow.engine.settings import EGRESS_PORTS, EGRESS_SCHEMES, LeaseSettings, judged_egress
from taskflow.kit.egress import Egress
from taskflow.kit.settings import Seconds, SettingsError

VERSIONS = "1 to 100 visible ASCII characters without spaces"


class Settings(LeaseSettings, frozen=True, kw_only=True):
    """What a worker reads from its environment."""

    worker_concurrency: Annotated[int, Meta(ge=1, le=10_000)] = 10
    worker_queues: list[str] = field(default_factory=lambda: ["default"])
    worker_imports: list[str] = field(default_factory=list)
    worker_version: Annotated[str, Meta(pattern=r"^[!-~]{1,100}$", description=VERSIONS)] | None = None
    worker_poll_timeout: Annotated[Seconds, Meta(ge=0.1, le=300)] = 2.0
    worker_drain_timeout: Annotated[Seconds, Meta(ge=0)] = 30.0
    builtin_types: bool = True
    traces: bool = False
    egress_allow: tuple[str, ...] = ()
    egress_ports: tuple[str, ...] = EGRESS_PORTS
    egress_schemes: tuple[str, ...] = EGRESS_SCHEMES

    def __post_init__(self) -> None:
        super().__post_init__()
        self.egress()

    def egress(self) -> Egress:
        """What `http_request` may reach. Raises SettingsError."""
        return judged_egress(self.egress_allow, self.egress_ports, self.egress_schemes)


def check_queues(settings: Settings) -> None:
    """The names of queues become parts of subjects on the bus."""
    for name in settings.worker_queues:
        if not re.fullmatch(r"[a-z0-9_-]{1,64}", name):
            raise SettingsError("WORKER_QUEUES", name, "names of 1 to 64 of a-z 0-9 _ -, with commas between")
