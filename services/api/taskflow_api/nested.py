"""What is wrong with a submitted `callback` or `target`, member by member; and how older callers say the former.

Taken only after the decoder of `submission` has refused a body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import NODEFAULT, Raw
from msgspec.structs import fields, replace

from taskflow.domain import errors
from taskflow.domain.callback import CallbackWish, TargetWish
from taskflow.domain.errors import Problem
from taskflow_api.fields import expected_of
from taskflow_api.names import unknown
from taskflow_api.submission import Fault

KINDS: dict[str, type[CallbackWish] | type[TargetWish]] = {"callback": CallbackWish, "target": TargetWish}
FLAT = {f"callback_{field.name}": field.name for field in fields(CallbackWish)}
"""Read for callers of an older system, never written: `callback_url` is `callback.url`."""
_OLD_EVENTS = {"task.revoked": "task.cancelled"}
_SYNONYMS = {
    "uri": "url", "endpoint": "url", "href": "url", "event": "events", "on": "events", "signing_secret": "secret",
    "max_tries": "max_attempts", "max_retries": "max_attempts", "verb": "method", "http_method": "method",
}  # fmt: skip
_NULL = Raw(b"null")


class FlatCallback(CallbackWish, frozen=True, forbid_unknown_fields=True):
    """One that was said with the flat names, and is told its faults by them."""


_members = msgspec.json.Decoder(dict[str, Raw])
_events = msgspec.json.Decoder(list[str])


def read(name: str, raw: Raw, pointer: str) -> tuple[Any, list[Fault]]:
    """What could be read of a callback or target, and all that is wrong with it."""
    try:
        members = _members.decode(raw)
    except msgspec.ValidationError:
        return None, [_invalid(pointer, "expected an object with a url, or null")]
    return _filled(KINDS[name], members, pointer, {one: f"{pointer}/{_escaped(one)}" for one in members})


def flat_callback(
    members: Mapping[str, Raw], said: CallbackWish | None, at: str
) -> tuple[CallbackWish | None, list[Fault]]:
    """The callback that the flat names ask for, if they are there; else the one that was said."""
    flat = {FLAT[name]: raw for name, raw in members.items() if name in FLAT and raw != _NULL}
    if not flat:
        return said, []
    if members.get("callback", _NULL) != _NULL:
        return said, [
            _invalid(f"{at}/callback_{next(iter(flat))}", "stands beside callback; expected one of them")
        ]
    pointers = {name: f"{at}/callback_{name}" for name in fields_of(CallbackWish)}
    return _filled(FlatCallback, flat, at, pointers)


def as_said(problem: Problem, callback: CallbackWish | None, at: str) -> Problem:
    """A problem below `at`/callback, with the place where it was said."""
    if not isinstance(callback, FlatCallback) or problem.pointer is None:
        return problem
    if problem.pointer == f"{at}/callback":
        return replace(problem, pointer=f"{at}/callback_url")
    return replace(problem, pointer=problem.pointer.replace(f"{at}/callback/", f"{at}/callback_", 1))


def fields_of(kind: type[CallbackWish] | type[TargetWish]) -> list[str]:
    """The names of its members."""
    return [field.name for field in fields(kind)]


def _filled(
    kind: type[CallbackWish] | type[TargetWish],
    members: Mapping[str, Raw],
    at: str,
    pointers: Mapping[str, str],
) -> tuple[Any, list[Fault]]:
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    for name in members:
        if name not in fields_of(kind):
            problem = unknown("field", name, fields_of(kind), _SYNONYMS, pointers[name])
            faults.append(Fault(errors.UnknownField, problem))
    for field in fields(kind):
        pointer = pointers.get(field.name, f"{at}/{field.name}")
        if field.name in members:
            try:
                values[field.name] = msgspec.json.decode(
                    _present(field.name, members[field.name]), type=field.type
                )
            except msgspec.ValidationError:
                faults.append(_invalid(pointer, f"expected {expected_of(field)}"))
        elif field.default is NODEFAULT:
            faults.append(_invalid(pointer, f"is required; expected {expected_of(field)}"))
    return (None if faults else kind(**values)), faults


def _present(name: str, raw: Raw) -> Raw | bytes:
    """The names of events that an older system has, as ours."""
    if name != "events":
        return raw
    try:
        return msgspec.json.encode([_OLD_EVENTS.get(event, event) for event in _events.decode(raw)])
    except msgspec.ValidationError:
        return raw


def _invalid(pointer: str, detail: str) -> Fault:
    return Fault(errors.Invalid, Problem(detail, pointer=pointer))


def _escaped(name: str) -> str:
    return name[:200].replace("~", "~0").replace("/", "~1")
