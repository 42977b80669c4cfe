"""The shapes in the OpenAPI document: made from the structs that decode and encode, so that they cannot
differ.

What a struct cannot say of itself (JSON kept as text, lists, answers without a struct) is put right here.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, get_args

import msgspec

from taskflow.domain.account import ApiKey, Profile, Scope, User
from taskflow.domain.attempt import ExecutionStatus
from taskflow.domain.dead_letter import DeadLetter, DeadLetterDetail, FailedTry, LetterGroup
from taskflow.domain.errors import Problem
from taskflow.domain.operation import AuditEvent, Operation, OperationDetail
from taskflow.domain.series import SeriesAnswer
from taskflow.domain.task import Accepted, Execution, LogLine, Task, TaskEvent
from taskflow.domain.transitions import Status
from taskflow.domain.views import (
    DoctorReport,
    Explanation,
    QueueInfo,
    Stats,
    SystemFacts,
    TypeInfo,
    WorkerInfo,
)
from taskflow.domain.webhook import Delivery, DeliveryAttempt, Endpoint, SigningSecret
from taskflow.engine.accounts import Registered
from taskflow.engine.sign_in import Granted
from taskflow.engine.stream_tickets import StreamTicket
from taskflow_api.bodies import REASON_CHARS_MAX
from taskflow_api.bulk import CanaryBody
from taskflow_api.problems import STATUSES, ProblemDetails
from taskflow_api.queries import ecma
from taskflow_api.routes import ACCOUNT_BODIES
from taskflow_api.submission import BATCH_ITEMS_MAX, Batch, Item, Submission

Schema = dict[str, Any]

_OUTPUTS = (
    Task, Execution, LogLine, TaskEvent, DeadLetter, LetterGroup, Explanation, Stats, QueueInfo, WorkerInfo,
    TypeInfo, Accepted, DeadLetterDetail, FailedTry, Operation, OperationDetail, AuditEvent, User, Profile, ApiKey,
    Granted, Registered, Delivery, DeliveryAttempt, Endpoint, SigningSecret, SeriesAnswer, StreamTicket,
    DoctorReport, SystemFacts,
)  # fmt: skip
_INPUTS = (Submission, Item, Batch, CanaryBody, *ACCOUNT_BODIES)
_PARTS = (
    "Blocker", "DayCount", "Canary", "Series", "SeriesPoint", "Percentiles", "DoctorCheck", "PostgresFacts", "NatsFacts",
    "StreamFacts", "ConsumerFacts",
)  # fmt: skip
"""What stands inside of these."""
_LISTS = (
    "Execution",
    "LogLine",
    "TaskEvent",
    "DeadLetter",
    "LetterGroup",
    "QueueInfo",
    "WorkerInfo",
    "TypeInfo",
    "Operation",
    "AuditEvent",
    "User",
    "ApiKey",
    "Delivery",
    "Endpoint",
    "SigningSecret",
)
_TEXT: Schema = {"type": "string"}
_ANY_OBJECT: Schema = {"type": "object", "additionalProperties": True}
_REASON: Schema = {
    "type": ["string", "null"],
    "minLength": 1,
    "maxLength": REASON_CHARS_MAX,
    "pattern": r"^[^\x00]*$",
    "description": "Why: for the audit log and the task's history",
}


def ref(name: str) -> Schema:
    """A reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def components(bulk: dict[str, Schema]) -> dict[str, Schema]:
    """Every shape by name; `bulk` are those of the bodies of bulk calls."""
    kinds = [*_OUTPUTS, *_INPUTS, ProblemDetails, Problem]
    _, found = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    schemas: dict[str, Schema] = _ecma(found)
    for name in (*(kind.__name__ for kind in _OUTPUTS), *_PARTS):
        # What we write bears every member; a default there is for our own making of it.
        schemas[name]["required"] = sorted(schemas[name]["properties"])
    _put_right(schemas)
    schemas["TaskItem"] = deepcopy(schemas["Task"])
    schemas["TaskItem"]["required"] = sorted(set(schemas["Task"]["required"]) - {"payload", "result"})
    schemas["TaskItem"]["title"] = "TaskItem"
    schemas["TaskList"] = _searched(_list_of("TaskItem"))
    schemas |= {f"{name}List": _list_of(name) for name in _LISTS}
    return schemas | _own_shapes() | bulk


