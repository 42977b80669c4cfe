"""`taskflow operations`, and the following of a bulk replay until it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from functools import partial

import pytest
from tests.support.commands import Taskflow
from tests.support.letters import OPERATION_ID, ago, operation
from tests.support.stand_in import StandIn, problem
from tests.support.waiting import wait_until_sync

LIST = "GET /operations"
ONE = f"GET /operations/{OPERATION_ID}"
MANY = "POST /dead-letters/replay"
CANARY = {"first": 3, "stop_if_failed": 0, "wait_seconds": 300, "replayed": 3, "succeeded": 1, "failed": 0}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls that need not wait."""
    monkeypatch.setattr("taskflow.cli.client.follow.POLL_SECONDS", 0.01)


def test_a_list_is_a_table(remote: StandIn, taskflow: Taskflow) -> None:
    found = operation(done=4, failed=1, reason="mail is back")
    remote.answers(LIST, {"items": [found], "next_cursor": None})
    done = taskflow("operations", "list", "--status", "running", "--status", "paused")
    head, row = (line.split() for line in done.out.splitlines())
    assert head == ["id", "action", "status", "matched", "done", "skipped", "failed", "by", "age", "reason"]
    assert row == [OPERATION_ID, "replay", "running", "10", "4", "0", "1", "ada", "2m", "mail", "is", "back"]
    assert remote.asked[0].query == [("status", "running"), ("status", "paused"), ("limit", "50")]
    assert taskflow("operations", "list", "--json").json == [found]
    remote.answers(LIST, {"items": [], "next_cursor": None})
    assert taskflow("operations", "list").err == "no operations\n"


def test_show(remote: StandIn, taskflow: Taskflow) -> None:
    event = {
        "id": 1, "at": ago(minutes=1), "actor": "bob", "action": "operation.pause", "target": OPERATION_ID,
        "reason": "wait", "data": {},
    }  # fmt: skip
    found = operation(
        events=[event], status="paused", status_reason="by bob", canary={**CANARY, "state": "passed"}
    )
    remote.answers(ONE, found)
    out = taskflow("operations", "show", OPERATION_ID).out
    for told in (
        '{"type": ["send_mail"]}',
        "100 a second",
        "paused (by bob): 0 done",
        "canary passed",
        "operation.pause",
    ):
        assert told in out
    assert taskflow("operations", "show", OPERATION_ID, "--json").json == found


@pytest.mark.parametrize("verb", ["pause", "resume", "stop"])
def test_commands(remote: StandIn, taskflow: Taskflow, verb: str) -> None:
    call = f"POST /operations/{OPERATION_ID}/{verb}"
    remote.answers(call, operation(status="paused", done=4))
    done = taskflow("operations", verb, OPERATION_ID, "--reason", "lunch")
    told = "paused: 4 done, 0 skipped, 0 failed of 10"
    assert (done.code, done.out, done.err) == (0, f"{OPERATION_ID} {told}\n", "")
    assert taskflow("operations", verb, OPERATION_ID, "--json").json["status"] == "paused"
    assert [asked.json for asked in remote.to(call)] == [{"reason": "lunch"}, {}]
    remote.answers(call, problem(409, "operation_finished", "it has ended", current_status="done"))
    done = taskflow("operations", verb, OPERATION_ID)
    assert (done.code, done.err) == (5, "taskflow: it has ended; it is done\n")


def test_a_replay_is_followed_until_it_is_done(remote: StandIn, taskflow: Taskflow) -> None:
    remote.answers(MANY, operation())
    waiting = operation(canary={**CANARY, "state": "waiting"}, done=3)
    passed = operation(canary={**CANARY, "state": "passed", "succeeded": 3}, done=7)
    ended = operation(status="done", done=9, skipped=1)
    remote.answers(
        ONE, waiting, waiting, passed, operation(status="paused", status_reason="by bob", done=8), ended
    )
    done = taskflow("dlq", "replay", "--all", "--yes")
    assert done.code == 0
    assert done.out == f"{OPERATION_ID} done: 9 done, 1 skipped, 0 failed of 10\n"
    assert [line.removeprefix(OPERATION_ID) for line in done.err.splitlines()] == [
        " running: 3 done, 0 skipped, 0 failed of 10; canary waiting: 1 succeeded, 0 failed of 3",
        " running: 7 done, 0 skipped, 0 failed of 10; canary passed: 3 succeeded, 0 failed of 3",
        " paused (by bob): 8 done, 0 skipped, 0 failed of 10",
    ]
    assert len(remote.to(ONE)) == 5


