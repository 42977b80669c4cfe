"""Bodies of commands: most bear none, one bears a payload."""

from __future__ import annotations

import msgspec

from taskflow.domain import errors
from taskflow.domain.errors import Problem
from taskflow_api.names import unknown
from taskflow_api.operation import Call
from taskflow_api.problems import PROBLEMS_MAX, refusal
from taskflow_api.strict_json import check_grammar, check_text
from taskflow_api.submission import PAYLOAD_BYTES_MAX

_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)


async def refuse_body(call: Call) -> None:
    """For a command that takes no fields: a body must be empty, `{}` or `null`."""
    await _members(call, ())


async def payload_of(call: Call) -> str | None:
    """The text of `payload` in a body that may be missing."""
    members = await _members(call, ("payload",))
    if "payload" not in members:
        return None
    text = bytes(members["payload"])
    if len(text) > PAYLOAD_BYTES_MAX:
        fault = Problem(f"is over {PAYLOAD_BYTES_MAX} bytes of text", pointer="/payload")
        raise refusal(errors.TooLarge, [fault])
    return text.decode()


async def _members(call: Call, known: tuple[str, ...]) -> dict[str, msgspec.Raw]:
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
        faults = [unknown("field", name, known, {}, f"/{name[:200]}") for name in strange[:PROBLEMS_MAX]]
        raise refusal(errors.UnknownField, faults)
    return members
