"""`/docs`: the OpenAPI document for people. Own files, no requests to anywhere else, so it works offline."""

from __future__ import annotations

from html import escape
from pathlib import Path

from taskflow_api.problems import STATUSES
from taskflow_api.replies import Reply

_FOLDER = Path(__file__).parent / "documentation"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES = {
    "/docs/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/docs/page.css": ("page.css", "text/css; charset=utf-8"),
}
PATHS = ("/docs", *_FILES)


def replies() -> dict[str, Reply]:
    """The pages by path."""
    page = (_FOLDER / "index.html").read_text().replace("<!-- problems -->", _problems())
    headers = [("content-security-policy", _POLICY)]
    made = {
        "/docs": Reply(200, page.encode(), headers, "text/html; charset=utf-8"),
    }
    for path, (name, kind) in _FILES.items():
        made[path] = Reply(200, (_FOLDER / name).read_bytes(), [], kind)
    return made


def _problems() -> str:
    """A row for each code, at the place that a problem's `type` leads to."""
    rows = sorted((status, kind.code, kind.title()) for kind, status in STATUSES.items())
    return "\n".join(
        f'<tr id="problem-{code}"><td>{status}</td><td><code>{code}</code></td><td>{escape(title)}</td></tr>'
        for status, code, title in rows
    )
