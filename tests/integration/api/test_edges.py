"""What is the same for all paths: heads, slashes at the end, request ids, probes, the docs page."""

from __future__ import annotations

import httpx
from tests.integration.api.test_tasks import TASKS, submit


def test_heads_slashes_ids_and_probes(http: httpx.Client) -> None:
    task = submit(http)
    head = http.head(f"{TASKS}/{task['id']}/")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 100
    stream = http.head(f"{TASKS}/{task['id']}/events", headers={"accept": "text/event-stream"})
    assert (stream.status_code, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert http.get("/livez", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert http.get("/livez", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"
    for path in (
        "/livez",
        "/readyz",
        "/health",
        "/api/v1/health",
        "/docs",
        "/docs/page.js",
        "/docs/page.css",
    ):
        assert http.get(path).status_code == 200, path
    assert http.get("/").headers["location"] == "/docs"
    assert http.options(TASKS).headers["allow"] == "GET, HEAD, OPTIONS, POST"
    ready = http.get("/readyz").json()
    assert ready["ready"] is True
    assert "postgres" in ready


def test_the_docs_page_asks_nobody_else(http: httpx.Client) -> None:
    for path in ("/docs", "/docs/page.js", "/docs/page.css"):
        text = http.get(path).text
        assert "http://" not in text
        assert "https://" not in text
    assert 'id="problem-unknown_field"' in http.get("/docs").text
