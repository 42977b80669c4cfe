"""Bodies of bulk calls: which things, how fast, with which canary; or only a look at what would match."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from taskflow.domain import errors
from taskflow.domain.errors import Problem
from taskflow.domain.operation import Action, CanaryPlan, Plan
from taskflow.engine.operations import ITEMS_MAX
from taskflow_api.bodies import REASON_CHARS_MAX, members_of, reason_in
from taskflow_api.names import BULK_SYNONYMS, QUERY_SYNONYMS, unknown
from taskflow_api.operation import Call
from taskflow_api.problems import PROBLEMS_MAX, refusal
from taskflow_api.queries import VALUES_MAX, Parameter, Values

CANARY_ITEMS_MAX = 10_000
RATE_DEFAULT = 100.0
RATE_LEAST, RATE_MOST = 0.1, 10_000.0
WAIT_SECONDS_MAX = 86_400
FIELDS = ("filter", "all", "limit", "rate_per_second", "dry_run", "reason")

# Floats that are whole: JSON knows no integers, and 5.0 is 5.
Limit = Annotated[float, Meta(ge=1, le=ITEMS_MAX, multiple_of=1)]
Items = Annotated[float, Meta(ge=0, le=CANARY_ITEMS_MAX, multiple_of=1)]
Rate = Annotated[float, Meta(ge=RATE_LEAST, le=RATE_MOST)]


_Filter = dict[str, str | Annotated[list[str], Meta(min_length=1)]]


class CanaryBody(Struct, forbid_unknown_fields=True):
    """The canary as a body bears it."""

    first: Annotated[float, Meta(ge=1, le=CANARY_ITEMS_MAX, multiple_of=1)]
    stop_if_failed: Items = 0
    wait_seconds: Annotated[float, Meta(ge=1, le=WAIT_SECONDS_MAX)] = 300.0


_KINDS: dict[str, tuple[Any, str]] = {
    "all": (bool, "true or false"),
    "dry_run": (bool, "true or false"),
    "limit": (Limit | None, f"a whole number from 1 to {ITEMS_MAX}, or null"),
    "rate_per_second": (Rate, f"a number from {RATE_LEAST:g} to {RATE_MOST:g}"),
    "canary": (
        CanaryBody | None,
        f"an object with first (1 to {CANARY_ITEMS_MAX}), stop_if_failed (0 to {CANARY_ITEMS_MAX}) and wait_seconds "
        f"(1 to {WAIT_SECONDS_MAX}), or null",
    ),
}


class BulkRequest(Struct, frozen=True):
    """A bulk call, read. `filters` are values by the name of their parameter."""

    plan: Plan
    filters: Values
    dry_run: bool


async def read_bulk(
    call: Call, action: Action, filters: tuple[Parameter, ...], *, canary: bool
) -> BulkRequest:
    """The body of a bulk call; all faults are told at once. `canary`: whether one may be asked for."""
    known = (*FIELDS, "canary") if canary else FIELDS
    members = await members_of(call, known, BULK_SYNONYMS)
    problems: list[Problem] = []
    said = {name: _value(name, members[name], problems) for name in _KINDS if name in members}
    reason = reason_in(members, problems)
    values, text = _filter(members.get("filter"), filters, problems)
    if text == "{}" and said.get("all") is not True and not problems:
        detail = 'an empty filter matches everything; expected a filter, or "all": true'
        problems.append(Problem(detail, pointer="/filter"))
    if problems:
        raise refusal(errors.Invalid, problems[:PROBLEMS_MAX])
    asked: CanaryBody | None = said.get("canary")
    plan = Plan(
        action=action,
        filter=text,
        limit=int(limit) if (limit := said.get("limit")) is not None else None,
        rate_per_second=said.get("rate_per_second", RATE_DEFAULT),
        canary=(
            CanaryPlan(int(asked.first), int(asked.stop_if_failed), asked.wait_seconds) if asked else None
        ),
        by=call.by(reason),
    )
    return BulkRequest(plan, values, said.get("dry_run", False))


def _value(name: str, raw: msgspec.Raw, problems: list[Problem]) -> Any:
    kind, expected = _KINDS[name]
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError:
        problems.append(Problem(f"expected {expected}", pointer=f"/{name}"))
        return None


def _filter(
    raw: msgspec.Raw | None, filters: tuple[Parameter, ...], problems: list[Problem]
) -> tuple[Values, str]:
    """The values of a filter, read as those of a query string are, and its text."""
    values: Values = {known.name: () if known.many else None for known in filters}
    if raw is None:
        return values, "{}"
    by_name = {known.name: known for known in filters}
    try:
        said = msgspec.json.decode(raw, type=_Filter)
    except msgspec.ValidationError:
        detail = "expected an object whose members are a text, or a list of one text or more"
        problems.append(Problem(detail, pointer="/filter"))
        return values, "{}"
    strange = [
        unknown("filter", name, by_name, QUERY_SYNONYMS, _at(name)) for name in said if name not in by_name
    ]
    if strange:
        raise refusal(errors.UnknownField, strange[:PROBLEMS_MAX])
    for name, value in said.items():
        values[name] = _read(by_name[name], value, problems)
    return values, msgspec.json.encode(said).decode()


def _read(known: Parameter, said: str | list[str], problems: list[Problem]) -> Any:
    texts = [said] if isinstance(said, str) else said
    if len(texts) > (VALUES_MAX if known.many else 1):
        expected = f"at most {VALUES_MAX} values" if known.many else "one value"
        problems.append(Problem(f"expected {expected}", pointer=_at(known.name)))
        return () if known.many else None
    found = tuple(_each(known.read, texts, known.name, problems))
    return found if known.many else next(iter(found), None)


def _each(read: Callable[[str], Any], texts: list[str], name: str, problems: list[Problem]) -> Iterator[Any]:
    for text in texts:
        try:
            yield read(text)
        except ValueError as error:
            problems.append(Problem(f"expected {error}", pointer=_at(name)))


def _at(name: str) -> str:
    return f"/filter/{name[:200].replace('~', '~0').replace('/', '~1')}"


def body_schema(filters: tuple[Parameter, ...], *, canary: bool) -> dict[str, Any]:
    """What such a body looks like, for the document."""
    members: dict[str, Any] = {
        "filter": {
            "type": "object",
            "properties": {known.name: _member_schema(known) for known in filters},
            "additionalProperties": False,
        },
        "all": {"type": "boolean", "default": False, "description": "Needed if the filter is empty"},
        "limit": {"type": ["integer", "null"], "minimum": 1, "maximum": ITEMS_MAX},
        "rate_per_second": {
            "type": "number", "minimum": RATE_LEAST, "maximum": RATE_MOST, "default": RATE_DEFAULT,
        },
        "dry_run": {"type": "boolean", "default": False, "description": "Only tell what would match"},
        "reason": {
            "type": ["string", "null"], "minLength": 1, "maxLength": REASON_CHARS_MAX, "pattern": r"^[^\x00]*$",
        },
    }  # fmt: skip
    if canary:
        members["canary"] = {"anyOf": [{"$ref": "#/components/schemas/CanaryBody"}, {"type": "null"}]}
    narrows = {"required": ["filter"], "properties": {"filter": {"minProperties": 1}}}
    all_of_them = {"required": ["all"], "properties": {"all": {"const": True}}}
    return {
        "type": "object",
        "properties": members,
        "additionalProperties": False,
        "anyOf": [narrows, all_of_them],
    }


def _member_schema(known: Parameter) -> dict[str, Any]:
    options: list[Any] = [known.schema]
    if known.many:
        options.append({"type": "array", "items": known.schema, "minItems": 1, "maxItems": VALUES_MAX})
    return {"anyOf": options, "description": known.description}