def _put_right(schemas: dict[str, Schema]) -> None:
    error = {"anyOf": [ref("Error"), {"type": "null"}]}
    status = {"type": "string", "enum": sorted(Status)}
    task = schemas["Task"]["properties"]
    task |= {
        "id": _id("The task's id (UUIDv7)"),
        "status": status,
        "payload": {"description": "Given back byte for byte"},
        "result": {"description": "What the handler returned; null until then"},
        "error": error,
        "progress": {"anyOf": [ref("Progress"), {"type": "null"}]},
        "metadata": _ANY_OBJECT,
    }
    schemas["Execution"]["properties"] |= {
        "status": {"type": "string", "enum": sorted(ExecutionStatus)},
        "error": error,
    }
    for name in ("DeadLetter", "DeadLetterDetail"):
        schemas[name]["properties"] |= {
            "error": error,
            "id": _id("Its id"),
            "task_id": _id("Its task's id"),
        }
    schemas["DeadLetterDetail"]["properties"] |= {
        "payload": {"description": "The payload of that life, byte for byte"},
        "executions": {
            "anyOf": [{"type": "array", "items": ref("FailedTry")}, {"type": "null"}],
            "description": "Null until the dlq-consumer has handled the letter",
        },
    }
    schemas["FailedTry"]["properties"] |= {
        "status": {"type": "string", "enum": sorted(ExecutionStatus)},
        "error": error,
    }
    for name in ("Operation", "OperationDetail"):
        schemas[name]["properties"] |= {"id": _id("Its id"), "filter": _ANY_OBJECT}
    schemas["AuditEvent"]["properties"] |= {"id": _id("Its id"), "data": _ANY_OBJECT}
    schemas["LetterGroup"]["properties"] |= {"error": error}
    _put_accounts_right(schemas)
    _put_webhooks_right(schemas)
    schemas["Accepted"]["properties"] |= {"id": _id("The task's id"), "status": status}
    schemas["ProblemDetails"]["properties"]["code"] = {
        "type": "string",
        "enum": sorted({kind.code for kind in STATUSES}),
    }
    # The program cannot tell these from absent ones, and a caller need not.
    schemas["ProblemDetails"]["additionalProperties"] = True
    for name in ("Submission", "Item"):
        _put_submission_right(schemas[name])


def _put_accounts_right(schemas: dict[str, Schema]) -> None:
    for name in ("User", "Profile", "ApiKey"):
        schemas[name]["properties"]["id"] = _id("Its id")
    key = {"type": "string", "description": "The key itself, shown this once"}
    schemas["MadeKey"] = {
        **schemas["ApiKey"],
        "title": "MadeKey",
        "properties": {"key": key, **schemas["ApiKey"]["properties"]},
        "required": sorted(["key", *schemas["ApiKey"]["required"]]),
    }
    for name in ("Registration", "NewUser", "SignInBody"):
        schemas[name]["anyOf"] = [{"required": ["email"]}, {"required": ["username"]}]
    schemas["UserChange"]["minProperties"] = 1
    for name in ("NewKey", "KeyRotation", "SignOutBody", "ProfileChange"):
        schemas[name]["type"] = ["object", "null"]  # all of it may be left out


def _put_webhooks_right(schemas: dict[str, Schema]) -> None:
    for name in ("Delivery", "SigningSecret"):
        schemas[name]["properties"]["id"] = _id("Its id")
    secret = {"type": "string", "description": "The secret itself, shown this once"}
    for name, said, base in (
        ("SentDelivery", {"delivery_id": _id("The same as `id`")}, "Delivery"),
        ("MadeSecret", {"secret": secret}, "SigningSecret"),
    ):
        schemas[name] = {
            **schemas[base],
            "title": name,
            "properties": {**said, **schemas[base]["properties"]},
            "required": sorted([*said, *schemas[base]["required"]]),
        }
    for name in ("NewSecret", "Trigger"):
        schemas[name]["type"] = ["object", "null"]


