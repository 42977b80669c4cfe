"""What is wrong with a submitted body: every fault, with its place, up to 100 of them.

Taken only after the decoder of `submission` has refused a body, so clearness goes before speed. It also
takes what that decoder does not know: names of another system that callers may still use (`task_type`), and
`null` beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec
from msgspec import Raw

from taskflow.domain import errors
from taskflow.domain.errors import Problem, TaskflowError
from taskflow.domain.retry import RetryPolicy
from taskflow_api import nested
from taskflow_api.names import SUBMIT_SYNONYMS, unknown
from taskflow_api.problems import PROBLEMS_MAX, refusal
from taskflow_api.strict_json import check_grammar
from taskflow_api.submission import BATCH_ITEMS_MAX, Fault, Item, Submission, Tag, judge

ALIASES = {"task_type": "type"}
"""Read for callers of an older system, never written."""

_EXPECTED = {
    "type": "1 to 128 of A-Z a-z 0-9 _ . : -",
    "priority": "critical, high, normal or low, or a number from 0 to 100",
    "queue": "1 to 64 of a-z 0-9 _ -",
    "name": "text of at most 200 characters, without U+0000",
    "tags": "a list of at most 20 texts",
    "tag": "text of at most 100 characters, without U+0000",
    "run_at": "a time with offset, such as 2026-01-31T12:00:00Z",
    "expires_at": "a time with offset, such as 2026-01-31T12:00:00Z",
    "delay_seconds": "a number from 0 to 31536000",
    "max_attempts": "a whole number from 1 to 100",
    "timeout_seconds": "a number over 0, at most 86400",
    "idempotency_key": "1 to 255 visible ASCII characters",
    "retry": "an object",
    "strategy": "exponential, linear or fixed",
    "base_seconds": "a number from 0 to 31536000",
    "factor": "a number from 1 to 100",
    "max_seconds": "a number from 0 to 31536000",
    "jitter": "none, full or added",
    "jitter_seconds": "a number from 0 to 31536000",
}
_TEXTS = frozenset({"payload", "metadata"})
_NULL = Raw(b"null")

_members_decoder = msgspec.json.Decoder(dict[str, Raw])
_list_decoder = msgspec.json.Decoder(list[Raw])
_item_decoder = msgspec.json.Decoder(Item)
_tag_decoder = msgspec.json.Decoder(Tag)
_retry_decoder = msgspec.json.Decoder(RetryPolicy)


def _decoders(struct: type[msgspec.Struct]) -> dict[str, msgspec.json.Decoder[Any]]:
    return {field.name: msgspec.json.Decoder(field.type) for field in msgspec.structs.fields(struct)}


_FIELDS = _decoders(Submission)
_ITEM_FIELDS = _decoders(Item)
_RETRY_FIELDS = _decoders(RetryPolicy)


def one(body: bytes, now: datetime) -> Submission:
    """The task in a body that the quick decoder refused, or the error that tells all its faults."""
    check_grammar(body)
    said, faults = _examine(body, "", _FIELDS)
    raise_for(list(islice(_all(said, faults, now, ""), PROBLEMS_MAX)))
    return said


def batch(body: bytes, now: datetime) -> list[Item]:
    """The tasks of a batch that the quick decoder refused, or the error that tells up to 100 faults."""
    check_grammar(body)
    found: list[Fault] = []
    members = _members(body)
    if members is None:
        raise refusal(errors.Invalid, [Problem('expected an object with "items"', pointer="")])
    found += [
        Fault(errors.UnknownField, unknown("field", name, ("items",), {"tasks": "items"}, _join("", name)))
        for name in members
        if name != "items"
    ]
    said: list[Item] = []
    for at, raw in enumerate(_items(members, found)):
        item, faults = _quick(raw, f"/items/{at}")
        said.append(item)
        found += _all(item, faults, now, f"/items/{at}")
        if len(found) >= PROBLEMS_MAX:
            break
    raise_for(found[:PROBLEMS_MAX])
    return said


def raise_for(faults: list[Fault]) -> None:
    """Raise the one error for all of `faults`, if there are any."""
    if faults:
        kinds = {fault.kind for fault in faults}
        kind: type[TaskflowError] = kinds.pop() if len(kinds) == 1 else errors.Invalid
        raise refusal(kind, [fault.problem for fault in faults])


def _items(members: Mapping[str, Raw], found: list[Fault]) -> list[Raw]:
    try:
        items = _list_decoder.decode(members.get("items", _NULL))
    except msgspec.ValidationError:
        items = []
    if not 1 <= len(items) <= BATCH_ITEMS_MAX:
        found.append(_invalid("/items", f"expected a list of 1 to {BATCH_ITEMS_MAX} tasks"))
        return []
    return items


def _quick(raw: Raw, at: str) -> tuple[Item, list[Fault]]:
    try:
        return _item_decoder.decode(raw), []
    except msgspec.ValidationError:
        return _examine(raw, at, _ITEM_FIELDS)


def _all(said: Submission, faults: list[Fault], now: datetime, at: str) -> Iterator[Fault]:
    """Faults of the parts, then of the whole; a part is told of once."""
    yield from faults
    told = {fault.problem.pointer or "" for fault in faults}
    if at in told:
        return
    if any(pointer == f"{at}/target" or pointer.startswith(f"{at}/target/") for pointer in told):
        told |= {f"{at}/type", f"{at}/target"}  # a target was said: without its faults nothing is missing
    yield from (fault for fault in judge(said, now, at) if fault.problem.pointer not in told)


def _examine(
    text: bytes | Raw, at: str, fields: Mapping[str, msgspec.json.Decoder[Any]]
) -> tuple[Item, list[Fault]]:
    """Member by member: what could be read of a task, and what is wrong with the rest."""
    said = Item()
    members = _members(text)
    if members is None:
        return said, [_invalid(at, "expected an object")]
    faults: list[Fault] = []
    for name, raw in members.items():
        field = ALIASES.get(name, name)
        if field != name and members.get(field, raw) != raw:
            faults.append(_invalid(_join(at, name), f"differs from {field}; expected one of them"))
        elif field in nested.FLAT:
            continue
        elif field not in fields:
            problem = unknown("field", name, {*fields, *nested.FLAT}, SUBMIT_SYNONYMS, _join(at, name))
            faults.append(Fault(errors.UnknownField, problem))
        else:
            faults += _take(said, field, raw, _join(at, name), fields[field])
    said.callback, flat = nested.flat_callback(members, said.callback, at)
    return said, [*faults, *flat]


def _take(
    said: Item, field: str, raw: Raw, pointer: str, decoder: msgspec.json.Decoder[Any]
) -> Iterator[Fault]:
    """Put one member into `said`, or tell what is wrong with it."""
    if field in _TEXTS:
        setattr(said, field, raw)
        return
    try:
        setattr(said, field, decoder.decode(raw))
    except msgspec.ValidationError:
        if field == "tags":
            yield from _tags(raw, pointer)
        elif field == "retry":
            yield from _retry(raw, pointer)
        elif field in nested.KINDS:
            value, faults = nested.read(field, raw, pointer)
            setattr(said, field, value)
            yield from faults
        else:
            yield _invalid(pointer, f"expected {_EXPECTED[field]}")


def _tags(raw: Raw, pointer: str) -> Iterator[Fault]:
    try:
        tags = _list_decoder.decode(raw)
    except msgspec.ValidationError:
        tags = None
    if tags is None or len(tags) > 20:
        yield _invalid(pointer, f"expected {_EXPECTED['tags']}")
        return
    for at, tag in enumerate(tags):
        try:
            _tag_decoder.decode(tag)
        except msgspec.ValidationError:
            yield _invalid(f"{pointer}/{at}", f"expected {_EXPECTED['tag']}")


def _retry(raw: Raw, pointer: str) -> Iterator[Fault]:
    members = _members(raw)
    if members is None:
        yield _invalid(pointer, f"expected {_EXPECTED['retry']}")
        return
    for name, member in members.items():
        if name not in _RETRY_FIELDS:
            problem = unknown("field", name, _RETRY_FIELDS, {}, _join(pointer, name))
            yield Fault(errors.UnknownField, problem)
            continue
        try:
            _RETRY_FIELDS[name].decode(member)
        except msgspec.ValidationError:
            yield _invalid(_join(pointer, name), f"expected {_EXPECTED[name]}")


def _members(text: bytes | Raw) -> dict[str, Raw] | None:
    try:
        return _members_decoder.decode(text)
    except msgspec.ValidationError:
        return None


def _invalid(pointer: str, detail: str) -> Fault:
    return Fault(errors.Invalid, Problem(detail, pointer=pointer))


def _join(at: str, name: str) -> str:
    """A JSON Pointer (RFC 6901) one step down, of bounded length."""
    return f"{at}/{name[:200].replace('~', '~0').replace('/', '~1')}"
