"""Settings: a frozen Struct filled from the environment, once, by the program that starts.

A field `worker_lease: Seconds = 15.0` is read from `WORKER_LEASE`. What is missing or wrong ends the program
with one line that names the variable, its value and what is expected. `lifecycle.program` calls it.

    class MySettings(ProgramSettings, frozen=True, kw_only=True):
        database_url: Url
        http_port: Annotated[int, Meta(ge=0, le=65535)] = 8080

A service composes its settings by inheriting from such a Struct (from one: two with fields do not combine).
An empty variable counts as not set. A `Secret` or `Url` may come from the file that `<NAME>_FILE` names.
`Meta(description=...)` says what is expected in your words.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import FieldInfo, fields

S = TypeVar("S", bound=Struct)

Seconds = Annotated[float, Meta(extra={"kind": "seconds"})]
"""A number of seconds, written as a duration: `500ms`, `2s`, `1m30s`, `24h`, `30d`."""
Secret = Annotated[str, Meta(extra={"kind": "secret"})]
"""Text that is never shown. `<NAME>_FILE` may name a file that holds it."""
Url = Annotated[str, Meta(extra={"kind": "url"})]
"""A URL that may hold a password, which is never shown. `<NAME>_FILE` may name a file that holds it."""

LogLevel = Literal["debug", "info", "warn", "error"]
LogFormat = Literal["console", "json"]


class ProgramSettings(Struct, frozen=True, kw_only=True):
    """What every program reads."""

    log_level: LogLevel = "info"
    log_format: LogFormat = "console"


class SettingsError(Exception):
    """A variable is missing or wrong. `str()` is one line, fit for stderr."""

    def __init__(self, name: str, value: str | None, expected: str) -> None:
        self.name, self.value, self.expected = name, value, expected
        said = f"{name} is not set" if value is None else f"{name}={_shown(value)} is not valid"
        super().__init__(" ".join(f"{said}; expected {expected}".split("\n")))


def environment() -> Mapping[str, str]:
    """The environment of this process. Rooms below the command line read it here or not at all."""
    return os.environ


def load(cls: type[S], environ: Mapping[str, str]) -> S:
    """Fill `cls` from `environ`. Raises SettingsError for the first variable that is missing or wrong."""
    values: dict[str, Any] = {}
    for field in fields(cls):
        name = field.name.upper()
        want = _Want(field.type)
        text, source = _lookup(name, want.kind, environ)
        if text is not None:
            values[field.name] = want.parse(source, text)
        elif _is_required(field):
            raise SettingsError(name, None, want.expected())
    return cls(**values)


def describe(settings: Struct) -> dict[str, Any]:
    """The settings by field name, without secrets and without the passwords inside URLs: fit for a log."""
    shown: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value is not None and _Want(field.type).kind == "secret":
            value = "***"
        elif isinstance(value, str):
            value = redact(value)
        elif isinstance(value, list | tuple):
            value = [redact(item) if isinstance(item, str) else item for item in value]
        shown[field.name] = value
    return shown


def redact(text: str) -> str:
    """`text` with the passwords of URLs and of connection strings, and bare tokens of NATS URLs, as `***`."""
    text = _URL_PASSWORD.sub(r"\1:***@", text)
    text = _URL_TOKEN.sub(r"\1***@", text)
    return _PASSWORD_PARAMETER.sub(r"\1***", text)


# Greedy up to the last @, so that a password that itself holds @ or / is hidden as a whole.
_URL_PASSWORD = re.compile(r"(://[^:@/\s]*):\S*@")
_URL_TOKEN = re.compile(r"\b((?:nats|tls|wss?)://)[^:@/\s,]+@")
_PASSWORD_PARAMETER = re.compile(r"(password\s*=\s*)('[^']*'|[^&\s]+)", re.IGNORECASE)


def parse_duration(text: str) -> float:
    """Seconds of `500ms`, `2s`, `1m30s`, `24h`, `30d` or `0`. Raises ValueError for anything else."""
    if text == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))
    if seconds > _DURATION_MAX:
        raise ValueError(f"{text!r} is too long a duration")
    return seconds


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+")
_DURATION_MAX = 100 * 365 * 86400.0
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_BOOLS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class _Want:
    """What a field's annotation asks for: its kind, its bounds, and how to say so."""

    def __init__(self, annotation: Any) -> None:
        self.meta: list[Meta] = []
        self.item: _Want | None = None
        """What each item of a list must be."""
        self.kind, self.choices = self._read(annotation)

    def _read(self, annotation: Any) -> tuple[str, tuple[Any, ...]]:
        origin = get_origin(annotation)
        if origin is Annotated:
            inner, *metas = get_args(annotation)
            self.meta += [meta for meta in metas if isinstance(meta, Meta)]
            kind, choices = self._read(inner)
            said = [meta.extra["kind"] for meta in self.meta if meta.extra and "kind" in meta.extra]
            return (said[0] if said else kind), choices
        if origin in (Union, UnionType):
            inner = [option for option in get_args(annotation) if option is not NoneType]
            if len(inner) == 1:
                return self._read(inner[0])
        if origin is Literal:
            return "choice", get_args(annotation)
        if annotation in (str, int, float, bool):
            return annotation.__name__, ()
        if origin is list or (origin is tuple and get_args(annotation)[1:] == (...,)):
            self.item = _Want(get_args(annotation)[0])
            if self.item.kind in _OF_ITEMS:
                return origin.__name__, ()
        raise TypeError(f"a setting cannot be of type {annotation!r}")

    def parse(self, name: str, text: str) -> Any:
        """The value that `text` stands for, or SettingsError."""
        try:
            value = self._value(text)
        except ValueError:
            value = None
        if value is None or not self._within(value):
            raise SettingsError(name, self._quotable(text), self.expected())
        return value

    def _value(self, text: str) -> Any:
        if self.kind == "choice":
            return next((choice for choice in self.choices if str(choice) == text), None)
        if self.item is not None:
            return self._items(self.item, text)
        parse = _PARSERS.get(self.kind)
        return text if parse is None else parse(text)

    def _items(self, item: _Want, text: str) -> Any:
        values = [item._value(word.strip()) for word in text.split(",") if word.strip()]
        if not all(value is not None and item._within(value) for value in values):
            return None
        return values if self.kind == "list" else tuple(values)

    def _within(self, value: Any) -> bool:
        size = len(value) if isinstance(value, str | list | tuple) else None
        return all(
            (meta.ge is None or value >= meta.ge)
            and (meta.gt is None or value > meta.gt)
            and (meta.le is None or value <= meta.le)
            and (meta.lt is None or value < meta.lt)
            and (meta.min_length is None or size is None or size >= meta.min_length)
            and (meta.max_length is None or size is None or size <= meta.max_length)
            and (meta.pattern is None or bool(re.search(meta.pattern, str(value))))
            for meta in self.meta
        )

    def expected(self) -> str:
        """What a right value looks like, in words."""
        described = [meta.description for meta in self.meta if meta.description]
        return described[-1] if described else ", ".join([self._noun(), *self._bounds()])

    def _noun(self) -> str:
        if self.kind == "choice":
            return "one of " + " ".join(str(choice) for choice in self.choices)
        if self.item is not None and (self.item.kind != "str" or self.item.meta):
            return f"{_NOUNS[self.kind]}, each {self.item.expected()}"
        return _NOUNS[self.kind]

    def _bounds(self) -> list[str]:
        unit = " seconds" if self.kind == "seconds" else ""
        said: list[str] = []
        for meta in self.meta:
            for limit, words in (
                (meta.ge, "at least"), (meta.gt, "more than"), (meta.le, "at most"), (meta.lt, "less than"),
            ):  # fmt: skip
                if limit is not None:
                    said.append(f"{words} {limit}{unit}")
            if meta.min_length is not None:
                said.append(f"{meta.min_length} long or more")
            if meta.max_length is not None:
                said.append(f"{meta.max_length} long or less")
            if meta.pattern is not None and not meta.description:
                said.append(f"like {meta.pattern}")
        return said

    def _quotable(self, text: str) -> str:
        return "***" if self.kind == "secret" else redact(text)


