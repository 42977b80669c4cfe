"""What `@task` accepts, and what a registry collects."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec import Struct
from tests.unit.handlers import same_type, samples

import taskflow_worker.handlers
from taskflow import Context, task
from taskflow.domain.retry import RetryPolicy
from taskflow.handlers import registry as registering
from taskflow.handlers.registry import DeclarationError, HandlerSpec, load_registry

HERE = __name__
IMPORTED = (
    samples,
    same_type,
    taskflow_worker.handlers,
)  # once and for all, before any test forgets declarations


class Node(Struct):
    name: str
    children: list[Node] = []


def declared(function: Callable[..., Any]) -> HandlerSpec:
    """The spec of `function`, declared for this one call."""
    registering._declared.clear()
    task("a.type")(function)
    return load_registry([HERE]).types["a.type"]


@pytest.fixture(autouse=True)
def declarations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declarations of a test are forgotten after it."""
    monkeypatch.setattr(registering, "_declared", dict(registering._declared))


def test_samples_are_found_with_their_settings() -> None:
    spec = load_registry(["tests.unit.handlers.samples"]).types["co.typed"]
    assert (spec.is_async, spec.arity, spec.timeout_seconds, spec.max_attempts) == (True, 2, 5, 2)
    assert (spec.module, spec.qualname) == ("tests.unit.handlers.samples", "co_typed")
    assert spec.schema is not None
    assert spec.schema["$defs"]["Typed"]["required"] == ["width"]


def test_the_decorator_leaves_the_function_as_it_is() -> None:
    assert samples.def_pid() > 0
    assert task("other.name")(samples.def_pid) is samples.def_pid


def test_schemas_are_self_contained_and_absent_where_anything_is_taken() -> None:
    async def nested(payload: Node) -> None: ...
    async def bare(payload: dict) -> None: ...  # type: ignore[type-arg]
    async def anything(payload: Any) -> None: ...
    async def unannotated(payload, context): ...  # type: ignore[no-untyped-def]
    async def nothing() -> None: ...

    schema = declared(nested).schema
    assert schema is not None
    assert schema["$defs"]["Node"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert [declared(known).schema for known in (bare, anything, unannotated, nothing)] == [None] * 4


def test_names_only_type_checkers_import_do_no_harm() -> None:
    async def handler(payload: int, context: OnlyForCheckers) -> AlsoUnknown: ...  # type: ignore[name-defined] # noqa: F821

    assert declared(handler).payload_type is int


async def three(a: int, b: Context, c: int) -> None: ...
async def keyword(*, payload: int) -> None: ...
async def starred(*payload: int) -> None: ...
async def yielding(payload: int) -> Any:
    yield 1


@pytest.mark.parametrize("function", [three, keyword, starred, yielding, 5])
def test_other_signatures_are_refused_at_once(function: Any) -> None:
    with pytest.raises(DeclarationError, match="expected"):
        task("a.type")(function)


async def context_first(context: Context) -> None: ...
async def context_second(context: Context, payload: int) -> None: ...
async def no_context(payload: int, other: int) -> None: ...
async def unknown(payload: Unheard) -> None: ...  # type: ignore[name-defined] # noqa: F821
async def no_schema(payload: Callable[[], int]) -> None: ...


@pytest.mark.parametrize("function", [context_first, context_second, no_context, unknown, no_schema])
def test_other_annotations_are_refused_at_start(function: Any) -> None:
    with pytest.raises(DeclarationError, match=rf"(?s){function.__name__}.*expected"):
        declared(function)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("", {}),
        ("with space", {}),
        ("x" * 129, {}),
        ("x", {"timeout_seconds": 0}),
        ("x", {"timeout_seconds": 86_401}),
        ("x", {"max_attempts": 0}),
        ("x", {"retry": RetryPolicy(factor=0)}),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError):
        task(name, **options)


def test_two_modules_with_one_type_are_both_named() -> None:
    with pytest.raises(DeclarationError) as refusal:
        load_registry(["tests.unit.handlers.samples", "tests.unit.handlers.same_type"])
    assert "tests.unit.handlers.samples.co_echo" in str(refusal.value)
    assert "tests.unit.handlers.same_type.another" in str(refusal.value)


def test_a_module_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(DeclarationError, match=r"cannot import 'no\.such\.module'"):
        load_registry(["no.such.module"])


def test_a_package_brings_the_modules_below_it() -> None:
    assert set(load_registry(["taskflow_worker.handlers"]).types) >= {"demo", "echo", "compute", "sleep"}


def test_payloads_that_do_not_fit_are_told_where() -> None:
    spec = load_registry(["tests.unit.handlers.samples"]).types["co.typed"]
    with pytest.raises(msgspec.ValidationError, match=r"\$\.width"):
        spec.arguments('{"width":"wide"}', None)  # type: ignore[arg-type]


def test_importing_taskflow_stays_light() -> None:
    heavy = ["asyncio", "subprocess", "logging", "multiprocessing", "ctypes"]
    code = f"import sys, taskflow; print([name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
