"""Log lines: one an event, safe to print, machine-readable on request."""

from __future__ import annotations

import io
import json
import logging
import re

import pytest

from taskflow.kit.logging import configure, get_logger, logs_debug, one_line


def logged(fmt: str, level: str = "info") -> io.StringIO:
    out = io.StringIO()
    configure(level, fmt, "sample", out)
    return out


def test_json_lines_hold_whatever_is_logged() -> None:
    out = logged("json")
    get_logger("a.b").info(
        "claimed\n", text="x\ud800\x1b[31m", n=2**70, odd=float("nan"), thing=object, no=None
    )
    line = json.loads(out.getvalue())
    assert (line["service"], line["logger"], line["level"], line["event"]) == (
        "sample",
        "a.b",
        "info",
        "claimed\n",
    )
    assert line["n"] == str(2**70)
    assert line["no"] is None
    assert out.getvalue().count("\n") == 1


def test_a_traceback_is_one_json_line_and_an_indented_block_for_people() -> None:
    for fmt in ("json", "console"):
        out = logged(fmt)
        try:
            raise ValueError("bad")
        except ValueError:
            get_logger("x").exception("failed")
        lines = out.getvalue().splitlines()
        assert "ValueError: bad" in out.getvalue()
        assert len(lines) == 1 if fmt == "json" else all(line.startswith("    ") for line in lines[1:])


def test_console_lines_cannot_be_broken_by_what_they_hold() -> None:
    out = logged("console")
    get_logger("x").warning("one\ntwo", field="a\r\nb\x1b[2J", plain=1, words="a b")
    (line,) = out.getvalue().splitlines()
    assert line[13:] == 'warn  one\\ntwo  field=a\\r\\nb\\x1b[2J plain=1 words="a b"'


def test_the_standard_library_takes_the_same_way_and_levels_hold() -> None:
    out = logged("json", "warn")
    logging.getLogger("lib").warning("said %s", "this")
    logging.getLogger("lib").info("not this")
    get_logger("x").info("nor this")
    assert json.loads(out.getvalue())["event"] == "said this"


def test_a_value_that_cannot_be_shown_does_not_cost_the_line() -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError

    assert one_line(Odd()) == "<Odd that cannot be shown: RuntimeError>"
    assert len(one_line("x" * 10_000)) < 5_000


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_what_may_be_secret_is_not_written(fmt: str) -> None:
    out = io.StringIO()
    configure("info", fmt, "api", out)
    get_logger("x").info(
        "key.made", api_key="tfq_hidden1", Authorization="Bearer hidden2", payload={"a": "hidden3"}, token=None,
        facts={"password": "hidden4", "name": "shown1", "headers": [{"cookie": "hidden5"}]}, task_id="shown2",
        error="cannot reach postgres://me:hidden6@shown3/db", said="Bearer hidden7.abc", validate_payloads=True,
        at="nats://hidden8@shown4", by="postgres:///x?user=me&password=hid/den9&host=shown5",
        fault=ValueError("amqp://me:p@hidden10@shown6"),
    )  # fmt: skip
    try:
        raise ValueError("no way to nats://me:hidden11@shown7")
    except ValueError:
        get_logger("x").exception("way.lost")
        logging.getLogger("foreign").exception("no way")
    line = out.getvalue()
    assert "hidden" not in line
    assert "hid/den9" not in line
    assert {f"shown{n}" for n in range(1, 8)} == set(re.findall(r"shown\d", line))
    assert line.count("Traceback") == 2
    assert "true" in line.lower(), "a switch is no secret"


def test_whether_debug_is_written_can_be_asked() -> None:
    configure("info", "json", "api", io.StringIO())
    assert not logs_debug()
    configure("debug", "json", "api", io.StringIO())
    assert logs_debug()
