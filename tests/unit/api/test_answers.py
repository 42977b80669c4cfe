"""What every answer bears, and what CORS adds to it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.scopes import Told, answer_of, scope_of

from taskflow_api.cors import Cors, read_origin
from taskflow_api.docs_page import replies
from taskflow_api.drain import Drain
from taskflow_api.edge import Edge
from taskflow_api.replies import Reply

APP = "https://app.example.com"
COMMON = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


async def asked(
    app: Any = None, origins: tuple[str, ...] = (), allowed: tuple[str, ...] = ("GET",), **scope: Any
) -> Told:
    edge = Edge(app or Reply(200, b"{}"), Drain(), lambda _: list(allowed), cors=Cors(origins))
    return await answer_of(edge, scope_of(**scope))


async def fail(*_: object) -> None:
    raise RuntimeError("our fault")


@pytest.mark.parametrize(
    ("app", "method", "status"),
    [(None, "GET", 200), (None, "HEAD", 200), (None, "OPTIONS", 204), (fail, "GET", 500)],
)
async def test_every_answer_bears_them(app: Any, method: str, status: int) -> None:
    told = await asked(app, method=method)
    assert told.status == status
    assert told.headers.items() >= COMMON.items()
    assert not {"strict-transport-security", "vary", "access-control-allow-origin"} & told.headers.keys()


async def test_a_reply_keeps_what_it_brings() -> None:
    page = replies()["/docs"]
    policy = dict(page.headers)["content-security-policy"]
    told = await asked(page)
    assert "script-src 'self'" in policy
    assert told.headers.items() >= {**COMMON, "content-security-policy": policy}.items()
    stream = Reply(200, b"", [("cache-control", "no-cache")])
    assert (await asked(stream)).headers["cache-control"] == "no-cache"


async def test_who_came_by_https_comes_so_for_a_year() -> None:
    assert (await asked(scheme="https")).headers["strict-transport-security"] == "max-age=31536000"


async def test_an_allowed_origin_may_read() -> None:
    told = await asked(origins=("http://localhost:3000", APP), headers={"origin": APP})
    assert told.headers["access-control-allow-origin"] == APP
    assert told.headers["vary"] == "Origin"
    assert "cross-origin-resource-policy" not in told.headers
    exposed = set(told.headers["access-control-expose-headers"].split(", "))
    assert {"Location", "Link", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id"} <= exposed
    assert "access-control-allow-credentials" not in told.headers


OTHERS = [
    "https://evil.example",
    "http://app.example.com",
    f"{APP}:444",
    f"{APP}.evil.example",
    "null",
    "*",
    "",
]


@pytest.mark.parametrize("origin", OTHERS)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_other_origins_get_nothing(origin: str, method: str) -> None:
    headers = {"origin": origin, "access-control-request-method": "POST"}
    told = await asked(origins=(APP,), method=method, headers=headers)
    assert not [name for name in told.headers if name.startswith("access-control-")]
    assert told.headers.items() >= {**COMMON, "vary": "Origin"}.items()


async def test_any_origin_may_read_where_all_may() -> None:
    for headers in ({"origin": "https://anybody.example"}, {"origin": "null"}, {}):
        told = await asked(origins=("*",), headers=headers)
        assert told.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in told.headers


async def refuse(*_: object) -> None:
    raise AssertionError("a preflight has no credentials, and reaches no route")


@pytest.mark.parametrize("origins", [(APP,), ("*",)])
@pytest.mark.parametrize("allowed", [("GET", "HEAD", "OPTIONS"), ()])
async def test_a_browser_that_asks_first_is_told(origins: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    headers = {
        "origin": APP,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    told = await asked(refuse, origins, allowed, method="OPTIONS", headers=headers)
    assert (told.status, told.body) == (204, b"")
    assert "POST" in told.headers["access-control-allow-methods"].split(", ")
    names = {name.lower() for name in told.headers["access-control-allow-headers"].split(", ")}
    assert {"authorization", "x-api-key", "content-type", "idempotency-key", "last-event-id"} <= names
    assert int(told.headers["access-control-max-age"]) > 0
    assert told.headers["access-control-allow-origin"] in {APP, "*"}


async def test_options_of_others_is_as_ever() -> None:
    told = await asked(origins=(APP,), method="OPTIONS", headers={"origin": APP})
    assert (told.status, told.headers["allow"]) == (204, "GET")
    assert "access-control-allow-methods" not in told.headers


@pytest.mark.parametrize(
    "text", ["*", APP, "http://localhost:3000", "http://[::1]:3000", "https://xn--bcher-kva.example"]
)
def test_origins(text: str) -> None:
    assert read_origin(text) == text


WRONG = ["null", "", "app.example.com", f"{APP}/", f"{APP}/path", f"{APP}:443", "http://x:80", "http://x:65536",
         "https://App.example.com", "https://*.example.com", "https://user@x", "ftp://x", "https://", f"{APP}:",
         f"{APP}\r\n", f"{APP}?x"]  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_origin(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_origin(text)
