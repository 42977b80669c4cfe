"""Letters that come too fast: alike ones are told of, and a type with a burial limit is paused."""

from __future__ import annotations

from pathlib import Path

from tests.integration.letters.conftest import Buried
from tests.support.systems import System


def test_a_surge_is_told_of_once_a_window(system: System, buried: Buried) -> None:
    before = _metric(system, "taskflow_dead_letter_surges_total", "imports")
    buried(60, "imports", {"path": "/surge"}, tags=["surge"], queue="default", max_attempts=1)
    [letter, *_] = system.list_all("/dead-letters", tag="surge")
    surges = system.get("/audit", action="dead_letters.surge", target=letter["fingerprint"])["items"]
    assert len(surges) == 1
    [surge] = surges
    assert surge["actor"] == "dlq-consumer"
    assert surge["data"]["type"] == "imports"
    assert surge["data"]["count"] >= 20
    assert "dead_letters.surge" in system.log()
    assert _metric(system, "taskflow_dead_letter_surges_total", "imports") >= before


def test_a_burial_limit_pauses_the_type_instead_of_burying_everything(system: System, tmp_path: Path) -> None:
    cause = tmp_path / "cause"
    ids = system.submit_many([{"type": "breaks", "payload": {"path": str(cause)}}] * 20)
    system.wait_all(ids)
    assert _type(system)["paused"] is False  # under the limit
    more = [{"type": "breaks", "payload": {"path": str(cause)}, "run_at": None}] * 40
    ids += system.submit_many(more)
    system.until(lambda: _type(system)["paused"], "the type is paused")
    told = _type(system)
    assert (told["paused_by"], told["paused_reason"]) == ("burial_limit", "30 dead letters within 60 s")
    [event, *_] = system.get("/audit", action="type.paused", target="breaks")["items"]
    assert (event["actor"], event["reason"]) == ("burial_limit", told["paused_reason"])
    waiting = system.submit("breaks", {"path": str(cause)})
    system.until(
        lambda: system.get(f"/tasks/{waiting['id']}")["waiting_for"] == "type_paused",
        "it waits, and is not buried",
    )
    cause.touch()
    system.post("/types/breaks/resume", {"reason": "mended"})
    assert system.wait(waiting["id"])["status"] == "completed"
    assert _type(system)["paused"] is False
    assert _type(system)["paused_by"] is None


def test_after_a_resume_only_what_came_since_counts(system: System) -> None:
    assert _type(system)["paused"] is False  # thirty and more were buried within the last minute
    [one] = system.submit_many([{"type": "breaks", "payload": {"path": "/nowhere"}}])
    assert system.wait(one)["status"] == "failed"
    system.until(
        lambda: system.get("/dead-letters", type="breaks")["items"][0]["handled_at"], "the letter is handled"
    )
    assert _type(system)["paused"] is False


def _type(system: System) -> dict[str, object]:
    return next(one for one in system.list_all("/types") if one["name"] == "breaks")


def _metric(system: System, name: str, kind: str) -> float:
    """Counted by the log: `dev` gives the dlq-consumer no port for metrics here."""
    return sum(name in line and kind in line for line in system.log().splitlines())
