"""Calls that nobody signs: while AUTH_MODE is `disabled`, who reaches the api is its admin.

A web page reaches it too. It is run by the browser of somebody who sits at this machine, and what it sends
comes from here. So a call without credentials is taken from programs, and from pages of our own, but not from
pages of others: neither by the browser's word (`Sec-Fetch-Site`, `Origin`) nor under a name that only poses as
ours (DNS rebinding: evil.example, made to lead to 127.0.0.1, is its own page's origin).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from taskflow.domain.errors import Forbidden
from taskflow_api.cors import ANY
from taskflow_api.settings import Settings, is_loopback

if TYPE_CHECKING:
    from litestar.types import HTTPScope

_ASKED = frozenset({b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"})
_OURS = frozenset({"same-origin", "none"})
"""A page of ours, or the user himself: the address bar, a bookmark."""
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_HINT = "send credentials; or name the page's origin in CORS_ORIGIN"


def refuse_foreign_pages(scope: HTTPScope, settings: Settings) -> None:
    """Raise Forbidden if a call without credentials comes from a web page that is not ours.

    For calls that need a scope, of any method: reading gives things away too. A `*` in CORS_ORIGIN names
    nobody: it lets pages call that have credentials.
    """
    said = {name: value.decode("latin-1") for name, value in scope["headers"] if name in _ASKED}
    host, origin = said.get(b"host"), said.get(b"origin")
    # Nothing but a browser can be made to ask for a foreign name, and browsers always tell it.
    if host is not None and not names_this_machine(host) and is_loopback(settings.http_host):
        raise Forbidden(
            f"{host[:200]} is not a name of this machine, to which alone this api answers while nobody signs in",
            hint="call it as localhost or 127.0.0.1, or set AUTH_MODE=required",
        )
    if origin is not None and origin in settings.cors_origin:
        return
    site = said.get(b"sec-fetch-site")
    if site is not None:
        if site not in _OURS and not _is_followed_link(scope, said):
            raise Forbidden(_detail(origin), hint=_HINT)
    elif origin is not None and not _is_at(origin, host):
        raise Forbidden(_detail(origin), hint=_HINT)


def refuse_foreign_sockets(scope: HTTPScope, settings: Settings) -> None:
    """Raise Forbidden if a WebSocket is opened by a web page that is neither ours nor allowed by CORS_ORIGIN.

    Whatever it shows: a browser keeps from a page the answers of others, but not a WebSocket.
    """
    said = {name: value.decode("latin-1") for name, value in scope["headers"] if name in _ASKED}
    origin = said.get(b"origin")
    if origin is None or {origin, ANY} & set(settings.cors_origin) or _is_at(origin, said.get(b"host")):
        return
    raise Forbidden(
        f"a page of {origin[:200]} opened a WebSocket, which is neither ours nor allowed",
        hint="name it in CORS_ORIGIN",
    )


@lru_cache(maxsize=1024)
def names_this_machine(host: str) -> bool:
    """Whether a Host header can only mean this machine: no DNS answer decides where it leads."""
    name, _ = _split(host.lower())
    name = name.removesuffix(".")
    return is_loopback(name) or name.endswith(".localhost")


def _is_followed_link(scope: HTTPScope, said: dict[bytes, str]) -> bool:
    """A link that the user followed: he sees the answer, and the page he came from does not."""
    top = said.get(b"sec-fetch-mode") == "navigate" and said.get(b"sec-fetch-dest") == "document"
    return top and scope["method"] in {"GET", "HEAD"}


def _is_at(origin: str, host: str | None) -> bool:
    """Whether a page of this origin was loaded from `host`. The schemes may differ: a proxy may end TLS."""
    scheme, _, place = origin.lower().partition("://")
    default = _DEFAULT_PORTS.get(scheme)
    if default is None or host is None:
        return False
    (name, port), (our_name, our_port) = _split(place), _split(host.lower())
    return (name, port or default) == (our_name, our_port or default)


def _split(place: str) -> tuple[str, str]:
    """Host and port of `host:port`, `[::1]:port`, or a host alone."""
    host, colon, port = place.rpartition(":")
    return (host, port) if colon and not port.endswith("]") else (place, "")


def _detail(origin: str | None) -> str:
    who = f"a page of {origin[:200]}" if origin and origin != "null" else "a page of another site"
    return f"{who} called, and nobody signs in here: only this api's own pages may call without credentials"
