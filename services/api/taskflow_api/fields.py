"""Bodies of a few plain fields: read by a Struct, each field by itself, so that all faults are told at once.

What is expected of a field is the `description` of its `Meta`; the OpenAPI document tells the same.
"""

from __future__ import annotations

from typing import Any, TypeVar, get_args
from urllib.parse import parse_qsl

import msgspec
from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import FieldInfo, fields

from taskflow.domain import errors
from taskflow.domain.errors import Problem
from taskflow_api.bodies import members_of
from taskflow_api.names import unknown
from taskflow_api.operation import FORM, Call, kind_of
from taskflow_api.problems import PROBLEMS_MAX, refusal

S = TypeVar("S", bound=Struct)

SYNONYMS = {
    "login": "username",
    "user": "username",
    "name": "username",
    "mail": "email",
    "password2": "password_confirm",
    "password_confirmation": "password_confirm",
    "confirm_password": "password_confirm",
    "refresh": "refresh_token",
    "access": "token",
    "access_token": "token",
    "current_password": "old_password",
    "new_password1": "new_password",
    "new_password2": "new_password_confirm",
    "expires": "expires_at",
    "scope": "scopes",
}


async def read_fields(call: Call, kind: type[S]) -> S:
    """The body as a `kind`. Raises Invalid or UnknownField for all that is wrong with it."""
    if kind_of(call) == FORM:
        return _filled(kind, await _form_of(call, kind))
    known = tuple(field.encode_name for field in fields(kind))
    return _filled(kind, await members_of(call, known, SYNONYMS))


async def _form_of(call: Call, kind: type[Struct]) -> dict[str, msgspec.Raw]:
    """The pairs of a form, as members of JSON. What OAuth 2 adds to them (RFC 6749, 4.3.2) is passed over."""
    try:
        pairs = parse_qsl(
            (await call.body()).decode(), keep_blank_values=True, max_num_fields=20, errors="strict"
        )
    except ValueError as error:
        raise errors.MalformedJson(f"the body is not a form: {error}") from None
    known = [field.encode_name for field in fields(kind)]
    said = {
        name: value
        for name, value in pairs
        if name not in {"grant_type", "scope", "client_id", "client_secret"}
    }
    strange = [
        unknown("field", name, known, SYNONYMS, f"/{name[:200]}") for name in said if name not in known
    ]
    if strange:
        raise refusal(errors.UnknownField, strange[:PROBLEMS_MAX])
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in said.items()}


def _filled(kind: type[S], members: dict[str, msgspec.Raw]) -> S:
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for field in fields(kind):
        name = field.encode_name
        if name in members:
            try:
                values[field.name] = msgspec.json.decode(members[name], type=field.type)
            except (msgspec.ValidationError, msgspec.DecodeError):
                problems.append(Problem(f"expected {expected_of(field)}", pointer=f"/{name}"))
        elif field.default is NODEFAULT and field.default_factory is NODEFAULT:
            problems.append(Problem(f"is required; expected {expected_of(field)}", pointer=f"/{name}"))
    if problems:
        raise refusal(errors.Invalid, problems)
    return kind(**values)


def expected_of(field: FieldInfo) -> str:
    """What a field is to hold, in words."""
    metas = [
        meta for kind in (field.type, *get_args(field.type)) for meta in getattr(kind, "__metadata__", ())
    ]
    said = [meta.description for meta in metas if isinstance(meta, Meta) and meta.description]
    return said[0] if said else "another kind of value"
