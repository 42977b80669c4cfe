"""The outermost layer: what holds for every request, also for those that reach no route.

Request ids, who calls, HEAD, OPTIONS, trailing slashes, the limit of requests at once, the headers of every
answer, and that an error of any kind leaves as a problem with the same members. Litestar's own middleware
runs after its routing, so this wraps the whole of it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from litestar.enums import ScopeType

from taskflow.domain.errors import Overloaded, TaskflowError
from taskflow.kit.logging import get_logger
from taskflow_api import meters
from taskflow_api.addresses import Proxies
from taskflow_api.common_headers import beside, common_headers
from taskflow_api.cors import PREFLIGHT, Cors, Fields, is_preflight
from taskflow_api.drain import Drain
from taskflow_api.problems import problem
from taskflow_api.replies import Reply
from taskflow_api.sockets import as_request
from taskflow_api.websocket import PREFIX

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

log = get_logger(__name__)

REQUESTS_MAX = 5_000
"""Requests inside at once, waiting ones and streams included; more are answered 503."""
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_NOT_ANSWERED = 499
"""The status of a request that the end of this api broke off before its answer began."""
_OPENED = 101
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Edge:
    """The whole api as an ASGI app. `allowed(path)` tells the methods of a path."""

    def __init__(
        self,
        app: ASGIApp,
        drain: Drain,
        allowed: Callable[[str], list[str]],
        *,
        sockets: ASGIApp | None = None,
        proxies: Proxies | None = None,
        cors: Cors | None = None,
        logs_requests: bool = False,
    ) -> None:
        self._app = app
        self._drain = drain
        self._allowed = allowed
        self._sockets = sockets or app
        self._proxies = proxies or Proxies()
        self._cors = cors or Cors()
        self._logs_requests = logs_requests
        meters.IN_PROGRESS.set_function(lambda: drain.requests)

    async def __call__(self, any_scope: Scope, receive: Receive, send: Send) -> None:
        # The server sends no lifespan. It keeps its own view of the request: a copy.
        scope = cast("HTTPScope", dict(any_scope))
        if any_scope["type"] == ScopeType.WEBSOCKET:
            send = as_request(scope, send)
        request_id = _request_id(scope)
        scope["state"]["address"], scope["scheme"] = self._proxies.caller(scope)
        shared, is_shared = self._cors.headers(scope)
        common = common_headers(is_https=scope["scheme"] == "https", is_shared=is_shared)
        exchange = _Exchange(
            send, request_id, common, shared, scope["state"], is_head=scope["method"] == "HEAD"
        )
        method, path = scope["method"], scope["path"]
        with self._drain, self._measured(scope, method, path, exchange):
            try:
                await self._dispatch(scope, request_id)(scope, receive, exchange.send)
            except _BodyUnwanted:
                pass
            except Exception:  # the last line of defence
                if exchange.is_over:
                    return
                log.exception("request.failed", request_id=request_id, method=method, path=path)
                if exchange.status:
                    raise
                await problem(TaskflowError(), request_id)(scope, receive, exchange.send)

    @contextmanager
    def _measured(self, scope: HTTPScope, method: str, path: str, exchange: _Exchange) -> Iterator[None]:
        """Count a request, however it ends."""
        begun = perf_counter()
        try:
            yield
        finally:
            seconds, status = perf_counter() - begun, exchange.status or _NOT_ANSWERED
            self._measure(scope, method, exchange, status, seconds)
            if self._logs_requests:
                took, request_id = round(seconds * 1000, 2), scope["state"]["request_id"]
                log.debug(
                    "request.answered",
                    method=method,
                    path=path,
                    status=status,
                    ms=took,
                    request_id=request_id,
                )

    @staticmethod
    def _measure(scope: HTTPScope, method: str, exchange: _Exchange, status: int, seconds: float) -> None:
        template = scope.get("path_template")
        route = meters.route_of(template) if template else ""
        method = method if method in _METHODS else "other"
        meters.REQUESTS.labels(method, route, str(status)).inc()
        if exchange.is_over and not exchange.is_stream and b"wait=" not in scope["query_string"]:
            meters.DURATION.observe(seconds, method, route)

    def _dispatch(self, scope: HTTPScope, request_id: str) -> ASGIApp:
        path = scope["path"]
        if len(path) > 1 and path.endswith("/"):
            scope["path"] = path = path.rstrip("/") or "/"
        if self._drain.requests > REQUESTS_MAX:
            return problem(
                Overloaded(f"over {REQUESTS_MAX} requests at once", retry_after_seconds=1), request_id
            )
        if scope["method"] == "HEAD":
            scope["method"] = "GET"
        elif scope["method"] == "OPTIONS":
            return self._options(scope, path)
        return self._sockets if path.startswith(PREFIX) else self._app

    def _options(self, scope: HTTPScope, path: str) -> ASGIApp:
        methods = self._allowed(path)
        headers = [("allow", ", ".join(methods))] if methods else []
        if is_preflight(scope) and self._cors.headers(scope)[1]:
            headers += PREFLIGHT
        return Reply(204, b"", headers, media_type="") if headers else self._app


def new_request_id() -> str:
    """A name for one call."""
    return f"{random.getrandbits(96):024x}"  # nosec B311  # a name, not a secret


def _request_id(scope: HTTPScope) -> str:
    """The caller's id if it is harmless, else a new one; left where routes find it."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    request_id = given.decode() if _REQUEST_ID.fullmatch(given) else new_request_id()
    scope.setdefault("state", {})["request_id"] = request_id
    return request_id


class _BodyUnwanted(Exception):
    pass


class _Exchange:
    """What goes out for one request: adds the headers of every answer, leaves out the body of a HEAD."""

    __slots__ = (
        "_common", "_is_head", "_request_id", "_send", "_shared", "_state", "is_over", "is_stream", "status",
    )  # fmt: skip

    def __init__(
        self,
        send: Send,
        request_id: str,
        common: Fields,
        shared: Fields,
        state: Mapping[str, Any],
        *,
        is_head: bool,
    ) -> None:
        self._state = state
        self._send = send
        self._request_id = request_id.encode()
        self._common = common
        self._shared = shared
        self._is_head = is_head
        self.status = 0
        self.is_over = False
        self.is_stream = False

    async def send(self, message: Message) -> None:
        """Pass one message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = list(message["headers"])
            self.is_stream = any(
                name == b"content-type" and value.startswith(b"text/event-stream") for name, value in own
            )
            common = beside(own, self._common)
            limits = self._state.get("limits", ())  # how those stand that the call was counted against
            message["headers"] = [
                *own,
                *common,
                *self._shared,
                *limits,
                (b"x-request-id", self._request_id),
            ]
        elif message["type"] == "http.response.body":
            if self._is_head:
                await self._send_no_body(is_more=message.get("more_body", False))
                return
            self.is_over = not message.get("more_body", False)
        elif message["type"] == "websocket.accept":
            self.status, self.is_stream = _OPENED, True
            message["headers"] = [*self._common, (b"x-request-id", self._request_id)]
        elif message["type"] == "websocket.close":
            self.is_over = True
        await self._send(message)

    async def _send_no_body(self, *, is_more: bool) -> None:
        if not self.is_over:
            self.is_over = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        if is_more:
            raise _BodyUnwanted
