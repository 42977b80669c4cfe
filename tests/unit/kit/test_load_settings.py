"""Settings: what each annotation takes, and what is said about what it does not take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, field

from taskflow.kit.settings import (
    ProgramSettings,
    Seconds,
    Secret,
    SettingsError,
    Url,
    describe,
    load,
    parse_duration,
    redact,
)


class Lease(ProgramSettings, frozen=True, kw_only=True):
    worker_lease: Annotated[Seconds, Meta(gt=0, le=60)] = 15.0


class Sample(Lease, frozen=True, kw_only=True):
    database_url: Url
    http_port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    probe_port: Annotated[int, Meta(ge=1)] | None = None
    ratio: float = 0.5
    open: bool = False
    queues: list[str] = field(default_factory=lambda: ["default"])
    delays: Annotated[tuple[Annotated[Seconds, Meta(ge=1, le=60)], ...], Meta(max_length=3)] = (5.0,)
    levels: list[Literal[1, 2]] = field(default_factory=list)
    mode: Literal["fast", "safe"] = "safe"
    key: Secret | None = None


def sample(**environ: str) -> Sample:
    return load(Sample, {"DATABASE_URL": "postgres://h/d", **environ})


def test_defaults_hold_where_nothing_is_set_and_empty_is_not_set() -> None:
    found = sample(HTTP_PORT="", PROBE_PORT=" ", QUEUES="")
    assert (found.http_port, found.probe_port, found.queues) == (8080, None, ["default"])
    assert (found.worker_lease, found.log_level) == (15.0, "info")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("WORKER_LEASE", "500ms", 0.5),
        ("WORKER_LEASE", "1m", 60.0),
        ("WORKER_LEASE", "2.5s", 2.5),
        ("HTTP_PORT", "0", 0),
        ("PROBE_PORT", "9000", 9000),
        ("RATIO", "1e-3", 0.001),
        ("OPEN", "Yes", True),
        ("OPEN", "0", False),
        ("QUEUES", " a, b ,,c", ["a", "b", "c"]),
        ("DELAYS", " 1s,, 500ms500ms ,1m", (1.0, 1.0, 60.0)),
        ("DELAYS", ",", ()),
        ("LEVELS", "2,1,2", [2, 1, 2]),
        ("MODE", "fast", "fast"),
        ("LOG_FORMAT", "json", "json"),
    ],
)
def test_text_becomes_a_value(name: str, text: str, value: object) -> None:
    assert getattr(sample(**{name: text}), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("WORKER_LEASE", "15", "a duration such as 500ms, 2s, 1m30s, 24h or 30d"),
        ("WORKER_LEASE", "0", "more than 0 seconds"),
        ("WORKER_LEASE", "61s", "at most 60 seconds"),
        ("WORKER_LEASE", "9" * 400 + "d", "a duration"),
        ("HTTP_PORT", "65536", "at most 65535"),
        ("HTTP_PORT", "1_000", "a whole number"),
        ("HTTP_PORT", "٣", "a whole number"),
        ("PROBE_PORT", "0", "at least 1"),
        ("RATIO", "nan", "a number"),
        ("OPEN", "maybe", "true or false"),
        (
            "DELAYS",
            "1s,soon",
            "a list with commas between, each a duration such as 500ms, 2s, 1m30s, 24h or 30d, at",
        ),
        ("DELAYS", "1s,61s", "at most 60 seconds"),
        ("DELAYS", "0,1s", "at least 1 seconds"),
        ("DELAYS", "1s,1s,1s,1s", "3 long or less"),
        ("LEVELS", "1,3", "a list with commas between, each one of 1 2"),
        ("MODE", "Fast", "one of fast safe"),
        ("LOG_LEVEL", "loud", "one of debug info warn error"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_expected_in_one_line(
    name: str, text: str, expected: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        sample(**{name: text})
    said = str(caught.value)
    assert said.startswith(f'{name}="{text[:20]}')
    assert expected in said
    assert "\n" not in said


def test_what_is_required_and_missing_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^DATABASE_URL is not set; expected a URL$"):
        load(Sample, {})


def test_a_value_with_line_breaks_stays_in_one_line() -> None:
    with pytest.raises(SettingsError) as caught:
        sample(HTTP_PORT="80\n81")
    assert "\n" not in str(caught.value)


def test_a_secret_may_come_from_a_file_and_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hush\n")
    found = sample(KEY_FILE=str(tmp_path / "key"))
    assert found.key == "hush"
    assert describe(found)["key"] == "***"


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"KEY_FILE": "/nowhere"}, "No such file"),
        ({"KEY_FILE": "/nowhere", "KEY": "hush"}, "only one of KEY and KEY_FILE"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(extra: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        sample(**extra)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres://u:p@ss/w@h:5432/d", "postgres://u:***@h:5432/d"),
        ("postgresql:///d?host=/s&user=u", "postgresql:///d?host=/s&user=u"),
        ("postgres://h/d?user=u&password=p&x=1", "postgres://h/d?user=u&password=***&x=1"),
        ("nats://token@127.0.0.1:4222", "nats://***@127.0.0.1:4222"),
        ("nats://a:b@h:1,nats://h:2", "nats://a:***@h:1,nats://h:2"),
        ("http://localhost:8080/a@b", "http://localhost:***@b"),
        ("plain text", "plain text"),
    ],
)
def test_passwords_inside_urls_are_hidden_rather_too_much_than_too_little(text: str, shown: str) -> None:
    assert redact(text) == shown
    if text.startswith("postgres"):
        assert describe(load(Sample, {"DATABASE_URL": text}))["database_url"] == shown


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("1m30s", 90), ("24h", 86400), ("30d", 2592000), ("1h1ms", 3600.001)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "s", "1 s", "-1s", "1s ", "1S", "1w", "1e3s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


def test_an_annotation_without_a_reading_is_an_error_of_the_programmer() -> None:
    class Odd(ProgramSettings, frozen=True, kw_only=True):
        thing: dict[str, Any]

    with pytest.raises(TypeError, match="a setting cannot be of type"):
        load(Odd, {"THING": "x"})
