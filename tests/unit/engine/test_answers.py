"""What others answer, as we record it: nothing they write may break us."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime

import pytest

from taskflow.engine.answers import first_kib, retry_after, said
from taskflow.kit.clock import now
from taskflow.kit.outgoing import Answer


def answered(status: int = 503, body: bytes = b"", **headers: str) -> Answer:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Answer(status, "", named, body, 0.1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (" 7 ", 7),
        ("3600", 3_600),
        ("99999999999999999999", 3_600),
        ("Mon, 01 Jan 2024 00:00:00 GMT", 0),
    ],
)
def test_a_time_to_come_back_is_read_and_bounded(text: str, seconds: float) -> None:
    assert retry_after(answered(retry_after=text)) == seconds


def test_a_date_to_come_back_is_read() -> None:
    found = retry_after(answered(retry_after=format_datetime(now() + timedelta(seconds=90), usegmt=True)))
    assert found is not None
    assert 80 < found <= 90


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "-1",
        "1.5",
        "²",
        "Mon, 01 Jan 2024 00:00:00 +9999999999999",
        "Mon, 99 Jan 2024",
        "x" * 9_000,
    ],
)
def test_nonsense_is_no_time(text: str) -> None:
    assert retry_after(answered(retry_after=text)) is None


def test_what_is_kept_of_a_body_can_be_stored() -> None:
    assert first_kib(b"a\0b\xff" + b"c" * 2_000) == "a�b�" + "c" * 1_020
    assert said(answered(302, location="x" * 999)).startswith("RedirectRefused: answered 302, to 'xxx")
    assert said(answered(302)).endswith("to 'nowhere'; redirects are not followed")
