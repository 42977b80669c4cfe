"""`@task` binds a function to a type; `load_registry` imports modules and collects what they declare.

The decorator only notes the function in a list of this module, so a declaring module needs no running app and
can be imported again in a child process. Types are resolved when the registry is loaded: a payload's Struct
may stand below its handler.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
import typing
from collections.abc import Awaitable, Callable, Iterable
from types import SimpleNamespace
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from taskflow.domain.attempt import Outcome
from taskflow.domain.callback import PUSH_TYPE
from taskflow.domain.retry import RetryPolicy
from taskflow.domain.task import Claimed
from taskflow.handlers.context import Context

F = TypeVar("F", bound=Callable[..., Any])

_TYPE = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class DeclarationError(Exception):
    """A handler cannot be bound: one line that says which, and what is expected."""


class HandlerSpec(Struct, frozen=True, eq=False):
    """A handler and all that is known of it. `schema` is None where any JSON is taken."""

    name: str
    function: Callable[..., Any]
    is_async: bool
    arity: int
    payload_type: Any
    schema: dict[str, Any] | None
    decoder: msgspec.json.Decoder[Any]
    module: str
    qualname: str
    timeout_seconds: float | None = None
    max_attempts: int | None = None
    retry: RetryPolicy | None = None
    run: Callable[[Claimed], Awaitable[Outcome]] | None = None
    """In place of `function`: takes the whole task, and says how it ended. Never in a child process."""

    def arguments(self, payload: str, context: Context) -> tuple[Any, ...]:
        """What the function is called with; msgspec's ValidationError if the payload does not fit."""
        if self.arity == 0:
            return ()
        value = Raw(payload) if self.payload_type is Raw else self.decoder.decode(payload)
        return (value,) if self.arity == 1 else (value, context)


class Registry(Struct, frozen=True):
    """The handlers of a worker, by type. Tasks with a target are `PUSH_TYPE`'s, whatever their type is."""

    types: dict[str, HandlerSpec]

    def handler_of(self, task: Claimed) -> HandlerSpec | None:
        """What runs this task here."""
        return self.types.get(task.type if task.target is None else PUSH_TYPE)

    def add_push(self, run: Callable[[Claimed], Awaitable[Outcome]]) -> None:
        """Let this worker push. Raises DeclarationError if a handler was bound to its type."""
        if (other := self.types.get(PUSH_TYPE)) is not None:
            raise DeclarationError(
                f"type {PUSH_TYPE!r} is declared by {other.module}.{other.qualname}; it is for tasks with a target"
            )
        self.types[PUSH_TYPE] = HandlerSpec(
            name=PUSH_TYPE,
            function=run,
            is_async=True,
            arity=0,
            payload_type=Any,
            schema=None,
            decoder=msgspec.json.Decoder(),
            module=run.__module__,
            qualname=run.__qualname__,
            run=run,
        )


class _Declaration(Struct, frozen=True, eq=False):
    name: str
    function: Callable[..., Any]
    timeout_seconds: float | None
    max_attempts: int | None
    retry: RetryPolicy | None

    @property
    def origin(self) -> tuple[str, str]:
        return self.function.__module__, self.function.__qualname__

    @property
    def where(self) -> str:
        return ".".join(self.origin)


_declared: dict[tuple[str, str, str], _Declaration] = {}
"""By (type, module, name of the function): a module that is reloaded declares anew, not twice."""


def task(
    name: str,
    *,
    timeout_seconds: float | None = None,
    max_attempts: int | None = None,
    retry: RetryPolicy | None = None,
) -> Callable[[F], F]:
    """Bind a function to the type `name`. The function itself is left as it is and can be called directly.

    It takes `(payload, context)`, `(payload)` or `()`. The payload's annotation decides what is accepted: a
    Struct or any type msgspec knows is validated, `dict` takes any object, no annotation takes any JSON.
    """
    _check_options(name, timeout_seconds, max_attempts, retry)

    def declare(function: F) -> F:
        if not hasattr(function, "__qualname__"):
            raise DeclarationError(f"@task({name!r}) stands above {function!r}; expected a function")
        declaration = _Declaration(name, function, timeout_seconds, max_attempts, retry)
        _parameters(declaration)
        _declared[(name, *declaration.origin)] = declaration
        return function

    return declare


def _check_options(
    name: str, timeout_seconds: float | None, max_attempts: int | None, retry: RetryPolicy | None
) -> None:
    if not isinstance(name, str) or not _TYPE.fullmatch(name):
        raise DeclarationError(
            f"@task({name!r}): expected a type of 1 to 128 characters of A-Z a-z 0-9 _ . : -"
        )
    if timeout_seconds is not None and not 0 < timeout_seconds <= 86_400:
        raise DeclarationError(
            f"@task({name!r}): timeout_seconds is {timeout_seconds!r}; expected >0 to 86400"
        )
    if max_attempts is not None and max_attempts not in range(1, 101):
        raise DeclarationError(f"@task({name!r}): max_attempts is {max_attempts!r}; expected 1 to 100")
    if retry is not None:
        try:
            msgspec.convert(msgspec.to_builtins(retry), RetryPolicy)
        except msgspec.ValidationError as error:
            raise DeclarationError(f"@task({name!r}): retry is not a valid RetryPolicy: {error}") from error


