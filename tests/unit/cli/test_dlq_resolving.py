"""`taskflow dlq replay|discard`: one or many; the dry run and the question, the canary, what goes not together."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.commands import Taskflow
from tests.support.letters import LETTER_ID, OPERATION_ID, TASK_ID, letter, operation
from tests.support.stand_in import StandIn, problem

REPLAY = f"POST /dead-letters/{LETTER_ID}/replay"
DISCARD = f"POST /dead-letters/{LETTER_ID}/discard"
MANY = "POST /dead-letters/replay"
OPERATION = f"GET /operations/{OPERATION_ID}"
TASK = {"id": TASK_ID, "status": "queued", "life": 2, "payload": {}}
PREVIEW = {"matched": 12, "by_type": {"resize": 2, "send_mail": 10}, "sample": []}


def test_replay_of_one(remote: StandIn, taskflow: Taskflow) -> None:
    remote.answers(REPLAY, TASK)
    done = taskflow("dlq", "replay", LETTER_ID)
    assert (done.code, done.out, done.err) == (0, f"replayed: task {TASK_ID} is queued (life 2)\n", "")
    assert remote.asked[-1].json == {}
    done = taskflow("dlq", "replay", LETTER_ID, "--reason", "mail is back", "--json")
    assert done.json == TASK
    assert remote.asked[-1].json == {"reason": "mail is back"}


def test_replay_of_one_that_was_replayed(remote: StandIn, taskflow: Taskflow) -> None:
    remote.answers(REPLAY, problem(409, "already_replayed", "it was resolved", current_status="replayed"))
    done = taskflow("dlq", "replay", LETTER_ID)
    assert (done.code, done.err) == (5, "taskflow: it was resolved; it is replayed\n")


def test_another_payload_is_sent_byte_for_byte(remote: StandIn, taskflow: Taskflow, tmp_path: Path) -> None:
    remote.answers(REPLAY, TASK)
    payload = '{"n":1e400, "n":10000000000000000000000001}'
    taskflow("dlq", "replay", LETTER_ID, "--payload", payload)
    assert remote.asked[-1].body == f'{{"payload":{payload}}}'.encode()
    file = tmp_path / "payload.json"
    file.write_text(payload)
    taskflow("dlq", "replay", LETTER_ID, "--payload", f"@{file}", "--reason", "r")
    assert remote.asked[-1].body == f'{{"reason":"r","payload":{payload}}}'.encode()
    assert piped(payload, "dlq", "replay", LETTER_ID, "--payload", "-").returncode == 0
    assert remote.asked[-1].body == f'{{"payload":{payload}}}'.encode()


def piped(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a process, with this on its stdin."""
    return subprocess.run(
        [sys.executable, "-m", "taskflow.cli.main", *arguments],
        input=text, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{", "--payload is not JSON: "),
        ('1},"reason":"x"', "--payload is not JSON: "),
        ("@/nowhere", "cannot read /nowhere: No such file"),
    ],
)
def test_a_payload_that_is_none_is_not_sent(
    remote: StandIn, taskflow: Taskflow, given: str, said: str
) -> None:
    done = taskflow("dlq", "replay", LETTER_ID, "--payload", given)
    assert done.code == 2
    assert said in done.err
    assert remote.asked == []


