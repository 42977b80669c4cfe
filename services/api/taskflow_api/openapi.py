"""The OpenAPI 3.1 document, made from the table of operations. https://spec.openapis.org/oas/v3.1.1.html"""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec

from taskflow.engine.declare import package_version
from taskflow_api.operation import PATHS, Answer, Operation
from taskflow_api.problems import PROBLEM_JSON
from taskflow_api.queries import VALUES_MAX, Parameter, ecma
from taskflow_api.replies import JSON, Reply
from taskflow_api.routes import OPERATIONS
from taskflow_api.routes.operations import BULK_BODIES
from taskflow_api.schemas import components, ref

PATH = "/schema/openapi.json"
_DESCRIPTION = """A distributed task queue for work that must not be lost. 2xx means durable.

A task can also be followed by WebSocket, at `/ws/tasks/{task_id}`: one JSON object a frame, first
`{"event":"state","seq":N,"task":Task}`, then each TaskEvent after number N (or after `?last_event_id=`); `{"event":"end"}`
and close 1000 once the task has ended, `{"event":"bye"}` and close 1012 when this api shuts down, close 4401 when the
credentials have ended. Credentials are those of any call that needs `read`, or `?ticket=` (makeStreamTicket). Refusals
are answered before the upgrade, as problems."""
_EVERY_PROBLEM = (400, 422, 500, 503)
_WITH_RETRY_AFTER = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An access token or an API key"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key"},
}
_TAGS = {
    "Tasks": "What callers ask for, and what becomes of it",
    "Dead letters": "Tasks that were given up",
    "Operations on many": "Replay, discard, cancel and retry in bulk",
    "Operations": "Queues, workers and types; who did what",
    "Webhooks": "Who is told what becomes of tasks, and what that is signed with",
    "Accounts": "Who may call, and with which credentials",
    "Health": "Probes",
}
_HEADERS: dict[str, Any] = {
    "X-Request-Id": {"description": "Names this call in logs", "schema": {"type": "string"}},
    "Location": {"description": "Where what was made is", "required": True, "schema": {"type": "string"}},
    "Link": {"description": 'The next page, rel="next"', "schema": {"type": "string"}},
    "Idempotent-Replayed": {"description": "The key was used before", "schema": {"const": "true"}},
    "RateLimit-Policy": {"description": "The limits this call counts against", "schema": {"type": "string"}},
    "RateLimit": {"description": "What is left of them", "schema": {"type": "string"}},
    "Retry-After": {
        "description": "Seconds to wait before the next try",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
}


def document_reply() -> Reply:
    """The document as it is served."""
    return Reply(200, msgspec.json.encode(document()))


@cache
def document() -> dict[str, Any]:
    """The document as a value."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "TaskFlow",
            "version": package_version(),
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {"schemas": components(BULK_BODIES), "headers": _HEADERS, "securitySchemes": _SECURITY},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [
            *map(_path_parameter, operation.path_parameters),
            *(_parameter(one, "query") for one in operation.query),
            *(_parameter(one, "header") for one in operation.headers),
        ],
        "responses": {str(one.status): _answer(operation, one) for one in operation.answers},
    }
    if operation.description:
        made["description"] = operation.description
    if operation.body is not None:
        content = {"schema": ref(operation.body.schema), "example": operation.body.example}
        made["requestBody"] = {"required": operation.body.required, "content": {JSON: content}}
    made["security"] = [{name: []} for name in _SECURITY] if operation.scope else []
    asked = (401, 403, 429) if operation.scope else ()
    for status in sorted({*_EVERY_PROBLEM, *asked, *operation.problems}):
        made["responses"][str(status)] = _problem(status)
    return made


def _path_parameter(name: str) -> dict[str, Any]:
    pattern, description = PATHS[name]
    is_id = name.endswith("_id")
    schema = (
        {"type": "string", "format": "uuid"}
        if is_id
        else {"type": "string", "pattern": ecma(pattern.pattern)}
    )
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _parameter(parameter: Parameter, place: str) -> dict[str, Any]:
    schema = parameter.schema
    if parameter.many:
        schema = {"type": "array", "items": schema, "maxItems": VALUES_MAX}
    made = {"name": parameter.name, "in": place, "description": parameter.description, "schema": schema}
    return made | ({"style": "form", "explode": True} if parameter.many else {})


def _answer(operation: Operation, answer: Answer) -> dict[str, Any]:
    names = ["X-Request-Id", *answer.headers]
    if answer.schema is not None and answer.schema.endswith("List"):
        names.append("Link")
    if answer.status == HTTPStatus.OK and any(one.name == "Idempotency-Key" for one in operation.headers):
        names.append("Idempotent-Replayed")
    made: dict[str, Any] = {"description": answer.description, "headers": _headers(names)}
    if answer.schema is not None:
        shape = ref(answer.schema)
        made["content"] = {
            kind: {"schema": shape if kind == JSON else {"type": "string"}} for kind in answer.media_types
        }
    return made


def _problem(status: int) -> dict[str, Any]:
    names = ["X-Request-Id"] + (["Retry-After"] if status in _WITH_RETRY_AFTER else [])
    return {
        "description": HTTPStatus(status).phrase,
        "headers": _headers(names),
        "content": {PROBLEM_JSON: {"schema": ref("ProblemDetails")}},
    }


def _headers(names: list[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
