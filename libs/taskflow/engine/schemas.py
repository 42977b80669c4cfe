"""The payload schemas that workers declare, enforced at submit. Compiled once each; never fetched from anywhere."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import jsonschema_rs
import msgspec

from taskflow.domain.errors import Problem

PROBLEMS_MAX = 20


def payload_problems(schema: str, payload: str, pointer: str) -> list[Problem]:
    """What the payload (JSON text) lacks by its type's schema; `pointer` is where the payload stands in the body."""
    validator = _validator(schema)
    problems = []
    for error in validator.iter_errors(_decoded(payload)):
        path = "".join(f"/{_escaped(part)}" for part in error.instance_path)
        problems.append(Problem(detail=error.message[:500], pointer=f"{pointer}{path}"))
        if len(problems) >= PROBLEMS_MAX:
            break
    return problems


@lru_cache(maxsize=2_048)
def _validator(schema: str) -> Any:
    return jsonschema_rs.validator_for(json.loads(schema), retriever=_refuse)


def _refuse(uri: str) -> Any:
    raise ValueError(f"schemas are not fetched: {uri}")


def _decoded(payload: str) -> Any:
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError):  # numbers beyond a double
        return json.loads(payload)


def _escaped(part: object) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")