def _parameters(declared: _Declaration) -> list[inspect.Parameter]:
    """The function's parameters, if it can be a handler at all."""
    function = declared.function
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DeclarationError(
            f"handler {declared.where} yields; expected a function that returns its result"
        )
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError, NameError) as error:
        raise DeclarationError(f"handler {declared.where} has no readable signature: {error}") from error
    if len(parameters) > 2 or any(known.kind not in _POSITIONAL for known in parameters):
        shape = f"({', '.join(str(known) for known in parameters)})"
        raise DeclarationError(
            f"handler {declared.where} takes {shape}; expected (payload, context), (payload) or ()"
        )
    return parameters


def load_registry(imports: Iterable[str]) -> Registry:
    """Import `imports` and collect the handlers of these modules, those below them and those they import."""
    names = list(imports)
    before = set(_declared)
    modules = [_imported(name) for name in names]
    visible = {id(thing) for module in modules for thing in vars(module).values()}
    prefixes = tuple(f"{name}." for name in names)
    types: dict[str, HandlerSpec] = {}
    for key, declared in _declared.items():
        module = declared.origin[0]
        ours = key not in before or module in names or module.startswith(prefixes)
        if ours or id(declared.function) in visible:
            _add(types, declared)
    return Registry(types)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except DeclarationError:
        raise
    except (Exception, SystemExit) as error:
        raise DeclarationError(f"cannot import {name!r}: {type(error).__name__}: {error}") from error


def _add(types: dict[str, HandlerSpec], declared: _Declaration) -> None:
    other = types.get(declared.name)
    if other is not None:
        raise DeclarationError(
            f"type {declared.name!r} is declared by {other.module}.{other.qualname} and by {declared.where}; "
            "expected one handler a type"
        )
    types[declared.name] = _resolved(declared)


def _resolved(declared: _Declaration) -> HandlerSpec:
    parameters = _parameters(declared)
    payload_type = _payload_type(declared, parameters)
    _check_context(declared, parameters)
    module, qualname = declared.origin
    try:
        decoder = msgspec.json.Decoder(payload_type)
        schema = _schema_of(payload_type)
    except (TypeError, ValueError, NameError, RecursionError) as error:
        raise DeclarationError(
            f"the payload of handler {declared.where} is {payload_type!r}; "
            f"expected a type with a JSON Schema "
            f"({str(error).splitlines()[0]})"
        ) from error
    return HandlerSpec(
        name=declared.name,
        function=declared.function,
        is_async=inspect.iscoroutinefunction(declared.function),
        arity=len(parameters),
        payload_type=payload_type,
        schema=schema,
        decoder=decoder,
        module=module,
        qualname=qualname,
        timeout_seconds=declared.timeout_seconds,
        max_attempts=declared.max_attempts,
        retry=declared.retry,
    )


def _payload_type(declared: _Declaration, parameters: list[inspect.Parameter]) -> Any:
    if not parameters:
        return Any
    try:
        hint = _hint(declared, parameters[0])
    except Exception as error:
        raise DeclarationError(
            f"the payload of handler {declared.where} is annotated {parameters[0].annotation!r}; "
            f"expected a type that can be resolved: {error}"
        ) from error
    if isinstance(hint, type) and issubclass(hint, Context):
        raise DeclarationError(
            f"handler {declared.where} takes its context first; expected (payload, context), (payload) or ()"
        )
    return hint


def _check_context(declared: _Declaration, parameters: list[inspect.Parameter]) -> None:
    if len(parameters) < 2:
        return
    try:
        hint = _hint(declared, parameters[1])
    except NameError:  # imported for type checkers only
        return
    if hint is not Any and hint is not Context:
        raise DeclarationError(
            f"the second parameter of handler {declared.where} is {parameters[1]}; expected context: Context"
        )


def _hint(declared: _Declaration, parameter: inspect.Parameter) -> Any:
    """The parameter's annotation, resolved alone: the others may name what only type checkers import."""
    if parameter.annotation in (inspect.Parameter.empty, object, "object"):
        return Any
    names = getattr(inspect.unwrap(declared.function), "__globals__", None)
    names = names if names is not None else vars(sys.modules[declared.origin[0]])
    holder = SimpleNamespace(__annotations__={"hint": parameter.annotation})
    return typing.get_type_hints(holder, globalns=names, include_extras=True)["hint"]


def _schema_of(payload_type: Any) -> dict[str, Any] | None:
    """The JSON Schema, with all it refers to inside; None for types that take anything."""
    if payload_type in (Any, Raw, dict):
        return None
    schema = msgspec.json.schema(payload_type)
    json.dumps(schema, allow_nan=False)
    return schema
