"""Read by schemathesis: it may end any key and any account, but not those that it calls with itself."""

from __future__ import annotations

import os
import uuid

import schemathesis

_ENDING = {"rotateApiKey", "revokeApiKey", "changeUser", "deleteUser"}
_KEPT = {os.environ["TASKFLOW_KEY_ID"], os.environ["TASKFLOW_USER_ID"]}


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, object]
) -> None:
    """Call another id than the own: the lists, which hold both, are followed."""
    if case.operation.definition.raw.get("operationId") not in _ENDING:
        return
    for name, value in (case.path_parameters or {}).items():
        if str(value).lower() in _KEPT:
            case.path_parameters[name] = str(uuid.uuid4())
