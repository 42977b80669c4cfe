"""The built-in type `http_request`, run as a worker runs it; 127.0.0.2 plays the whole internet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from tests.support.listeners import OK, Listener, hanging, listening, sending
from tests.unit.handlers.claims import Heard, make_claim

from taskflow.domain.attempt import Failed, Succeeded
from taskflow.handlers.given import all_given, give
from taskflow.handlers.registry import load_registry
from taskflow.handlers.runner import Runner

BUILTIN = ["taskflow_worker.handlers"]
PUBLIC = "127.0.0.2"


@pytest.fixture
async def runner() -> AsyncIterator[Runner]:
    """A runner of the built-in types."""
    async with Runner(load_registry(BUILTIN), imports=BUILTIN, slots=1, on_history=Heard()) as running:
        yield running


@pytest.fixture(autouse=True)
def reach() -> Iterator[None]:
    """As with EGRESS_ALLOW=127.0.0.2."""
    before = all_given()
    give({"egress": {"allow": [PUBLIC]}})
    yield
    give({"egress": None, **before})


async def result_of(runner: Runner, isolated: bool = False, **payload: Any) -> dict[str, Any]:
    outcome = await runner.run(make_claim("http_request", payload), isolated)
    assert isinstance(outcome, Succeeded), outcome
    result: dict[str, Any] = msgspec.json.decode(outcome.result)
    return result


async def failure_of(runner: Runner, timeout_seconds: float = 20.0, **payload: Any) -> Failed:
    outcome = await runner.run(make_claim("http_request", payload, timeout_seconds=timeout_seconds))
    assert isinstance(outcome, Failed), outcome
    return outcome


def heads(listener: Listener) -> list[dict[str, str]]:
    """The headers of what has arrived, names in lower case."""
    lines = [
        request.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")[1:] for request in listener.requests
    ]
    return [
        {name.lower(): value for name, _, value in (line.partition(": ") for line in each)} for each in lines
    ]


def answer(body: bytes, kind: str = "", status: str = "200 OK") -> bytes:
    more = f"Content-Type: {kind}\r\n" if kind else ""
    return f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("isolated", [False, True])
async def test_the_answer_is_the_result_in_the_worker_and_in_a_child(runner: Runner, isolated: bool) -> None:
    body = answer(b'{"a": [1, 2.5, null]}', "application/json")
    async with listening(sending(body), PUBLIC) as server:
        url = server.url("/x?y=1", PUBLIC)
        assert await result_of(runner, isolated, url=url) == {
            "status": 200,
            "headers": {"content-type": "application/json", "content-length": "21"},
            "body": {"a": [1, 2.5, None]},
        }
        assert server.requests[0].startswith(b"GET /x?y=1 HTTP/1.1\r\n")


@pytest.mark.parametrize("isolated", [False, True])
async def test_what_is_not_allowed_is_not_reached(runner: Runner, isolated: bool) -> None:
    async with listening(sending(OK), "127.0.0.1") as server:
        claim = make_claim("http_request", {"url": server.url()})
        outcome = await runner.run(claim, isolated)
        assert isinstance(outcome, Failed)
        assert (outcome.permanent, outcome.error.type, outcome.error.message) == (
            True, "PermanentError", "the url is refused: 127.0.0.1 is a loopback address"
        )  # fmt: skip
        assert server.connections == 0


async def test_without_settings_nothing_of_ours_is_reached(runner: Runner) -> None:
    give({"egress": None})
    async with listening(sending(OK), PUBLIC) as server:
        assert (await failure_of(runner, url=server.url(host=PUBLIC))).permanent
        assert server.connections == 0


@pytest.mark.parametrize(
    ("sent", "result"),
    [
        (answer(b"text"), "text"),
        (answer(b'{"a":1}', "text/plain"), '{"a":1}'),
        (answer(b'{"a":1}', "application/problem+json; charset=utf-8", "404 Not Found"), {"a": 1}),
        (answer(b'"x"', "Application/JSON"), "x"),
        (answer(b"{broken", "application/json"), "{broken"),
        (answer(b"NaN", "application/json"), "NaN"),
        (answer(b"[" * 5_000 + b"]" * 5_000, "application/json"), "[" * 5_000 + "]" * 5_000),
        (answer(b"", "application/json"), ""),
        (answer(b"\xffgr\xfcn\xc3\xbc"), "\ufffdgr\ufffdnü"),
        (answer(b"x" * 200 * 1024), "x" * 200 * 1024),
    ],
)
async def test_json_is_json_and_all_else_is_text(runner: Runner, sent: bytes, result: Any) -> None:
    async with listening(sending(sent), PUBLIC) as server:
        assert (await result_of(runner, url=server.url(host=PUBLIC)))["body"] == result


@pytest.mark.parametrize("status", ["204 No Content", "301 Moved", "404 Not Found", "500 Broken"])
async def test_every_status_is_a_result(runner: Runner, status: str) -> None:
    head = (
        f"HTTP/1.1 {status}\r\nX-A: 1\r\nx-a: 2\r\nLocation: http://127.0.0.1/\r\nConnection: close\r\n\r\n"
    )
    async with listening(sending(head.encode(), close=True), PUBLIC) as server:
        result = await result_of(runner, url=server.url(host=PUBLIC))
        assert (result["status"], result["headers"]["x-a"]) == (int(status[:3]), "1, 2")


@pytest.mark.parametrize(
    ("body", "sent", "kind"),
    [
        ("grün", "grün".encode(), "text/plain; charset=utf-8"),
        ({"a": ["ü"]}, '{"a":["ü"]}'.encode(), "application/json"),
        ([], b"[]", "application/json"),
        (False, b"false", "application/json"),
        (0, b"0", "application/json"),
        ("", b"", "text/plain; charset=utf-8"),
        (None, b"", None),
    ],
)
async def test_text_is_sent_as_it_is_and_all_else_as_json(
    runner: Runner, body: Any, sent: bytes, kind: str | None
) -> None:
    async with listening(sending(OK), PUBLIC) as server:
        await result_of(runner, url=server.url(host=PUBLIC), method="POST", body=body)
        assert server.requests[0].partition(b"\r\n\r\n")[2] == sent
        head = heads(server)[0]
        assert (head["content-length"], head.get("content-type")) == (str(len(sent)), kind)


async def test_it_says_which_task_it_is_unless_the_caller_says_it(runner: Runner) -> None:
    async with listening(sending(OK), PUBLIC) as server:
        url = server.url(host=PUBLIC)
        claim = make_claim("http_request", {"url": url}, life=2)
        await runner.run(claim)
        theirs = {
            "idempotency-key": "mine",
            "x-taskflow-task-id": "none",
            "USER-AGENT": "me",
            "Authorization": "x",
        }
        await result_of(runner, url=url, headers=theirs)
        ours, told = heads(server)
        assert (ours["idempotency-key"], ours["x-taskflow-task-id"]) == (f"{claim.id}:2", claim.id)
        assert ours["user-agent"] == "TaskFlow"
        assert {name.lower(): value for name, value in theirs.items()}.items() <= told.items()
        assert b"mine" in server.requests[1] and server.requests[1].lower().count(b"idempotency-key") == 1


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"url": "http://10.0.0.1/"}, "the url is refused: 10.0.0.1 is a private address"),
        ({"url": "http://localhost/"}, "the url is refused: localhost is a loopback name"),
        (
            {"url": "http://127.0.0.2:22/"},
            "the url is refused: port 22 is not allowed; expected 80, 443, 1024-65535",
        ),
        (
            {"url": "ftp://127.0.0.2/"},
            "the url is refused: the scheme ftp is not allowed; expected https or http",
        ),
        ({"url": "example.com"}, "not a URL; expected one such as https://example.com/path"),
        ({"url": "http://127.0.0.2/", "headers": {"Host": "x"}}, "the header Host is not to be set"),
        ({"url": "http://127.0.0.2/", "headers": {"X": "a\r\nb"}}, "the header X holds what no header can"),
    ],
)
async def test_what_can_never_be_sent_fails_for_good(runner: Runner, payload: Any, words: str) -> None:
    failure = await failure_of(runner, **payload)
    assert (failure.permanent, failure.error.type) == (True, "PermanentError")
    assert failure.error.message.startswith(words)


@pytest.mark.parametrize(
    "payload", [{}, {"url": 1}, {"url": "http://a/", "method": "BREW"}, {"url": "x", "headers": []}]
)
async def test_payloads_that_do_not_fit_fail_for_good(runner: Runner, payload: Any) -> None:
    assert (await failure_of(runner, **payload)).error.type == "InvalidPayload"


async def test_failures_are_named_for_what_happened(runner: Runner) -> None:
    async with (
        listening(sending(answer(b"x" * (200 * 1024 + 1))), PUBLIC) as large,
        listening(hanging(), PUBLIC) as silent,
        listening(sending(b"nonsense\r\n\r\n"), PUBLIC) as mad,
        listening(sending(close=True), PUBLIC) as gone,
    ):
        for url, kind in (
            (large.url(host=PUBLIC), "AnswerTooLarge"),
            (mad.url(host=PUBLIC), "BadAnswer"),
            (gone.url(host=PUBLIC), "ConnectionLost"),
            ("http://nothing.invalid/", "NameNotResolved"),
            ("http://localhost.localdomain/", None),
        ):
            failure = await failure_of(runner, url=url)
            assert not failure.permanent
            assert failure.error.type in ((kind,) if kind else ("EgressRefused", "NameNotResolved"))
        failure = await failure_of(runner, 0.5, url=silent.url(host=PUBLIC))
        assert (failure.permanent, failure.error.type) == (False, "RequestTimedOut")
        assert "gave no whole answer within 0.4" in failure.error.message


async def test_it_fails_on_demand_before_it_calls_anybody(runner: Runner) -> None:
    async with listening(sending(OK), PUBLIC) as server:
        url = server.url(host=PUBLIC)
        assert (await failure_of(runner, url=url, forceFail=True)).error.message == "forced failure"
        assert (await failure_of(runner, url=url, fail_times=1)).error.message == "forced failure 1 of 1"
        assert server.connections == 0