def _parse_int(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


def _parse_float(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


_PARSERS: dict[str, Callable[[str], Any]] = {
    "int": _parse_int,
    "float": _parse_float,
    "bool": lambda text: _BOOLS.get(text.lower()),
    "seconds": parse_duration,
}
_OF_ITEMS = ("str", "int", "float", "seconds", "choice")
_NOUNS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "seconds": "a duration such as 500ms, 2s, 1m30s, 24h or 30d",
    "secret": "a secret",
    "url": "a URL",
    "list": "a list with commas between",
    "tuple": "a list with commas between",
}
_FILE_BYTES_MAX = 65536


def _lookup(name: str, kind: str, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """The text for `name`, and the variable it came from (`<NAME>_FILE` for a secret in a file)."""
    text = environ.get(name, "").strip()
    if kind not in ("secret", "url"):
        return text or None, name
    path = environ.get(f"{name}_FILE", "").strip()
    if text and path:
        raise SettingsError(f"{name}_FILE", path, f"only one of {name} and {name}_FILE")
    if not path:
        return text or None, name
    try:
        with Path(path).open("rb") as file:
            held = file.read(_FILE_BYTES_MAX).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise SettingsError(f"{name}_FILE", path, f"a readable file with the value ({why})") from None
    if not held:
        raise SettingsError(f"{name}_FILE", path, "a file that is not empty")
    return held, name


def _is_required(field: FieldInfo) -> bool:
    return field.default is NODEFAULT and field.default_factory is NODEFAULT


def _shown(value: str) -> str:
    """A value in quotes, on one line, of bounded length."""
    return json.dumps(value if len(value) <= 200 else value[:200] + "...", ensure_ascii=False)
