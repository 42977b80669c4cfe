"""The dashboard: the page that was built from `services/dashboard`, at the root and at the path of each screen.

Its files are read once, and again when it was built anew: no path of a request reaches the file system. Where it was not
built a page says so; the api serves all the same.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from taskflow.domain.errors import NotFound
from taskflow.kit.logging import get_logger
from taskflow_api.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

log = get_logger(__name__)

FOLDER = Path(__file__).parent / "dashboard"
POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
)
ASSET = "/assets/{name}"
SCREENS = (
    "/", "/tasks", "/tasks/{id}", "/submit", "/queues", "/workers", "/dead-letters", "/dead-letters/{id}", "/operations",
    "/operations/{id}", "/webhooks", "/access", "/system", "/sign-in",
)  # fmt: skip
"""The paths at which the page finds a screen by itself (`services/dashboard/src/app.tsx`)."""
ADMIN = "/admin"

_HTML = "text/html; charset=utf-8"
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_FOR_EVER = [("cache-control", "public, max-age=31536000, immutable"), ("vary", "accept-encoding")]
_MISSING = Path(__file__).parent / "documentation" / "no_dashboard.html"
_WORTH_ZIPPING = 1_000
_TAKES_GZIP = re.compile(rb"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))")


class _File(Struct, frozen=True):
    kind: str
    body: bytes
    zipped: bytes | None
    tag: str

    @classmethod
    def of(cls, path: Path) -> _File:
        body = path.read_bytes()
        zipped = gzip.compress(body, mtime=0) if len(body) >= _WORTH_ZIPPING else None
        kind = _KINDS.get(path.suffix, "application/octet-stream")
        return cls(kind, body, zipped, f'"{hashlib.sha256(body).hexdigest()[:20]}"')

    def reply(
        self, asked: Mapping[bytes, bytes], headers: list[tuple[str, str]], kind: str | None = None
    ) -> Reply:
        if self.zipped is not None and _TAKES_GZIP.search(asked.get(b"accept-encoding", b"")):
            return Reply(200, self.zipped, [*headers, ("content-encoding", "gzip")], kind or self.kind)
        return Reply(200, self.body, headers, kind or self.kind)


class Dashboard:
    """The built page in `folder`."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._built_at: int | None = None
        self._page: _File | None = None
        self._assets: dict[str, _File] = {}
        self._look()
        if self._page is None:
            log.warning("dashboard.missing", hint="make dashboard builds it; the API serves all the same")

    def screen(self, path: str, asked: Mapping[bytes, bytes]) -> Reply:
        """The page, for whoever takes HTML; it finds the screen by its path."""
        accepts = asked.get(b"accept", b"*/*")
        if b"text/html" not in accepts and not (path == "/" and b"*/*" in accepts):
            raise NotFound("this is a screen of the dashboard", hint="the API's calls begin with /api/v1")
        self._look()
        headers = [("content-security-policy", POLICY), ("cache-control", "no-cache")]
        page = self._page
        if page is None:
            return Reply(200, _MISSING.read_bytes(), headers, _HTML)
        headers += [("etag", page.tag), ("vary", "accept-encoding")]
        if page.tag.encode() in asked.get(b"if-none-match", b""):
            return Reply(304, b"", headers, media_type="")
        return page.reply(asked, headers, _HTML)

    def asset(self, name: str, asked: Mapping[bytes, bytes]) -> Reply:
        """A file of the page; its name changes with what is in it."""
        if name not in self._assets:
            self._look()
        found = self._assets.get(name)
        if found is None:
            raise NotFound(f"there is no /assets/{name[:200]}")
        return found.reply(asked, _FOR_EVER)

    def _look(self) -> None:
        """Read the files if they are others than those that are known."""
        index = self._folder / "index.html"
        try:
            built_at = index.stat().st_mtime_ns
            if built_at == self._built_at:
                return
            assets = {path.name: _File.of(path) for path in (self._folder / "assets").iterdir()}
            # Who has the old page open may still ask for a part of it.
            self._assets = {**self._assets, **assets}
            self._page, self._built_at = _File.of(index), built_at
        except OSError:  # it is not there, or is being moved into its place
            return
