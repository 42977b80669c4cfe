"""How the system stands: the doctor, and the facts of what it stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskflow_api.operation import Answer, Call, Operation
from taskflow_api.replies import answer

if TYPE_CHECKING:
    from litestar.types import ASGIApp


async def read_doctor(call: Call) -> ASGIApp:
    """The checks that cost little, at most some seconds old."""
    return answer(await call.services.checkup.doctor())


async def read_system(call: Call) -> ASGIApp:
    """Facts of PostgreSQL, NATS and this api, at most some seconds old."""
    return answer(await call.services.checkup.facts())


OPERATIONS = (
    Operation(
        id="readDoctor",
        method="GET",
        path="/api/v1/doctor",
        tag="Operations",
        summary="What the doctor finds: lost, stuck or wrongly counted tasks",
        description=(
            "The checks that cost little however many tasks are stored; `taskflow doctor` makes them all. What may be "
            "passing is looked at again, so that an answer with findings may take some 20 seconds."
        ),
        handle=read_doctor,
        answers=(Answer(200, "The checks", "DoctorReport"),),
        scope="admin",
    ),
    Operation(
        id="readSystem",
        method="GET",
        path="/api/v1/system",
        tag="Operations",
        summary="What the system stands on: PostgreSQL, NATS, and this api with its settings",
        handle=read_system,
        answers=(Answer(200, "The facts; what could not be read is null", "SystemFacts"),),
        scope="admin",
    ),
)