def _put_submission_right(schema: Schema) -> None:
    members = schema["properties"]
    members["type"] = next(option for option in members["type"]["anyOf"] if option["type"] == "string")
    members["payload"] = {
        "description": "Any JSON, 256 KiB of text at most; kept byte for byte",
        "default": {},
    }
    members["metadata"] = {**_ANY_OBJECT, "type": ["object", "null"], "description": "16 KiB of text at most"}
    members["run_at"]["description"] = "When it is due, at most a year ahead; not beside delay_seconds"
    members["expires_at"]["description"] = "After this moment it is not started any more"
    schema["anyOf"] = [{"required": ["type"]}, {"required": ["target"]}]
    schema["description"] = "A task to be done. null counts as not given, except as the payload."
    both = {"run_at": _TEXT, "delay_seconds": {"type": "number"}}
    schema["not"] = {"required": sorted(both), "properties": both}


def _own_shapes() -> dict[str, Schema]:
    fraction = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
    return {
        "Error": _object(
            {"type": _TEXT, "message": _TEXT, "traceback": {"type": ["string", "null"]}}, ["message", "type"]
        ),
        "Progress": _object({"fraction": fraction, "message": {"type": ["string", "null"]}}),
        "BatchAccepted": _object(
            {"items": {"type": "array", "items": ref("Accepted"), "minItems": 1, "maxItems": BATCH_ITEMS_MAX}}
        ),
        "Replay": {
            "type": ["object", "null"],
            "properties": {"payload": {"description": "Replaces the payload"}, "reason": _REASON},
            "additionalProperties": False,
        },
        "WithReason": {
            "type": ["object", "null"],
            "properties": {"reason": _REASON},
            "additionalProperties": False,
        },
        "LetterPreview": _preview("DeadLetter"),
        "TaskPreview": _preview("TaskItem"),
        "Verified": _object(
            {
                "active": {"const": True},
                "user_id": _id("The account"),
                "name": _TEXT,
                "scopes": {"type": "array", "items": {"enum": list(get_args(Scope))}},
            }
        ),
        "PasswordChanged": _object({"sessions_ended": {"type": "integer"}}),
        "Switched": _object({"name": _TEXT, "paused": {"type": "boolean"}}),
        "Draining": _object({"id": _id("The worker's id"), "status": {"const": "draining"}}),
        "Liveness": _object({"status": {"const": "ok"}}),
        "Readiness": _object({"status": {"const": "ok"}, "ready": {"const": True}}),
    }


def _preview(name: str) -> Schema:
    counts = {"type": "object", "additionalProperties": {"type": "integer"}}
    sample = {"type": "array", "items": ref(name)}
    return _object({"matched": {"type": "integer"}, "by_type": counts, "sample": sample})


def _list_of(name: str) -> Schema:
    next_cursor = {"type": ["string", "null"], "description": "Where the next page begins; null on the last"}
    return _object({"items": {"type": "array", "items": ref(name)}, "next_cursor": next_cursor})


def _searched(schema: Schema) -> Schema:
    """A list whose search may end early."""
    until = {
        "type": ["string", "null"],
        "format": "date-time",
        "description": "Null on a whole page. Else the search took too long: it looked at what was made after this moment, "
        "found fewer than `limit`, and the next page goes on from there",
    }
    return _object({**schema["properties"], "searched_until": until})


def _object(members: Schema, required: list[str] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": members,
        "required": sorted(members) if required is None else required,
    }


def _id(description: str) -> Schema:
    return {"type": "string", "format": "uuid", "description": description}


def _ecma(value: Any) -> Any:
    """The same schema, with its patterns as ECMA 262 writes them."""
    if isinstance(value, dict):
        return {
            key: ecma(one) if key == "pattern" and isinstance(one, str) else _ecma(one)
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [_ecma(one) for one in value]
    return value
