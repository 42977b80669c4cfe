"""The api: an ASGI app of Litestar routes behind the edge, and the program that serves it.

async with open_services(settings) as services:
    app = create_app(services, settings)
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from litestar import HttpMethod, Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from taskflow.bus.rights import Role
from taskflow.domain.account import Scope
from taskflow.domain.errors import BadHeader, NotFound, TaskflowError
from taskflow.kit.logging import get_logger
from taskflow.kit.tracing import tracing
from taskflow_api import dashboard_page, docs_page, openapi
from taskflow_api.addresses import Proxies
from taskflow_api.cors import Cors
from taskflow_api.dashboard_page import Dashboard
from taskflow_api.drain import Drain
from taskflow_api.edge import Edge
from taskflow_api.operation import Call, Operation
from taskflow_api.problems import MethodNotAllowed, problem
from taskflow_api.replies import Reply
from taskflow_api.routes import OPERATIONS
from taskflow_api.server import allow_many_connections, bound_socket, serve_http
from taskflow_api.services import Services
from taskflow_api.settings import Settings
from taskflow_api.sockets import METHODS, TaskSockets, is_socket

if TYPE_CHECKING:
    from litestar.types import ASGIApp as App

log = get_logger(__name__)


def _form_of(template: str) -> re.Pattern[str]:
    """The paths that a template stands for."""
    return re.compile(re.sub(r"{\w+}", "[^/]+", template))


_TEMPLATES = [(_form_of(one.path), one) for one in OPERATIONS]
_PAGES = frozenset({*docs_page.PATHS, openapi.PATH, dashboard_page.ADMIN})
_SCREENS = [_form_of(path) for path in (*dashboard_page.SCREENS, dashboard_page.ASSET)]
_JOBS = re.compile(r"/api(?:/v1)?/jobs(?:/.*)?")


def create_app(
    services: Services, settings: Settings, drain: Drain | None = None, dashboard: Dashboard | None = None
) -> App:
    """The whole api. `drain` tells its routes that the program is ending; `dashboard` is the built page."""
    drain = drain or Drain()
    app = Litestar(
        route_handlers=[
            *(_route(operation, _wanted(operation, settings), services, drain) for operation in OPERATIONS),
            _page(openapi.PATH, openapi.document_reply()),
            *(_page(path, reply) for path, reply in docs_page.replies().items()),
            _page(dashboard_page.ADMIN, Reply(302, b"", [("location", "/")], media_type="")),
            *_dashboard(dashboard or Dashboard()),
        ],
        exception_handlers={HTTPException: _refuse, Exception: _fail},
        openapi_config=None,
        logging_config=None,
    )
    return Edge(
        app,
        drain,
        allowed_methods,
        sockets=TaskSockets(services, settings, drain),
        proxies=Proxies(settings.trusted_proxies),
        cors=Cors(settings.cors_origin),
        logs_requests=settings.log_level == "debug",
    )


async def serve(settings: Settings, stop: asyncio.Event) -> int | None:
    """The program: listen until told to stop, then drain."""
    from taskflow_api.wiring import open_services

    allow_many_connections()
    traces = tracing(Role.API, on=settings.traces, ratio=settings.trace_sample_ratio)
    with traces, bound_socket(settings.http_host, settings.http_port) as listener:
        async with open_services(settings) as services:
            drain = Drain()
            await serve_http(create_app(services, settings, drain), listener, drain, stop)
    return 0


def allowed_methods(path: str) -> list[str]:
    """The methods of a path, for 405 and OPTIONS; empty if there is no such path."""
    if path in _PAGES or any(form.fullmatch(path) for form in _SCREENS):
        return ["GET", "HEAD", "OPTIONS"]
    if is_socket(path):
        return METHODS
    # A path written out in full goes before one with a parameter, as in Litestar's routing.
    found = [one for _, one in _TEMPLATES if one.path == path]
    found = found or [one for form, one in _TEMPLATES if form.fullmatch(path)]
    methods = {one.method for one in found}
    methods |= {"HEAD"} if "GET" in methods else set()
    return sorted(methods | {"OPTIONS"}) if methods else []


def _wanted(operation: Operation, settings: Settings) -> Scope | None:
    """What credentials must allow for an operation, here."""
    return None if settings.metrics_open and operation.id == "readMetrics" else operation.scope


def _route(operation: Operation, wanted: Scope | None, services: Services, drain: Drain) -> HTTPRouteHandler:
    async def endpoint(request: Request[Any, Any, Any]) -> ASGIApp:
        try:
            caller = await services.admission.admit(
                request.scope, wanted, signs_in=operation.signs_in, takes_ticket=operation.takes_ticket
            )
            call = Call(operation, request.scope, request.receive, services, drain, caller)
            return await operation.handle(call)
        except TaskflowError as error:
            if type(error).code == TaskflowError.code:
                raise
            return problem(error, request.scope["state"]["request_id"])

    path = re.sub(r"{(\w+)}", r"{\1:str}", operation.path)
    method = HttpMethod(operation.method)
    # Routes answer with a status of their own; Litestar would take a DELETE for one that has no body.
    return HTTPRouteHandler(path, http_method=method, status_code=200, name=operation.id)(endpoint)


def _page(path: str, reply: Reply) -> HTTPRouteHandler:
    async def endpoint() -> ASGIApp:
        return reply

    return HTTPRouteHandler(path, http_method=HttpMethod.GET, name=f"page {path}")(endpoint)


def _dashboard(dashboard: Dashboard) -> list[HTTPRouteHandler]:
    async def screen(request: Request[Any, Any, Any]) -> ASGIApp:
        return _refusable(
            request, lambda: dashboard.screen(request.scope["path"], dict(request.scope["headers"]))
        )

    async def asset(request: Request[Any, Any, Any]) -> ASGIApp:
        name = request.scope["path_params"]["name"]
        return _refusable(request, lambda: dashboard.asset(name, dict(request.scope["headers"])))

    screens = [re.sub(r"{(\w+)}", r"{\1:str}", path) for path in dashboard_page.SCREENS]
    get = HttpMethod.GET
    return [
        HTTPRouteHandler(screens, http_method=get, name="dashboard")(screen),
        HTTPRouteHandler("/assets/{name:str}", http_method=get, name="dashboard assets")(asset),
    ]


def _refusable(request: Request[Any, Any, Any], made: Callable[[], Reply]) -> Reply:
    try:
        return made()
    except NotFound as error:
        return problem(error, request.scope["state"]["request_id"])


def _refuse(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What Litestar refuses: unknown routes, methods, and Host headers."""
    path = request.scope["path"]
    headers = []
    refusal: TaskflowError
    match error.status_code:
        case 404:
            hint = "jobs are called tasks here: /api/v1/tasks" if _JOBS.fullmatch(path) else None
            refusal = NotFound(f"there is no {path[:200]}", hint=hint)
        case 405:
            methods = allowed_methods(path)
            headers.append(("allow", ", ".join(methods)))
            refusal = MethodNotAllowed(f"{request.method} is not allowed here; expected {', '.join(methods)}")
        case 400:  # bodies and queries are read by us; what is left to Litestar is the header Host
            refusal = BadHeader(error.detail)
        case _:
            return _fail(request, error)
    return _rendered(problem(refusal, request.scope["state"]["request_id"]), headers)


def _fail(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Our own fault: told to the log in full, and to the caller by its id alone."""
    request_id = request.scope["state"]["request_id"]
    log.error("request.failed", request_id=request_id, path=request.scope["path"], exc_info=error)
    return _rendered(problem(TaskflowError(), request_id), [])


def _rendered(reply: Reply, headers: list[tuple[str, str]]) -> Response[bytes]:
    return Response(
        reply.body,
        status_code=reply.status,
        headers=dict([*reply.headers, *headers]),
        media_type=reply.media_type,
    )
