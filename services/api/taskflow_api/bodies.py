"""Bodies of commands: most bear a reason at most, one bears a payload."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from taskflow.domain import errors
from taskflow.domain.errors import Problem
from taskflow_api.names import unknown
from taskflow_api.operation import Call
from taskflow_api.problems import PROBLEMS_MAX, refusal
from taskflow_api.strict_json import check_grammar, check_text
from taskflow_api.submission import PAYLOAD_BYTES_MAX

REASON_CHARS_MAX = 500
Members = Mapping[str, msgspec.Raw]

_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)


async def refuse_body(call: Call) -> None:
    """For a command that takes no fields: a body must be empty, `{}` or `null`."""
    await members_of(call, ())


async def reason_of(call: Call) -> str | None:
    """For a command that takes a reason and nothing else."""
    return _checked_reason(await members_of(call, ("reason",)))


async def replay_of(call: Call) -> tuple[str | None, str | None]:
    """The text of `payload` and the `reason`, in a body that may be missing."""
    members = await members_of(call, ("payload", "reason"))
    reason = _checked_reason(members)
    if "payload" not in members:
        return None, reason
    text = bytes(members["payload"])
    if len(text) > PAYLOAD_BYTES_MAX:
        fault = Problem(f"is over {PAYLOAD_BYTES_MAX} bytes of text", pointer="/payload")
        raise refusal(errors.TooLarge, [fault])
    return text.decode(), reason


def reason_in(members: Members, problems: list[Problem]) -> str | None:
    """The reason that a body gives, if any; a wrong one is added to `problems`."""
    if "reason" not in members:
        return None
    try:
        reason = msgspec.json.decode(members["reason"], type=str | None)
    except msgspec.ValidationError:
        reason = ""
    if reason is not None and (not 1 <= len(reason) <= REASON_CHARS_MAX or "\0" in reason):
        expected = f"expected a text of 1 to {REASON_CHARS_MAX} characters, without U+0000, or null"
        problems.append(Problem(expected, pointer="/reason"))
    return reason


async def members_of(
    call: Call, known: tuple[str, ...], synonyms: dict[str, str] | None = None
) -> dict[str, msgspec.Raw]:
    """The members of a body by name; other names than the known ones are refused. Without a body: none."""
    body = await call.body()
    if not body:
        return {}
    check_text(body)
    check_grammar(body)
    try:
        members = _decoder.decode(body) or {}
    except msgspec.ValidationError:
        raise refusal(errors.Invalid, [Problem("expected an object", pointer="")]) from None
    strange = [name for name in members if name not in known]
    if strange:
        faults = [
            unknown("field", name, known, synonyms or {}, f"/{name[:200]}") for name in strange[:PROBLEMS_MAX]
        ]
        raise refusal(errors.UnknownField, faults)
    return members


def _checked_reason(members: Members) -> str | None:
    problems: list[Problem] = []
    reason = reason_in(members, problems)
    if problems:
        raise refusal(errors.Invalid, problems)
    return reason
