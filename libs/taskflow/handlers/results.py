"""The strict encoder of results: what JSON cannot say is refused, not bent.

msgspec alone would write NaN as null, sets as arrays and bytes as base64; a caller would read something that
the handler never returned. So a walk checks first, within a budget that also ends cycles and shared parts.
"""

from __future__ import annotations

import json
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw, Struct

RESULT_BYTES_MAX = 256 * 1024
DEPTH_MAX = 128

_AS_TEXT = (datetime, date, time, timedelta, UUID)
_ESCAPE = re.compile(
    r"\\(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL
)
_LONE_ESCAPE = 5  # the length of `udXXX`, an escaped surrogate without its partner


class UnstorableResult(Exception):
    """What a handler returned is not JSON, or too much of it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = ""

    def __str__(self) -> str:
        return f"{self.reason} (at result{self.path[:200]})" if self.path else self.reason


def encode_result(value: object, given: Raw | None = None, given_text: str = "") -> str:
    """`value` as JSON text; for the very payload the handler was `given` as Raw, its text unchanged."""
    if given is not None and value is given:
        text = given_text
    else:
        _Check(given).check(value, 0)
        text = _encode(value)
    if len(text) > RESULT_BYTES_MAX or (not text.isascii() and len(text.encode()) > RESULT_BYTES_MAX):
        raise _too_large()
    return text


def _too_large() -> UnstorableResult:
    return UnstorableResult(f"the result is over {RESULT_BYTES_MAX} bytes of JSON text")


def _encode(value: object) -> str:
    try:
        try:
            return _ENCODER.encode(value).decode()
        except UnicodeEncodeError:
            return _ENCODER.encode(_mended(_plain(value))).decode()
    except UnicodeDecodeError as error:
        raise UnstorableResult("a Raw part of the result is not UTF-8") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise UnstorableResult(f"the result is not JSON: {error}") from error


def _base_of(value: object) -> object:
    """Subclasses of the plain types (numpy.float64 is a float) count as what they are derived from."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} is not JSON")


def _plain(value: object) -> Any:
    return msgspec.to_builtins(value, enc_hook=_base_of, builtin_types=(Raw,))


_ENCODER = msgspec.json.Encoder(enc_hook=_base_of)


def _mended(value: Any) -> Any:
    """`value` with unpaired surrogates replaced by U+FFFD."""
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mended(item) for item in value]
    return value


class _Check:
    """The walk: raises UnstorableResult at the first thing that JSON cannot say."""

    def __init__(self, given: Raw | None) -> None:
        self._given = given
        self._left = RESULT_BYTES_MAX

    def check(self, value: object, depth: int) -> None:
        """Refuse `value` if it, or anything in it, is not JSON."""
        if value is None or isinstance(value, (bool, *_AS_TEXT)):
            self._spend(1)
        elif isinstance(value, Enum):
            self.check(value.value, depth)
        elif isinstance(value, str):
            self._spend(len(value) + 2)
        elif isinstance(value, int):
            self._spend(1 + value.bit_length() * 3 // 10)
        elif isinstance(value, (float, Decimal)):
            self._number(value)
        elif isinstance(value, Raw):
            self._raw(value)
        else:
            self._container(value, depth + 1)

    def _container(self, value: object, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise UnstorableResult(f"the result is nested over {DEPTH_MAX} levels deep")
        self._spend(2)
        if isinstance(value, dict):
            for key, item in value.items():
                if not isinstance(key, str):
                    raise UnstorableResult(f"a key of the result is {type(key).__name__}; expected str")
                self._spend(len(key) + 3)
                self._part(key, item, depth)
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                self._spend(1)
                self._part(index, item, depth)
        elif isinstance(value, Struct):
            for name in value.__struct_fields__:
                if (item := getattr(value, name, UNSET)) is not UNSET:
                    self._part(name, item, depth)
        else:
            raise UnstorableResult(
                f"the result holds a {type(value).__name__}; expected None, bool, int, float, str, list, "
                "dict, Struct, datetime, UUID or Decimal"
            )

    def _part(self, step: str | int, item: object, depth: int) -> None:
        try:
            self.check(item, depth)
        except UnstorableResult as error:
            error.path = (f"[{step}]" if isinstance(step, int) else f".{step}") + error.path
            raise

    def _number(self, value: float | Decimal) -> None:
        if not isfinite(value):
            raise UnstorableResult(f"the result holds {value}; JSON has finite numbers only")
        self._spend(1)

    def _raw(self, value: Raw) -> None:
        data = bytes(value)
        self._spend(len(data))
        if value is not self._given:
            _check_json(data)

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _too_large()


def _is_lone(escape: str) -> bool:
    return len(escape) == _LONE_ESCAPE


def _check_json(data: bytes) -> None:
    """Refuse a Raw part unless it is strict JSON, not nested too deep, without lone surrogates."""
    try:
        text = data.decode()
        depth = _depth(json.loads(text, parse_constant=_refuse, parse_int=len, parse_float=len))
    except (ValueError, RecursionError) as error:
        raise UnstorableResult(f"a Raw part of the result is not JSON: {error}") from error
    if depth > DEPTH_MAX:
        raise UnstorableResult(f"the result is nested over {DEPTH_MAX} levels deep")
    if any(_is_lone(found[1]) for found in _ESCAPE.finditer(text)):
        raise UnstorableResult("a Raw part of the result holds an unpaired surrogate")


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _depth(value: object) -> int:
    """How deep lists and dicts are nested in what json.loads gave."""
    level, depth = [value], 0
    while level := [item for item in level if isinstance(item, (list, dict))]:
        depth += 1
        level = [part for item in level for part in (item.values() if isinstance(item, dict) else item)]
    return depth
