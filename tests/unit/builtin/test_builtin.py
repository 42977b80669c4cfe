"""The built-in types, as their callers see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from tests.unit.handlers.claims import Heard, make_claim

from taskflow.domain.attempt import Failed, Outcome, Succeeded
from taskflow.handlers.registry import load_registry
from taskflow.handlers.runner import Runner

BUILTIN = ["taskflow_worker.handlers"]


@pytest.fixture
async def runner() -> AsyncIterator[Runner]:
    """A runner of the built-in types."""
    async with Runner(load_registry(BUILTIN), imports=BUILTIN, slots=1, on_history=Heard()) as running:
        yield running


async def result_of(runner: Runner, kind: str, payload: Any) -> Any:
    outcome = await runner.run(make_claim(kind, payload))
    assert isinstance(outcome, Succeeded), outcome
    return msgspec.json.decode(outcome.result)


async def failure_of(runner: Runner, kind: str, payload: Any, **fields: Any) -> Failed:
    outcome = await runner.run(make_claim(kind, payload, **fields))
    assert isinstance(outcome, Failed), outcome
    return outcome


BYTES = '{"z":1,"a":1.0,"b":1e400,"c":100000000000000000000000,"d":"x\\u0000y","k":1,"k":2}'


async def test_echo_and_demo_give_back_every_byte(runner: Runner) -> None:
    for text in (BYTES, "[]", "null", "1e400", '"x"'):
        assert await runner.run(make_claim("echo", Raw(text))) == Succeeded(text)
        assert await runner.run(make_claim("demo", Raw(text))) == Succeeded(f'{{"ok":true,"echo":{text}}}')


async def test_echo_gives_back_the_largest_payload(runner: Runner) -> None:
    text = '"' + "x" * (256 * 1024 - 2) + '"'
    assert await runner.run(make_claim("echo", Raw(text))) == Succeeded(text)


@pytest.mark.parametrize(
    ("operation", "numbers", "result"),
    [
        ("sum", [1, 2, 3.5], 6.5),
        ("sum", [], 0),
        ("product", [2, 3, 4], 24),
        ("product", [], 1),
        ("average", [1, 2], 1.5),
    ],
)
async def test_compute(runner: Runner, operation: str, numbers: list[float], result: float) -> None:
    answer = await result_of(runner, "compute", {"operation": operation, "numbers": numbers})
    assert answer == {"operation": operation, "result": result}


@pytest.mark.parametrize(
    ("operation", "numbers"),
    [
        ("average", []),
        ("product", [10**18] * 10_000),
        ("product", [1e300, 1e300]),
        ("average", [10**400]),
        ("sum", [10**400, 0.5]),
    ],
)
async def test_compute_refuses_what_has_no_number(runner: Runner, operation: str, numbers: list[Any]) -> None:
    failure = await failure_of(runner, "compute", {"operation": operation, "numbers": numbers})
    assert (failure.permanent, failure.error.type) == (True, "PermanentError")


@pytest.mark.parametrize(
    ("operation", "data", "result"),
    [
        ("transform", [1, 2.5, "ab", True, None, [1]], [2, 5.0, "AB", True, None, [1]]),
        ("filter", [None, False, 0, "", [], 0.0, 1, "a", [0], True], [1, "a", [0], True]),
        ("aggregate", [1, 2, 6, "x", True], {"count": 3, "sum": 9, "min": 1, "max": 6, "average": 3.0}),
        ("aggregate", [], {"count": 0, "sum": 0, "min": None, "max": None, "average": None}),
    ],
)
async def test_process_data(runner: Runner, operation: str, data: list[Any], result: Any) -> None:
    answer = await result_of(runner, "process_data", {"operation": operation, "data": data})
    assert answer == {"operation": operation, "result": result, "count": len(data)}


async def test_sleep(runner: Runner) -> None:
    assert await result_of(runner, "sleep", {"duration": 0}) == {"slept_seconds": 0}
    assert await result_of(runner, "sleep", {"duration": 0.01}) == {"slept_seconds": 0.01}


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("sleep", {}),
        ("sleep", {"duration": -1}),
        ("sleep", {"duration": "1"}),
        ("compute", {"operation": "power", "numbers": [1]}),
        ("compute", {"operation": "sum", "numbers": [True]}),
        ("process_data", {"operation": "filter", "data": {}}),
        ("compute", [1]),
    ],
)
async def test_payloads_that_do_not_fit_fail_for_good(runner: Runner, kind: str, payload: Any) -> None:
    failure = await failure_of(runner, kind, payload)
    assert (failure.permanent, failure.error.type) == (True, "InvalidPayload")


PAYLOADS: dict[str, dict[str, Any]] = {
    "demo": {},
    "echo": {},
    "sleep": {"duration": 0},
    "compute": {"operation": "sum", "numbers": []},
    "process_data": {"operation": "filter", "data": []},
}


@pytest.mark.parametrize("kind", PAYLOADS)
async def test_every_type_fails_on_demand(runner: Runner, kind: str) -> None:
    forced = await failure_of(runner, kind, {**PAYLOADS[kind], "forceFail": True})
    assert (forced.permanent, forced.error.type, forced.error.message) == (
        False,
        "RuntimeError",
        "forced failure",
    )
    await result_of(runner, kind, {**PAYLOADS[kind], "forceFail": False, "fail_times": 0})

    async def tried(number: int) -> Outcome:
        return await runner.run(
            make_claim(kind, {**PAYLOADS[kind], "fail_times": 2}, number=number, attempt=1)
        )

    outcomes = await asyncio.gather(*(tried(number) for number in (1, 2, 3)))
    assert [type(outcome) for outcome in outcomes] == [Failed, Failed, Succeeded]


@pytest.mark.parametrize(
    "payload", [{"fail_times": "x", "forceFail": 0}, {"fail_times": -1}, {"fail_times": 1.5}]
)
async def test_echo_takes_odd_knobs_for_what_they_are(runner: Runner, payload: Any) -> None:
    assert await result_of(runner, "echo", payload) == payload
