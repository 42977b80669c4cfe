"""The commands that call the API when it refuses, cannot be reached, or is not as expected: one line, and the exit code."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.commands import Taskflow
from tests.support.stand_in import Reply, StandIn, problem

LIST = "GET /dead-letters"
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        (problem(400, "bad_cursor", "the cursor is not one of ours"), 2, "the cursor is not one of ours"),
        (problem(401, "unauthenticated", "no key"), 4, "no key; TASKFLOW_API_KEY is not set"),
        (problem(403, "forbidden", "not for you"), 4, "not for you"),
        (problem(404, "not_found", "no such", hint="see /docs"), 3, "no such; see /docs"),
        (
            problem(409, "already_replayed", "too late", current_status="replayed"),
            5,
            "too late; it is replayed",
        ),
        (problem(422, "invalid", "type: expected\na name"), 2, "type: expected a name"),
        (problem(429, "rate_limited", "slower"), 1, "slower"),
        (problem(500, "internal", "internal error"), 1, "internal error; request req-1"),
        (problem(503, "unavailable", "PostgreSQL is away"), 7, "PostgreSQL is away; request req-1"),
        (Reply(502, b"<html>", "text/html"), 7, "URL answered 502 Bad Gateway"),
        (Reply(302, b""), 1, "URL answered 302 Found"),
        (Reply(200, b"<html>"), 1, "the answer is not that of a TaskFlow API: JSON is malformed"),
        (Reply(200, b"[]"), 1, "the answer is not that of a TaskFlow API: Expected `object`"),
        (
            Reply(200, parts=(b'{"it',), broken=True),
            7,
            "the connection to URL was lost: peer closed connection",
        ),
    ],
)
def test_an_answer_that_is_no_success_is_one_line(
    remote: StandIn, taskflow: Taskflow, reply: Reply, code: int, said: str
) -> None:
    remote.answers(LIST, reply)
    for more in ([], ["--json"]):
        done = taskflow("dlq", "list", *more)
        assert (done.code, done.out) == (code, "")
        assert done.err.startswith("taskflow: " + said.replace("URL", remote.url))
        assert len(done.err.splitlines()) == 1
    assert len(remote.asked) == 2, "nothing is tried twice"


def test_a_refused_connection_names_the_address_without_its_password(
    taskflow: Taskflow, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setenv("TASKFLOW_URL", f"http://ada:hush@127.0.0.1:{free_port}")
    done = taskflow("operations", "list")
    assert (done.code, done.out) == (7, "")
    assert done.err == f"taskflow: cannot reach http://ada:***@127.0.0.1:{free_port}: Connection refused\n"


def test_an_api_that_does_not_answer_is_given_up(
    taskflow: Taskflow, monkeypatch: pytest.MonkeyPatch, remote: StandIn
) -> None:
    monkeypatch.setattr("taskflow.cli.client.api.ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert taskflow("dlq", "list", "--url", url).code == 6
        done = taskflow("dlq", "discard", "x", "--reason", "r", "--url", url)
    assert done.code == 6
    assert (
        done.err
        == f"taskflow: {url} did not answer within 0.2 s; what was asked may have been done all the same\n"
    )


def test_the_key_is_sent_and_never_shown(
    remote: StandIn, taskflow: Taskflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    remote.answers(LIST, problem(401, "unauthenticated", "the key is revoked"))
    assert taskflow("dlq", "list").code == 4
    assert "authorization" not in remote.asked[-1].headers
    monkeypatch.setenv("TASKFLOW_API_KEY", "tfq_hush")
    done = taskflow("dlq", "list")
    assert (done.code, done.err) == (4, "taskflow: the key is revoked\n")
    assert remote.asked[-1].headers["authorization"] == "Bearer tfq_hush"
    monkeypatch.setenv("TASKFLOW_API_KEY", "hush hush")
    done = taskflow("dlq", "list")
    assert (done.code, "hush" in done.err) == (2, False)
    monkeypatch.delenv("TASKFLOW_API_KEY")
    (tmp_path / "key").write_text("tfq_file\n")
    monkeypatch.setenv("TASKFLOW_API_KEY_FILE", str(tmp_path / "key"))
    taskflow("dlq", "list")
    assert remote.asked[-1].headers["authorization"] == "Bearer tfq_file"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dlq", "list", "--url", "localhost:8080"], "expected an http:// or https:// URL"),
        (["dlq", "list", "--url", "http://[::1"], "is not a URL"),
        (["dlq", "list", "--url", "http://a..b"], "is not a URL"),
        (["dlq", "list", "--after", "yesterday"], "expected RFC 3339 with an offset, or an age"),
        (["dlq", "list", "--after", "2026-11-22T10:00:00"], "expected RFC 3339 with an offset, or an age"),
        (["dlq", "list", "--limit", "0"], "0 is not in the range x>=1"),
        (["dlq", "list", "--reason", "boredom"], "'boredom' is not one of"),
        (["dlq", "list", "--fingerprint", ""], "it is empty"),
        (["operations", "list", "--status", "asleep"], "'asleep' is not one of"),
    ],
)
def test_wrong_usage_asks_nobody(
    remote: StandIn, taskflow: Taskflow, arguments: list[str], said: str
) -> None:
    done = taskflow(*arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert remote.asked == []


def test_a_wrong_address_in_the_environment(taskflow: Taskflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKFLOW_URL", "localhost:8080")
    done = taskflow("dlq", "list")
    assert done.code == 2
    assert done.err == (
        'taskflow: TASKFLOW_URL="localhost:8080" is not valid; expected an http:// or https:// URL\n'
    )


@pytest.mark.parametrize("module", ["httpx", "rich"])
def test_what_is_not_installed_is_named(
    taskflow: Taskflow, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    done = taskflow("dlq", "list")
    assert done.code == 2
    assert done.err == f"taskflow: {module} is not installed; pip install taskflow-platform[cli]\n"


@pytest.mark.parametrize("arguments", [["--help"], ["dlq", "replay", "--help"], ["operations", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    heavy = [
        "httpx",
        "rich",
        "asyncio",
        "ssl",
        "asyncpg",
        "nats",
        "structlog",
        "taskflow.engine",
        "taskflow.store",
    ]
    code = (
        "import sys; from taskflow.cli.main import run; code = run(sys.argv[1:]); "
        f"print(code, [name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "TASKFLOW_URL": "http://127.0.0.1:1"}, cwd=ROOT,
    )  # fmt: skip
    assert done.stderr == "0 []\n"
    assert "Usage:" in done.stdout


@pytest.mark.parametrize("group", ["dlq", "operations"])
def test_a_group_alone_shows_its_help(taskflow: Taskflow, group: str) -> None:
    done = taskflow(group)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"Usage: taskflow {group} ")
    assert "\n  list " in done.err
