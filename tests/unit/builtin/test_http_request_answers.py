"""Answers to `http_request` that cannot be told as they are, and its body sent as JSON: nothing is bent on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from msgspec import Raw
from tests.support.listeners import OK, listening, sending
from tests.unit.handlers.claims import Heard, make_claim

from taskflow.domain.attempt import Failed, Succeeded
from taskflow.handlers.given import all_given, give
from taskflow.handlers.registry import load_registry
from taskflow.handlers.runner import Runner

BUILTIN = ["taskflow_worker.handlers"]


@pytest.fixture
async def runner() -> AsyncIterator[Runner]:
    """A runner of the built-in types, whose worker may reach loopback."""
    async with Runner(load_registry(BUILTIN), imports=BUILTIN, slots=1, on_history=Heard()) as running:
        yield running


@pytest.fixture(autouse=True)
def reach() -> Iterator[None]:
    """As with EGRESS_ALLOW=loopback."""
    before = all_given()
    give({"egress": {"allow": ["loopback"]}})
    yield
    give({"egress": None, **before})


def answer(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"id": 123456789012345678901234567890, "price": 1.10, "far": 1e400}', None),
        (b"[" * 128 + b"]" * 128, None),
        (b'"\\u0000"', None),
        (b"[" * 129 + b"]" * 129, '"' + "[" * 129 + "]" * 129 + '"'),
        (b'["\\ud800"]', r'"[\"\\ud800\"]"'),
        (b"\xef\xbb\xbf[1]", '"\ufeff[1]"'),
        (b'"gr\xfcn"', r'"\"gr' + "\ufffd" + r'n\""'),
        (b"[1, Infinity]", '"[1, Infinity]"'),
    ],
)
@pytest.mark.parametrize("isolated", [False, True])
async def test_json_that_a_result_may_hold_is_kept_to_the_letter_and_all_else_is_text(
    runner: Runner, body: bytes, told: str | None, isolated: bool
) -> None:
    async with listening(sending(answer(body))) as server:
        outcome = await runner.run(make_claim("http_request", {"url": server.url()}), isolated)
    assert isinstance(outcome, Succeeded), outcome
    assert outcome.result.endswith(f'"body":{body.decode() if told is None else told}}}')


async def test_an_answer_that_is_too_long_as_a_result_fails_for_good(runner: Runner) -> None:
    """As JSON a control character takes six: what fits as an answer need not fit as a result."""
    body = b"\x01" * (100 * 1024)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with listening(sending(head + body)) as server:
        outcome = await runner.run(make_claim("http_request", {"url": server.url()}))
    assert isinstance(outcome, Failed)
    assert (outcome.permanent, outcome.error.type) == (True, "UnstorableResult")
    assert "over 262144 bytes" in outcome.error.message


async def test_numbers_of_the_body_are_sent_as_they_were_given(runner: Runner) -> None:
    async with listening(sending(OK)) as server:
        payload = Raw(
            f'{{"url": "{server.url()}", "method": "POST", "body": {{"id": 123456789012345678901234567890}}}}'
        )
        assert isinstance(await runner.run(make_claim("http_request", payload)), Succeeded)
    assert server.requests[0].endswith(b'\r\n\r\n{"id":123456789012345678901234567890}')
