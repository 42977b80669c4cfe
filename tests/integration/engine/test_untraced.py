"""While traces are off, nothing of them is there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tests.support.systems import System


def test_while_traces_are_off_nothing_of_opentelemetry_is_loaded(system: System) -> None:
    """In any process: what is mapped into memory, or open, is seen from outside."""
    result = system.wait(system.submit("loaded_modules")["id"])["result"]
    assert "taskflow.kit.tracing" in result
    assert not [name for name in result if name.startswith("opentelemetry")]
    pids = system.facts()["pids"]
    for pid in (pids["api"], pids["scheduler"], pids["dlq_consumer"], pids["notifier"], *pids["workers"]):
        assert "google/_upb" not in Path(f"/proc/{pid}/maps").read_text()
    assert find_spec("opentelemetry.sdk"), "else there was nothing to load"
