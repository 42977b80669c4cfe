"""A system that a real Prometheus watches with our alert rules, in which a minute lasts a second."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.chaos.cell import Scale
from tests.chaos.stage import Stage, until
from tests.support import prometheus

FASTER = 60
WORKERS = 2
_SECONDS = {"s": 1, "m": 60, "h": 3_600}


def faster(rules: str) -> str:
    """The rules with every wait, window and age divided, so that what takes minutes takes seconds."""

    def shorter(found: re.Match[str]) -> str:
        head, number, unit, tail = found.groups()
        return f"{head}{max(1, round(int(number) * _SECONDS[unit] / FASTER))}s{tail}"

    rules = re.sub(r"(for: )(\d+)([smh])()", shorter, rules)
    # In a window there must be several scrapes, and what takes five seconds (a connection that is not answered) twice.
    rules = re.sub(r"\[(\d+)m\]", lambda found: f"[{max(12, int(found[1]))}s]", rules)
    return re.sub(
        r'(priority="\w+"\}\)) > (\d+)', lambda found: f"{found[1]} > {int(found[2]) / FASTER}", rules
    )


class Watch:
    """Prometheus, and where the processes of the system it watches tell their metrics."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first_port = prometheus.metrics_port(WORKERS)
        self._stack = ExitStack()
        self._running: prometheus.Prometheus | None = None

    @property
    def settings(self) -> Mapping[str, str]:
        """What has a system tell its metrics there; its stream of tasks is small."""
        return {"PROBE_PORT": str(self.first_port), "NATS_STREAM_BYTES_MAX": str(1024 * 1024)}

    def begin(self, stage: Stage) -> prometheus.Prometheus:
        """Watch the system of this cell, all of whose processes are up."""
        if self._running is None:
            at = [f"127.0.0.1:{port}" for port in range(self.first_port, self.first_port + WORKERS + 3)]
            api = stage.system.facts()["api_url"].removeprefix("http://")
            tenders = {"scheduler": at[:1], "dlq-consumer": at[1:2], "notifier": at[2:3]}
            targets = {"api": [api], **tenders, "worker": at[3:]}
            rules = faster(prometheus.RULES.read_text())
            self._running = self._stack.enter_context(
                prometheus.prometheus(self.folder, targets, rules=rules)
            )
            is_up = f"count(up == 1) == {WORKERS + 4}"
            until(lambda: self._running and self._running.ask(is_up), "all tell their metrics", 30)
        return self._running

    def end(self) -> None:
        """Watch no more."""
        self._stack.close()


@contextmanager
def watched(_scale: Scale) -> Iterator[Watch]:
    """The ground of cells about alerts."""
    folder = Path(tempfile.mkdtemp(prefix="tf-watch-", dir="/tmp"))
    watch = Watch(folder)
    try:
        yield watch
    finally:
        watch.end()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def fires(stage: Stage, alert: str, seconds: float = 90) -> Iterator[None]:
    """The alert is still before what is done inside, and fires because of it."""
    observer = stage.ground.begin(stage)
    until(lambda: alert not in observer.firing(), f"{alert} is still", 60)
    stage.damage()
    yield
    until(lambda: alert in observer.firing(), f"{alert} fires", seconds)
