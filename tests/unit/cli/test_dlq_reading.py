"""`taskflow dlq list|groups|show|export`: what they ask the API, and what they print."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.commands import Taskflow
from tests.support.letters import LETTER_ID, TASK_ID, ago, execution, letter
from tests.support.stand_in import Reply, StandIn

LIST = "GET /dead-letters"
SHOW = f"GET /dead-letters/{LETTER_ID}"
EXPORT = "GET /dead-letters/export"


def page(items: list[dict[str, Any]], cursor: str | None = None) -> dict[str, Any]:
    return {"items": items, "next_cursor": cursor}


def test_a_list_is_a_table(remote: StandIn, taskflow: Taskflow) -> None:
    second = letter(
        id="second", status="replayed", error=None, type="resize", created_at=ago(days=2, hours=1)
    )
    remote.answers(LIST, page([letter(error={"type": "E", "message": "one\ntwo " + "x" * 200}), second]))
    done = taskflow("dlq", "list")
    head, first, other = (line.split() for line in done.out.splitlines())
    assert (done.code, done.err) == (0, "")
    assert head == ["id", "type", "queue", "reason", "status", "error", "age"]
    assert first[:8] == [LETTER_ID, "send_mail", "post", "attempts_exhausted", "pending", "E:", "one", "two"]
    assert first[-2].endswith("x…")
    assert first[-1] == "3h"
    assert other == ["second", "resize", "post", "attempts_exhausted", "replayed", "-", "2d"]
    assert "\x1b" not in done.out
    assert remote.asked[0].query == [("limit", "50")]


def test_filters_are_named_as_in_the_api(remote: StandIn, taskflow: Taskflow) -> None:
    remote.answers(LIST, page([]))
    done = taskflow(
        "dlq", "list", "--type", "a", "--type", "b", "--queue", "q", "--reason", "poison", "--status", "pending",
        "--status", "replayed", "--tag", "x", "--tag", "y&z", "--error", "time out", "--fingerprint", "f00d",
        "--after", "24h", "--before", "2026-11-22T10:00:00+02:00", "--limit", "7",
    )  # fmt: skip
    assert (done.code, done.out, done.err) == (0, "", "no dead letters\n")
    query = remote.asked[0].query
    since = datetime.fromisoformat(dict(query)["created_after"])
    assert abs((datetime.now(UTC) - since).total_seconds() - 86_400) < 60
    assert [pair for pair in query if pair[0] != "created_after"] == [
        ("type", "a"), ("type", "b"), ("queue", "q"), ("reason", "poison"), ("status", "pending"),
        ("status", "replayed"), ("tag", "x"), ("tag", "y&z"), ("error", "time out"), ("fingerprint", "f00d"),
        ("created_before", "2026-11-22T08:00:00Z"), ("limit", "7"),
    ]  # fmt: skip


def test_json_is_one_array_as_the_api_sent_it(remote: StandIn, taskflow: Taskflow) -> None:
    first, second = b'{"id": "1", "n":1e400, "a":1,"a":2}', b'{"id":"2"}'
    remote.answers(LIST, b'{"items": [%s, %s], "next_cursor": null}' % (first, second))
    done = taskflow("dlq", "list", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"[{first.decode()},{second.decode()}]\n"


def test_a_list_follows_its_pages_up_to_the_limit(remote: StandIn, taskflow: Taskflow) -> None:
    letters = [letter(id=f"letter-{n}") for n in range(450)]
    remote.answers(
        LIST, page(letters[:200], "c1"), page(letters[200:400], "c2"), page(letters[400:430], "c3")
    )
    done = taskflow("dlq", "list", "--limit", "430", "--type", "a", "--json")
    assert [each["id"] for each in done.json] == [f"letter-{n}" for n in range(430)]
    assert [asked.query for asked in remote.asked] == [
        [("type", "a"), ("limit", "200")],
        [("type", "a"), ("limit", "200"), ("cursor", "c1")],
        [("type", "a"), ("limit", "30"), ("cursor", "c2")],
    ]


def test_a_list_tells_that_there_is_more(remote: StandIn, taskflow: Taskflow) -> None:
    remote.answers(LIST, page([letter()], "c1"))
    done = taskflow("dlq", "list", "--limit", "1")
    assert done.err == "the first 1; there are more (--limit)\n"


def test_groups(remote: StandIn, taskflow: Taskflow) -> None:
    group = {
        "fingerprint": "f00d", "type": "send_mail", "count": 12, "pending": 3, "first_seen": ago(days=3, hours=1),
        "last_seen": ago(minutes=5, seconds=9), "error": {"type": "E", "message": "m"}, "example_id": LETTER_ID,
    }  # fmt: skip
    remote.answers("GET /dead-letters/groups", page([group]))
    table = taskflow("dlq", "groups", "--queue", "q").out.splitlines()
    assert table[0].split() == [
        "fingerprint",
        "type",
        "count",
        "pending",
        "first",
        "seen",
        "last",
        "seen",
        "error",
    ]
    assert table[1].split() == ["f00d", "send_mail", "12", "3", "3d", "5m", "E:", "m"]
    assert taskflow("dlq", "groups", "--json").json == [group]
    assert remote.asked[0].query == [("queue", "q"), ("limit", "50")]


def detail(**members: Any) -> bytes:
    error = {
        "type": "SMTPError",
        "message": "421 try later",
        "traceback": 'File "m.py", line 3\n  boom()\n\x1b[2J',
    }
    found = letter(error=error, executions=[execution(1), execution(2, error=None, status="lost")], **members)
    # What no float holds is shown as it was sent.
    return json.dumps(found)[:-1].encode() + b', "payload": {"to":"ada","n":1e400,"n":2}}'


def test_show_tells_all_of_a_letter(remote: StandIn, taskflow: Taskflow) -> None:
    remote.answers(SHOW, detail(previous_id="earlier-one"))
    done = taskflow("dlq", "show", LETTER_ID)
    facts, error, attempts, payload = (
        done.out.split("\n\n", 1)[0],
        *done.out.split("\nError\n")[1].split("\n\n")[1:],
    )
    assert done.code == 0
    for told in (
        LETTER_ID,
        f"{TASK_ID} (life 1)",
        "send_mail",
        "eu",
        "w-1 (version 1.4.0)",
        "(3h ago)",
        "earlier-one",
    ):
        assert told in facts
    assert "SMTPError: 421 try later\n\nFile" in done.out
    assert "  boom()\n\N{REPLACEMENT CHARACTER}[2J" in error
    rows = [line.split() for line in attempts.splitlines()]
    assert rows[1] == ["number", "status", "worker", "version", "started", "duration", "error"]
    assert rows[2] == ["1", "failed", "w-1", "1.4.0", "4h", "0.250", "s", "SMTPError:", "421", "try", "1"]
    assert rows[3][:2] == ["2", "lost"]
    assert payload == 'Payload\n{\n  "to": "ada",\n  "n": 1e400,\n  "n": 2\n}\n'
    assert done.err == f"\nreplay it: taskflow dlq replay {LETTER_ID}\n"


def test_show_tells_what_became_of_it(remote: StandIn, taskflow: Taskflow) -> None:
    found = letter(
        status="discarded", resolved_at=ago(minutes=3), resolved_by="ada", resolved_reason="no\nuse",
        operation_id="op-1", executions=None, payload=None, error=None,
    )  # fmt: skip
    remote.answers(SHOW, found)
    done = taskflow("dlq", "show", LETTER_ID)
    for told in (
        "discarded",
        "(3m ago)",
        "ada",
        "no use",
        "op-1",
        "none was told",
        "not kept (yet)",
        "null",
    ):
        assert told in done.out
    assert done.err == ""


def test_show_as_json_is_the_answer(remote: StandIn, taskflow: Taskflow) -> None:
    sent = detail()
    remote.answers(SHOW, sent)
    done = taskflow("dlq", "show", LETTER_ID, "--json")
    assert (done.out.encode(), done.err) == (sent + b"\n", "")


def test_the_hint_reaches_the_same_api(
    remote: StandIn, taskflow: Taskflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKFLOW_URL", "http://127.0.0.1:1")
    remote.answers(SHOW, detail())
    done = taskflow("dlq", "show", LETTER_ID, "--url", f"{remote.url}/api/v1/")
    assert done.err == f"\nreplay it: taskflow dlq replay {LETTER_ID} --url {remote.url}/api/v1/\n"


def test_an_id_leads_nowhere_else(remote: StandIn, taskflow: Taskflow) -> None:
    assert taskflow("dlq", "show", "a/../../tasks?x").code == 3
    assert len(remote.asked) == 1
    assert remote.asked[0].path == "/dead-letters/a%2F..%2F..%2Ftasks%3Fx"
    for nothing in ("", ".."):
        assert taskflow("dlq", "show", nothing).code == 2
    assert len(remote.asked) == 1


LINES = b'{"id":"1"}\n{"id":"2"}\n'
PARTS = (LINES[:5], LINES[5:13], LINES[13:])


def test_export_streams_to_stdout(remote: StandIn, taskflow: Taskflow) -> None:
    remote.answers(EXPORT, Reply(kind="application/x-ndjson", parts=PARTS))
    done = taskflow("dlq", "export", "--type", "a", "--reason", "poison")
    assert (done.code, done.out, done.err) == (0, LINES.decode(), "2 dead letters\n")
    assert remote.asked[0].query == [("type", "a"), ("reason", "poison")]


def test_export_to_a_file(remote: StandIn, taskflow: Taskflow, tmp_path: Path) -> None:
    file = tmp_path / "letters.ndjson"
    remote.answers(EXPORT, Reply(parts=PARTS))
    done = taskflow("dlq", "export", "-o", str(file))
    assert (done.code, done.out, done.err) == (0, "", f"2 dead letters in {file}\n")
    assert file.read_bytes() == LINES
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert taskflow("dlq", "export", "-o", str(file), "--json").json == {"file": str(file), "letters": 2}


def test_an_export_that_breaks_off_leaves_the_file_as_it_was(
    remote: StandIn, taskflow: Taskflow, tmp_path: Path
) -> None:
    file = tmp_path / "letters.ndjson"
    file.write_text("before")
    remote.answers(EXPORT, Reply(parts=PARTS[:2], broken=True))
    done = taskflow("dlq", "export", "-o", str(file))
    assert (done.code, done.out) == (7, "")
    assert f"the connection to {remote.url} was lost" in done.err
    assert len(done.err.splitlines()) == 1
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"letters.ndjson": "before"}


def test_an_export_that_is_refused_writes_nothing(
    remote: StandIn, taskflow: Taskflow, tmp_path: Path
) -> None:
    done = taskflow("dlq", "export", "-o", str(tmp_path / "letters"))
    assert (done.code, done.err) == (3, "taskflow: there is no /dead-letters/export\n")
    assert list(tmp_path.iterdir()) == []


def test_an_export_follows_a_link_and_refuses_what_is_no_file(
    remote: StandIn, taskflow: Taskflow, tmp_path: Path
) -> None:
    remote.answers(EXPORT, Reply(parts=PARTS))
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(file)
    assert taskflow("dlq", "export", "-o", str(link)).code == 0
    assert (link.is_symlink(), file.read_bytes()) == (True, LINES)
    done = taskflow("dlq", "export", "-o", "/dev/null")
    assert (done.code, Path("/dev/null").is_char_device()) == (2, True)
    done = taskflow("dlq", "export", "-o", str(tmp_path / "no" / "file"))
    assert done.code == 1
    assert "No such file or directory" in done.err
