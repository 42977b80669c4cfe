"""Whoever receives webhooks and pushes is away, and those who send them die."""

from __future__ import annotations

from typing import Any

from tests.chaos.cell import HOUSE, cell
from tests.chaos.stage import Stage, until
from tests.chaos.workers import NAP
from tests.support.chaos import kill, until_replaced
from tests.support.receiver import Receiver, receiving

EVENTS = ["task.started", "task.succeeded"]
TOLD = 5
"""Tasks that tell: fewer failures than slow an endpoint."""
_MISSING = """
SELECT count(*) FROM unnest($1::text[]) AS told(key)
WHERE NOT EXISTS (SELECT FROM webhook_deliveries WHERE task_id::text || ' ' || event = told.key AND status = 'delivered')"""
_PUSHING = """
SELECT w.pid FROM tasks t JOIN workers w ON w.id = t.worker_id WHERE t.target IS NOT NULL AND t.status = 'running'"""
_UNTOLD = """
SELECT count(*) FROM webhook_deliveries d WHERE d.attempts <> (
    SELECT count(*) FROM webhook_attempts a WHERE a.delivery_id = d.id AND a.number <= d.attempts)"""


@cell(
    "a receiver down for a minute",
    expects="every event arrives once it is back; the history shows each attempt",
    settings={**HOUSE, "WEBHOOK_DELAYS": "1s,2s,5s,15s", "WEBHOOK_MAX_ATTEMPTS": "20"},
)
def receiver_down(stage: Stage) -> None:
    """A receiver refuses connections (a minute) while worker, api and notifier are killed under load."""
    with receiving() as receiver, stage.load(NAP, callers=2) as load:
        receiver.down()
        to = {"url": receiver.url("down"), "events": EVENTS}
        ids = stage.submit([{**NAP, "callback": to}] * TOLD)
        load.until_accepted(20)
        for name in ("workers", "api", "notifier"):
            pid = stage.system.facts()["pids"][name]
            kill(pid := pid[0] if isinstance(pid, list) else pid)
            stage.damage()
            until_replaced(stage.system, name, pid)
        stage.lasting(3 if stage.short else 60, "the receiver is down")
        receiver.up()
        _all_told(stage, receiver, ids)
    stage.until_done()
    stage.note("attempts", stage.books.value("SELECT count(*) FROM webhook_attempts"))
    assert stage.books.value(_UNTOLD) == 0, "attempts are missing in the history"


def _all_told(stage: Stage, receiver: Receiver, ids: list[str]) -> None:
    keys = [f"{task} {event}" for task in ids for event in EVENTS]
    until(lambda: stage.books.value(_MISSING, keys) == 0, "every event is recorded as delivered", 60)
    arrived = {f"{one.json['task']['id']} {one.json['event']}" for one in receiver.at("down")}
    assert arrived >= set(keys), sorted(set(keys) - arrived)


@cell(
    "a push's worker SIGKILL between answer and record",
    expects="the repeat bears the same Idempotency-Key and a greater X-TaskFlow-Version",
)
def push_repeated(stage: Stage) -> None:
    """A service does its work and answers 200; the worker that pushed is killed before it can record that."""
    killed: list[int] = []

    def answer(to: Any, _request: Any) -> None:
        if not killed:
            killed.append(stage.books.rows(_PUSHING)[0]["pid"])
            kill(killed[0])
            stage.damage()
        to.say(200, b'{"paid": true}')

    with receiving() as receiver:
        receiver.behaviours["pay"] = answer
        [task] = stage.submit([{"type": "pay", "target": {"url": receiver.url("pay")}}])
        stage.until_done()
        first, *_, last = receiver.at("pay")
    assert first.headers["idempotency-key"] == last.headers["idempotency-key"] == f"{task}:1"
    assert int(first.headers["x-taskflow-version"]) < int(last.headers["x-taskflow-version"])
    assert stage.books.tries([task])[task][-1] == "succeeded"
    stage.note("pushed", len(receiver.at("pay")))
