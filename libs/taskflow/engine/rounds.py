"""rounds: the scheduler asks the doctor regularly, and tells what was found as metrics and in the log."""

from __future__ import annotations

import math
from functools import partial

from taskflow.bus.connect import Bus
from taskflow.domain.transitions import LIVE, TERMINAL
from taskflow.engine.doctor import CHECKS, EXAMPLES, SCAN_SECONDS_MAX, Diagnosis, Doctor, Patience
from taskflow.kit.clock import now
from taskflow.kit.logging import get_logger
from taskflow.kit.metrics import gauge
from taskflow.store.connect import Database, Line

log = get_logger(__name__)

FINDINGS = gauge(
    "taskflow_doctor_findings", "What the doctor found when it last looked, by check.", ["check"]
)
CHECKED_AT = gauge(
    "taskflow_doctor_checked_timestamp_seconds", "When the doctor last looked, by check.", ["check"]
)
GAP = gauge(
    "taskflow_conservation_gap", "Accepted tasks less live, terminal and pruned ones; 0 if none is lost."
)


class Rounds:
    """The doctor's regular looks: the cheap ones often, on `line`; scans rarely, each on a line of its own."""

    def __init__(
        self,
        database: Database,
        line: Line,
        bus: Bus,
        *,
        lease_seconds: float,
        handler_grace: float,
        letters_kept_seconds: float,
    ) -> None:
        self._database = database
        self._doctor_on = partial(
            Doctor,
            bus=bus,
            patience=Patience.of(lease_seconds),
            handler_grace=handler_grace,
            letters_kept_seconds=letters_kept_seconds,
        )
        self._looking = self._doctor_on(line)
        self._gap_of_figures = math.nan
        self._drift = 0.0
        GAP.set(math.nan)

    async def look_once(self) -> None:
        """The checks that cost next to nothing."""
        diagnosis = await self._looking.look()
        self._gap_of_figures = diagnosis.law.gap
        self._tell(diagnosis)

    async def scan_once(self) -> None:
        """The checks that go through all tasks and dead letters."""
        async with Line(self._database, patience_seconds=SCAN_SECONDS_MAX) as line:
            diagnosis = await line.run(self._doctor_on(line).scan)
        moved = {place: n for place, n in diagnosis.differences.items() if place[2] in LIVE | TERMINAL}
        self._drift = -sum(moved.values())
        self._tell(diagnosis)

    def _tell(self, diagnosis: Diagnosis) -> None:
        # By the figures the law is known after every look; how far the rows are from them, since the last scan.
        GAP.set(self._gap_of_figures + self._drift)
        for check, found in diagnosis.found.items():
            FINDINGS.labels(check).set(found.n)
            CHECKED_AT.labels(check).set(now().timestamp())
            if found.n:
                log.error(
                    "finding.made",
                    check=check,
                    means=CHECKS[check],
                    count=found.n,
                    examples=found.ids[:EXAMPLES],
                )
