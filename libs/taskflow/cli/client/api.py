"""The API as the commands call it: a small HTTP client that tries nothing twice. Used by all of `cli/client`.

What it raises is `ApiError`: one line with an exit code. httpx is loaded with the first client.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import quote

import click
import msgspec
from msgspec import Raw, Struct

from taskflow.cli.client.failures import ApiError, no_answer, refusal
from taskflow.kit.settings import redact

API = "/api/v1"
PAGE_MAX = 200
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
"""Until the first bytes of an answer, and between any two parts of it."""
KEPT_AS_SENT = frozenset({"payload", "result"})

Query = Sequence[tuple[str, str]]
T = TypeVar("T")


class Items(NamedTuple):
    """The items of a list as the API sent them; `more`: there are others beyond the limit."""

    items: list[bytes]
    more: bool


class _Page(Struct):
    items: list[Raw]
    next_cursor: str | None = None


class Api:
    """Calls under `/api/v1` of one address; a context manager. `options` repeat the address in hints."""

    def __init__(self, url: str, key: str | None, options: Sequence[str] = ()) -> None:
        import httpx

        base = url.rstrip("/").removesuffix(API)
        self.url = redact(base)
        self._options = options
        self._has_key = key is not None
        headers = {"user-agent": "taskflow"} | ({"authorization": f"Bearer {key}"} if key else {})
        try:
            self._http = httpx.Client(
                base_url=base, headers=headers, timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
            )
        except httpx.InvalidURL as error:
            raise click.UsageError(f"{self.url} is not a URL: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def command(self, words: str) -> str:
        """A command line for hints, which reaches the same address."""
        return shlex.join(["taskflow", *words.split(), *self._options])

    def get(self, path: str, query: Query = ()) -> bytes:
        """The body of an answer. Raises ApiError."""
        return self._call("GET", path, query=query)

    def post(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        """Send a command; the body of its answer. Raises ApiError."""
        return self._call("POST", path, body=body)

    def items(self, path: str, query: Query, limit: int) -> Items:
        """The first `limit` items of a list, over as many pages as they fill. Raises ApiError."""
        found: list[bytes] = []
        cursor: str | None = None
        while len(found) < limit:
            size = min(limit - len(found), PAGE_MAX)
            place = [("limit", str(size)), *([("cursor", cursor)] if cursor else [])]
            page = decoded(self.get(path, [*query, *place]), _Page)
            found += map(bytes, page.items)
            cursor = page.next_cursor
            if cursor is None:
                break
        return Items(found[:limit], more=cursor is not None or len(found) > limit)

    @contextmanager
    def stream(self, path: str, query: Query = ()) -> Iterator[Iterator[bytes]]:
        """An answer in the parts it comes in. Raises ApiError, in the midst of it too."""
        with (
            self._explained(commands=False),
            self._http.stream("GET", API + path, params=list(query)) as answer,
        ):
            if not answer.is_success:
                answer.read()
                raise refusal(self.url, answer, self._has_key)
            yield answer.iter_bytes()

    def _call(self, method: str, path: str, query: Query = (), body: dict[str, Any] | None = None) -> bytes:
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"content-type": "application/json"}
        with self._explained(commands=method != "GET"):
            answer = self._http.request(
                method, API + path, params=list(query), content=content, headers=headers
            )
        if not answer.is_success:
            raise refusal(self.url, answer, self._has_key)
        return answer.content

    @contextmanager
    def _explained(self, commands: bool) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.RequestError as error:
            raise no_answer(self.url, error, ANSWER_SECONDS, commands) from error
        except (httpx.InvalidURL, UnicodeError) as error:  # the second: a host that cannot be one
            raise click.UsageError(f"{self.url} is not a URL: {error}") from error


def segment(text: str) -> str:
    """A part of a path: what a user gave as an id cannot lead elsewhere. Raises UsageError."""
    if text in ("", ".", ".."):
        raise click.UsageError(f"expected an ID, not {text!r}")
    return quote(text, safe="")


def decoded(raw: bytes, kind: type[T]) -> T:
    """The value of JSON. Raises ApiError: then it is no TaskFlow that answered."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ApiError(f"the answer is not that of a TaskFlow API: {error}") from error


def facts(raw: bytes) -> dict[str, Any]:
    """The members of a JSON object. A payload stays text, as numbers in it may be beyond any float."""
    members = decoded(raw, dict[str, Raw])
    return {
        name: bytes(value) if name in KEPT_AS_SENT else decoded(bytes(value), object)
        for name, value in members.items()
    }
