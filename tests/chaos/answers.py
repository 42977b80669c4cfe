"""One statement is lost, or its answer, at the worst moment: who asked cannot know what PostgreSQL did."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
from tests.chaos.cell import cell
from tests.chaos.stage import Stage
from tests.support.chaos import Extra
from tests.support.proxy import Proxy, fault_proxy
from tests.support.waiting import wait_until_sync

from taskflow.cli.dev.places import free_port

CLAIM = "store.moves.claim_tasks"
RECORD = "store.moves.record_successes"
INSERT = "store.inserts.insert_alike"
FAR = "faraway"
"""A queue that only the worker behind the proxy serves."""


@contextmanager
def _far_worker(stage: Stage, proxy: Proxy, **settings: str) -> Iterator[Extra]:
    """One more worker, which reaches PostgreSQL through the proxy."""
    imports = {"WORKER_IMPORTS": "tests.support.handlers", "DATABASE_URL": proxy.url}
    with stage.extra("taskflow_worker", **imports, **settings) as extra:
        yield extra


def _until_live(stage: Stage, pid: int) -> None:
    live = "SELECT count(*) FROM workers WHERE pid = $1 AND ended_at IS NULL"
    wait_until_sync(lambda: stage.books.value(live, pid), "the other worker is live", 20)


# When the first are recorded, a worker has others in hand still.
MIXED = [{"type": "nap", "payload": {"seconds": seconds}} for seconds in (0.1, 1.0, 0.1, 0.1, 0.1)]


def _killed_between(stage: Stage, statement: str) -> None:
    ids: list[str] = []
    killed = 1 if stage.short else 3
    with fault_proxy(stage.system.facts()["database_url"]) as proxy:
        for _ in range(killed):
            with _far_worker(stage, proxy) as extra:
                _until_live(stage, extra.process.pid)
                loss = proxy.lose_answer(statement, meanwhile=extra.process.kill)
                ids += stage.submit(MIXED * (40 if stage.short else 200))
                wait_until_sync(lambda loss=loss: loss.done, f"{statement} is answered", 20)
                stage.damage()
                extra.process.wait(5)
    stage.until_done()
    stage.note("killed", killed)
    seen = Counter(status for tries in stage.books.tries(ids).values() for status in tries)
    stage.note("tries", dict(seen))
    assert seen["lost"], "it had nothing in hand: nothing was tried"
    assert seen["succeeded"] == len(ids)
    assert set(seen) <= {"succeeded", "lost", "released"}, seen


@cell("worker killed between a claim and its answer", expects="what it claimed runs elsewhere")
def killed_in_claim(stage: Stage) -> None:
    """A worker's claim is committed, and the worker gets SIGKILL in place of the answer."""
    _killed_between(stage, CLAIM)


@cell(
    "worker killed between a record and its answer",
    expects="what was recorded stays so, the rest runs elsewhere",
)
def killed_in_record(stage: Stage) -> None:
    """A worker's record is committed, and the worker gets SIGKILL in place of the answer."""
    _killed_between(stage, RECORD)


@cell(
    "api killed between a submit and its answer",
    expects="asked again by its Idempotency-Key: exactly one task",
)
def killed_in_submit(stage: Stage) -> None:
    """Tasks, single and in bulk, are committed, and the api gets SIGKILL in place of the answer to the commit."""
    with fault_proxy(stage.system.facts()["database_url"]) as proxy:
        for _ in range(1 if stage.short else 3):
            _killed_in_submit(stage, proxy, "/api/v1/tasks", {"type": "echo", "name": uuid.uuid4().hex})
            name = uuid.uuid4().hex
            items = [{"type": "echo", "name": name}] * stage.tasks(2_000)
            _killed_in_submit(stage, proxy, "/api/v1/tasks/batch", {"items": items})


def _killed_in_submit(stage: Stage, proxy: Proxy, path: str, body: dict[str, Any]) -> None:
    name, count = (body["name"], 1) if "name" in body else (body["items"][0]["name"], len(body["items"]))
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    port = free_port()
    with stage.extra("taskflow_api", DATABASE_URL=proxy.url, HTTP_PORT=str(port)) as extra:
        url = f"http://127.0.0.1:{port}"
        wait_until_sync(lambda: _is_ready(url), "the other api is ready", 20)
        proxy.lose_answer(INSERT, meanwhile=extra.process.kill)
        stage.damage()
        try:
            answer = httpx.post(url + path, json=body, headers=headers, timeout=20)
        except httpx.TransportError:
            extra.process.wait(5)
        else:
            raise AssertionError(f"it was answered: {answer.text[:300]}")
    written = "SELECT count(*) FROM tasks WHERE name = $1"
    assert stage.books.value(written, name) == count
    again = stage.system.http.post(path, json=body, headers=headers)
    assert again.headers.get("Idempotent-Replayed") == "true", again.text[:300]
    told = again.json()
    stage.system.accepted.update(item["id"] for item in told.get("items", [told]))
    assert stage.books.value(written, name) == count


def _is_ready(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    return False


def _lossy(stage: Stage, statement: str, *, answer: bool, silently: bool) -> Counter[str]:
    """Tasks on a worker whose every fifth statement of that name is lost; how their tries ended."""
    nap = {"queue": FAR, "timeout_seconds": 60}
    settings = {"WORKER_QUEUES": FAR}
    with fault_proxy(stage.system.facts()["database_url"]) as proxy:
        lose = proxy.lose_answer if answer else proxy.lose_question
        loss = lose(
            statement, times=(1 if stage.short else 3) if silently else 1_000, chance=0.2, silently=silently
        )
        with _far_worker(stage, proxy, **settings):
            ids = stage.naps(stage.tasks(1_000), 0.02, **nap) + stage.naps(
                stage.tasks(200), 0.02, max_attempts=1, **nap
            )
            stage.damage()
            stage.until_done()
    stage.note("lost statements", loss.done)
    assert loss.done >= (1 if silently else 2), loss.done
    seen = Counter(status for tries in stage.books.tries(ids).values() for status in tries)
    stage.note("tries", dict(seen))
    assert stage.books.statuses(ids) == {"completed": len(ids)}
    assert (
        stage.books.value("SELECT count(*) FROM tasks WHERE id = ANY($1::uuid[]) AND attempt <> 1", ids) == 0
    )
    return seen


@cell(
    "answers to claims lost", expects="what was claimed unheard is handed back and runs; no attempt is spent"
)
def claim_answers_lost(stage: Stage) -> None:
    """Every fifth claim of a worker is committed, and its connection is reset in place of the answer."""
    seen = _lossy(stage, CLAIM, answer=True, silently=False)
    assert set(seen) == {"succeeded", "released"}, seen


@cell("answers to records lost", expects="the record is repeated and changes nothing")
def record_answers_lost(stage: Stage) -> None:
    """Every fifth record of a worker is committed, and its connection is reset in place of the answer."""
    assert set(_lossy(stage, RECORD, answer=True, silently=False)) == {"succeeded"}


@cell("records dropped", expects="the record is repeated; no handler runs twice")
def records_dropped(stage: Stage) -> None:
    """Every fifth record of a worker never reaches PostgreSQL, and its connection is reset."""
    assert set(_lossy(stage, RECORD, answer=False, silently=False)) == {"succeeded"}


@cell(
    "records dropped in silence",
    expects="the record is repeated once the silence is noticed; no handler runs twice",
)
def records_dropped_silently(stage: Stage) -> None:
    """Records of a worker never reach PostgreSQL, and their connections say nothing any more."""
    assert set(_lossy(stage, RECORD, answer=False, silently=True)) == {"succeeded"}
