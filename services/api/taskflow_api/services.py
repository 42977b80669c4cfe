"""What the routes call, as one value: built by `wiring.open_services`, handed to `app.create_app`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from taskflow.engine.commands import Commands
    from taskflow.engine.health import Health
    from taskflow.engine.operations import Operations
    from taskflow.engine.read import Reader
    from taskflow.engine.submit import Submitter
    from taskflow.engine.waiting import Waiters


class Services(Struct, frozen=True):
    """The engine's verbs an api needs."""

    submitter: Submitter
    reader: Reader
    waiters: Waiters
    commands: Commands
    operations: Operations
    health: Health