def test_one_that_was_stopped_is_exit_code_1(remote: StandIn, taskflow: Taskflow) -> None:
    remote.answers(MANY, operation())
    ended = operation(status="stopped", status_reason="the canary failed", done=3)
    remote.answers(ONE, operation(), ended)
    done = taskflow("dlq", "replay", "--all", "--yes", "--follow", "--json")
    assert (done.code, done.json) == (1, ended)
    done = taskflow("operations", "watch", OPERATION_ID)
    assert (done.code, done.err) == (1, "")
    assert done.out == f"{OPERATION_ID} stopped (the canary failed): 3 done, 0 skipped, 0 failed of 10\n"


def test_one_that_cannot_be_watched_on_says_how(remote: StandIn, taskflow: Taskflow) -> None:
    remote.answers(ONE, operation(), problem(503, "draining", "the api shuts down"))
    done = taskflow("operations", "watch", OPERATION_ID, "--url", remote.url)
    assert done.code == 7
    assert done.err.endswith(
        "taskflow: the api shuts down; request req-1; the operation may go on: "
        f"taskflow operations watch {OPERATION_ID} --url {remote.url}\n"
    )
    assert taskflow("operations", "watch", "other").code == 3


def test_interrupt_detaches(remote: StandIn) -> None:
    remote.answers(MANY, operation())
    remote.answers(ONE, operation(done=1))
    heeded = partial(
        signal.signal, signal.SIGINT, signal.SIG_DFL
    )  # where the tests run in the background, it is not
    with subprocess.Popen(
        [sys.executable, "-m", "taskflow.cli.main", "dlq", "replay", "--all", "--yes", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeded,  # noqa: PLW1509
    ) as process:  # fmt: skip
        wait_until_sync(lambda: len(remote.to(ONE)) > 1, "it follows", timeout=30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[1:] == [
        "detached; the operation goes on",
        f"  taskflow operations watch {OPERATION_ID}",
        f"  taskflow operations pause {OPERATION_ID}",
        f"  taskflow operations stop {OPERATION_ID}",
    ]


def test_a_terminal_has_a_bar(remote: StandIn) -> None:
    """On stderr alone, so that stdout can go elsewhere."""
    remote.answers(ONE, operation(done=4), operation(done=4), operation(status="done", done=10))
    ours, theirs = os.openpty()
    seen = bytearray()
    reader = threading.Thread(target=_read, args=(ours, seen))
    reader.start()
    done = subprocess.run(
        [sys.executable, "-m", "taskflow.cli.main", "operations", "watch", OPERATION_ID],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, text=True, timeout=60, check=False,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )  # fmt: skip
    os.close(theirs)
    reader.join(10)
    os.close(ours)
    assert (done.returncode, done.stdout) == (0, f"{OPERATION_ID} done: 10 done, 0 skipped, 0 failed of 10\n")
    assert b"replay running" in seen
    assert b"4/10" in seen


def _read(terminal: int, seen: bytearray) -> None:
    try:
        while part := os.read(terminal, 4096):
            seen.extend(part)
    except OSError:  # the other side is closed
        return


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_table_on_a_terminal_fits_it_and_obeys_no_color(
    remote: StandIn, environ: dict[str, str], coloured: bool
) -> None:
    remote.answers(LIST, {"items": [operation(reason="because " * 50)], "next_cursor": None})
    ours, theirs = os.openpty()
    seen = bytearray()
    reader = threading.Thread(target=_read, args=(ours, seen))
    reader.start()
    subprocess.run(
        [sys.executable, "-m", "taskflow.cli.main", "operations", "list"], stdin=subprocess.DEVNULL, stdout=theirs,
        timeout=60, check=True, env={**os.environ, "TERM": "xterm", "COLUMNS": "150", **environ},
    )  # fmt: skip
    os.close(theirs)
    reader.join(10)
    os.close(ours)
    text = seen.decode()
    assert OPERATION_ID in text
    assert "…" in text
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in text.splitlines()) <= 150
    assert ("\x1b[36m" in text) is coloured
    if not coloured:
        assert "\x1b[3" not in text
