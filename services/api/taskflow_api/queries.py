"""Query strings, read strictly: what is not known is refused, what is known is checked, and all faults are
told.

A `Parameter` says at once how a value is read and how the OpenAPI document describes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

from msgspec import Struct

from taskflow.domain import errors
from taskflow.domain.errors import Problem
from taskflow.kit.ids import is_id
from taskflow_api.names import QUERY_SYNONYMS, unknown
from taskflow_api.problems import PROBLEMS_MAX, refusal
from taskflow_api.times import EXPECTED_TIME, instant

VALUES_MAX = 100
"""How often a parameter may be repeated."""
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,3})?")
_WHOLE = re.compile(r"-?[0-9]{1,18}")

Values = dict[str, Any]


class Parameter(Struct, frozen=True):
    """One query parameter. `read` raises ValueError with what is expected. `many`: it may be repeated."""

    name: str
    description: str
    schema: dict[str, Any]
    read: Callable[[str], Any]
    many: bool = False
    default: Any = None


def read_query(raw: bytes, parameters: tuple[Parameter, ...]) -> Values:
    """The values of a query string by name; a parameter that may be repeated gives a tuple."""
    values: Values = {known.name: () if known.many else known.default for known in parameters}
    if not raw:
        return values
    by_name = {known.name: known for known in parameters}
    strange: list[Problem] = []
    wrong: list[Problem] = []
    seen: dict[str, int] = {}
    for name, text in _pairs(raw):
        known = by_name.get(name)
        if known is None:
            strange.append(unknown("parameter", name, by_name, QUERY_SYNONYMS))
            continue
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > (VALUES_MAX if known.many else 1):
            times = f"at most {VALUES_MAX} times" if known.many else "once"
            wrong.append(Problem(f"expected {times}", parameter=name))
            continue
        try:
            value = known.read(text)
        except ValueError as error:
            wrong.append(Problem(f"expected {error}", parameter=name))
            continue
        values[name] = (*values[name], value) if known.many else value
    if strange or wrong:
        kind = errors.Invalid if wrong else errors.UnknownField
        raise refusal(kind, [*strange, *wrong][:PROBLEMS_MAX])
    return values


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError as error:
        raise refusal(errors.Invalid, [Problem(f"the query string cannot be read: {error}")]) from None


def one_of(name: str, choices: Iterable[str], description: str, *, many: bool = True) -> Parameter:
    """One of a few words."""
    words = tuple(str(choice) for choice in choices)

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return text

    return Parameter(name, description, {"type": "string", "enum": list(words)}, read, many)


def matching(name: str, pattern: str, expected: str, description: str, *, many: bool = True) -> Parameter:
    r"""Text of a certain form; `pattern` is written with \A and \Z."""
    form = re.compile(pattern)

    def read(text: str) -> str:
        if form.search(text) is None:
            raise ValueError(expected)
        return text

    schema = {"type": "string", "pattern": ecma(pattern)}
    return Parameter(name, description, schema, read, many)


def id_of(name: str, description: str, *, many: bool = False) -> Parameter:
    """An id."""

    def read(text: str) -> str:
        if not is_id(text):
            raise ValueError("an id, such as 019a2b3c-0000-7000-8000-000000000000")
        return text.lower()

    return Parameter(name, description, {"type": "string", "format": "uuid"}, read, many)


def text_of(name: str, length_max: int, description: str, *, many: bool = False) -> Parameter:
    """Any text that PostgreSQL can hold, of bounded length."""

    def read(text: str) -> str:
        if not 1 <= len(text) <= length_max or "\0" in text:
            raise ValueError(f"1 to {length_max} characters, without U+0000")
        return text

    schema = {"type": "string", "minLength": 1, "maxLength": length_max, "pattern": r"^[^\x00]*$"}
    return Parameter(name, description, schema, read, many)


def time_of(name: str, description: str) -> Parameter:
    """A moment."""
    return Parameter(
        name, f"{description}: {EXPECTED_TIME}", {"type": "string", "format": "date-time"}, instant
    )


def whole(name: str, least: int, most: int, default: int, description: str) -> Parameter:
    """A whole number."""

    def read(text: str) -> int:
        if _WHOLE.fullmatch(text) is None or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    schema = {"type": "integer", "minimum": least, "maximum": most, "default": default}
    return Parameter(name, description, schema, read, default=default)


def seconds(name: str, most: int, description: str) -> Parameter:
    """A number of seconds from 0 on."""

    def read(text: str) -> float:
        if _NUMBER.fullmatch(text) is None or not 0 <= float(text) <= most:
            raise ValueError(f"a number from 0 to {most}")
        return float(text)

    schema = {"type": "number", "minimum": 0, "maximum": most, "default": 0}
    return Parameter(name, description, schema, read, default=0.0)


def parts_of(name: str, choices: tuple[str, ...], description: str) -> Parameter:
    """Some of a few words, with commas between."""

    def read(text: str) -> tuple[str, ...]:
        parts = tuple(text.split(","))
        if not set(parts) <= set(choices):
            raise ValueError(f"some of {', '.join(choices)}, with commas between")
        return parts

    word = "|".join(choices)
    schema = {"type": "string", "pattern": f"^({word})(,({word}))*$"}
    return Parameter(name, description, schema, read, default=())


def ecma(pattern: str) -> str:
    r"""A pattern of ours as ECMA 262 writes it: `\A` is `^`, and `\Z` is `$`."""
    return pattern.replace(r"\A", "^").replace(r"\Z", "$")