def test_the_payload_is_edited(
    remote: StandIn, taskflow: Taskflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    remote.answers(f"GET /dead-letters/{LETTER_ID}", letter(payload={"to": "ada", "n": 1}))
    remote.answers(REPLAY, TASK)
    # An editor whose clock is exact to the second must be seen to have saved.
    monkeypatch.setenv("EDITOR", editor(tmp_path, 's/"ada"/"bob"/'))
    done = taskflow("dlq", "replay", LETTER_ID, "--edit")
    assert (done.code, done.err) == (0, "")
    assert remote.asked[-1].json == {"payload": {"to": "bob", "n": 1}}


def test_an_editor_that_saves_nothing_replays_nothing(
    remote: StandIn, taskflow: Taskflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.answers(f"GET /dead-letters/{LETTER_ID}", letter(payload={"to": "ada"}))
    monkeypatch.setenv("EDITOR", "true")
    done = taskflow("dlq", "replay", LETTER_ID, "--edit")
    assert (done.code, done.err) == (1, "taskflow: nothing was saved, nothing is replayed\n")
    assert remote.to(REPLAY) == []


def editor(folder: Path, edit: str) -> str:
    """An $EDITOR that does this with sed."""
    program = folder / "editor"
    program.write_text(f"#!/bin/sh\nsed -i '{edit}' \"$1\"\ntouch -d '1 minute' \"$1\"\n")
    program.chmod(0o700)
    return str(program)


def test_an_edited_payload_that_is_no_json_can_be_edited_again(remote: StandIn, tmp_path: Path) -> None:
    remote.answers(f"GET /dead-letters/{LETTER_ID}", letter(payload={"to": "ada"}))
    remote.answers(REPLAY, TASK)
    program = editor(tmp_path, 's/"ada"/bob/;t;s/bob/"bob"/')
    done = at_terminal("y\n", "dlq", "replay", LETTER_ID, "--edit", EDITOR=program)
    assert done.returncode == 0
    assert "this is not JSON: " in done.stderr
    assert remote.asked[-1].json == {"payload": {"to": "bob"}}


def test_discard_of_one(remote: StandIn, taskflow: Taskflow) -> None:
    remote.answers(DISCARD, letter(status="discarded"))
    done = taskflow("dlq", "discard", LETTER_ID, "--reason", "a test")
    assert (done.code, done.out, done.err) == (0, f"discarded {LETTER_ID}\n", "")
    assert remote.asked[-1].json == {"reason": "a test"}
    done = taskflow("dlq", "discard", LETTER_ID)
    assert done.code == 2
    assert "Missing option '--reason'" in done.err
    assert len(remote.asked) == 1


def test_many_are_ordered_with_all_that_was_said(remote: StandIn, taskflow: Taskflow) -> None:
    remote.answers(MANY, operation())
    done = taskflow(
        "dlq", "replay", "--type", "a", "--type", "b", "--letter-reason", "poison", "--tag", "x", "--error", "boom",
        "--fingerprint", "f00d", "--before", "2026-11-22T10:00:00Z", "--limit", "50", "--rate", "2.5", "--canary", "5",
        "--stop-if-failed", "1", "--canary-wait", "1m30s", "--reason", "fixed", "--yes", "--detach",
    )  # fmt: skip
    assert (done.code, done.out, done.err) == (0, f"{OPERATION_ID}\n", "")
    (asked,) = remote.asked
    assert asked.json == {
        "filter": {
            "type": ["a", "b"], "reason": ["poison"], "tag": ["x"], "error": "boom", "fingerprint": "f00d",
            "created_before": "2026-11-22T10:00:00Z",
        },
        "limit": 50, "rate_per_second": 2.5, "canary": {"first": 5, "stop_if_failed": 1, "wait_seconds": 90.0},
        "reason": "fixed",
    }  # fmt: skip


def test_all_are_discarded(remote: StandIn, taskflow: Taskflow) -> None:
    remote.answers("POST /dead-letters/discard", operation(action="discard"))
    done = taskflow("dlq", "discard", "--all", "--reason", "old", "--yes", "--detach", "--json")
    assert done.json["action"] == "discard"
    assert remote.asked[-1].json == {"filter": {}, "all": True, "reason": "old"}


def test_a_dry_run_changes_nothing(remote: StandIn, taskflow: Taskflow) -> None:
    remote.answers(MANY, PREVIEW)
    done = taskflow("dlq", "replay", "--queue", "post", "--dry-run")
    assert (done.code, done.err) == (0, "")
    told = [line.split() for line in done.out.splitlines()]
    assert told == [
        ["12", "dead", "letters", "match"],
        ["type", "count"],
        ["send_mail", "10"],
        ["resize", "2"],
    ]
    assert taskflow("dlq", "replay", "--queue", "post", "--dry-run", "--json").json == PREVIEW
    assert all(asked.json == {"filter": {"queue": ["post"]}, "dry_run": True} for asked in remote.asked)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay"], "expected an ID, filters, or --all"),
        (["replay", "--yes"], "expected an ID, filters, or --all"),
        (["replay", "--limit", "5", "--yes"], "expected an ID, filters, or --all"),
        (["replay", "--all", "--type", "a", "--yes"], "--all goes without filters"),
        (["replay", "--type", "a"], "expected --yes: nobody can be asked here"),
        (["replay", "--type", "", "--yes"], "it is empty"),
        (["replay", "", "--yes"], "expected an ID, not ''"),
        (["replay", "x", "--type", "a"], "an ID stands alone, but there is also: filters"),
        (["replay", "x", "--all", "--limit", "1"], "an ID stands alone, but there is also: --all, --limit"),
        (["replay", "x", "--canary", "1"], "an ID stands alone, but there is also: --canary"),
        (["replay", "x", "--detach"], "an ID stands alone, but there is also: --follow/--detach"),
        (["replay", "--type", "a", "--payload", "1"], "--payload and --edit go with an ID"),
        (["replay", "x", "--edit", "--payload", "1"], "--payload and --edit do not go together"),
        (["replay", "--type", "a", "--stop-if-failed", "1"], "--stop-if-failed and --canary-wait go with --canary"),
        (["replay", "--type", "a", "--canary", "0"], "0 is not in the range"),
        (["replay", "--type", "a", "--rate", "0"], "0.0 is not in the range"),
        (["replay", "--type", "a", "--status", "replayed"], "No such option"),
        (["replay", "--type", "a", "--reason", "poison", "--yes"], "--letter-reason poison narrows to such letters"),
        (["discard", "--type", "a", "--reason", "r", "--canary", "1"], "No such option"),
        (["discard", "--all", "--yes"], "Missing option '--reason'"),
        (["discard", "x", "--dry-run", "--reason", "r"], "an ID stands alone, but there is also: --dry-run"),
    ],
)  # fmt: skip
def test_what_goes_not_together_asks_nobody(
    remote: StandIn, taskflow: Taskflow, arguments: list[str], said: str
) -> None:
    done = taskflow("dlq", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert remote.asked == []


def at_terminal(typed: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command as a process whose stdin is a terminal at which this is typed."""
    with ExitStack() as stack:
        ours, theirs = os.openpty()
        stack.callback(os.close, ours)
        stack.callback(os.close, theirs)
        os.write(ours, typed.encode())
        return subprocess.run(
            [sys.executable, "-m", "taskflow.cli.main", *arguments],
            stdin=theirs, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environ},
        )  # fmt: skip


def asked_for(remote: StandIn) -> list[Any]:
    """Of each order of many, whether it was a dry run."""
    return [asked.json.get("dry_run", False) for asked in remote.to(MANY)]


def test_many_are_shown_and_asked_about(remote: StandIn) -> None:
    remote.answers(MANY, PREVIEW, operation())
    remote.answers(OPERATION, operation(status="done", done=12))
    done = at_terminal("y\n", "dlq", "replay", "--type", "send_mail", "--json")
    assert done.returncode == 0
    assert "12 dead letters match" in done.stderr
    assert "send_mail     10" in done.stderr
    assert "Replay them? [y/N]" in done.stderr
    assert done.stdout.startswith('{"id": ')
    assert asked_for(remote) == [True, False]


def test_who_says_no_has_done_nothing(remote: StandIn) -> None:
    remote.answers(MANY, PREVIEW)
    done = at_terminal("n\n", "dlq", "replay", "--type", "send_mail")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("nothing was done\n")
    assert asked_for(remote) == [True]


def test_nobody_is_asked_about_nothing(remote: StandIn) -> None:
    remote.answers(MANY, {"matched": 0, "by_type": {}, "sample": []})
    done = at_terminal("", "dlq", "replay", "--type", "send_mail")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "0 dead letters match\n")
    assert asked_for(remote) == [True]
