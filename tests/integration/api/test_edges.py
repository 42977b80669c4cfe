"""What is the same for all paths: heads, slashes at the end, request ids, probes, the docs page."""

from __future__ import annotations

import httpx
from tests.integration.api.test_bad_input import check_problem
from tests.integration.api.test_tasks import TASKS, submit
from tests.support.apis import running_api

from taskflow_api.dashboard_page import POLICY


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
    assert http.get("/admin").headers["location"] == "/"
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


def test_the_dashboard_is_at_the_root(http: httpx.Client) -> None:
    html = {"accept": "text/html"}
    for path in ("/", "/tasks", "/tasks/7/", "/dead-letters/7", "/sign-in"):
        answer = http.get(path, headers=html)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8"), path
        assert answer.headers.get_list("content-security-policy") == [POLICY]
        assert answer.headers.get_list("cache-control") == ["no-cache"]
    assert http.head("/", headers=html).content == b""
    assert http.options("/tasks/7").headers["allow"] == "GET, HEAD, OPTIONS"
    check_problem(http.post("/tasks", headers=html), 405, "method_not_allowed")
    check_problem(http.get("/tasks", headers={"accept": "application/json"}), 404, "not_found")
    check_problem(http.get("/tasks/7/nope", headers=html), 404, "not_found")
    check_problem(http.get("/assets/nope.js"), 404, "not_found")


def test_every_answer_is_shielded(http: httpx.Client) -> None:
    for path, status in (("/livez", 200), ("/docs", 200), ("/admin", 302), (TASKS, 200), ("/nope", 404)):
        answer = http.get(path)
        headers = answer.headers
        assert answer.status_code == status
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers.get_list("cache-control") == ["no-store"]
        assert len(headers.get_list("content-security-policy")) == 1
        assert "strict-transport-security" not in headers
    assert "script-src 'self'" in http.get("/docs").headers["content-security-policy"]
    refused = http.get("/livez", headers={"host": "a b"})
    check_problem(refused, 400, "bad_header")
    assert refused.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_a_page_of_an_allowed_origin_by_a_trusted_proxy(database_url: str, nats_url: str) -> None:
    origin = "https://app.example.com"
    settings = {"CORS_ORIGIN": origin, "TRUSTED_PROXIES": "127.0.0.1"}
    with running_api(database_url, nats_url, **settings) as api, httpx.Client(base_url=api.url) as http:
        asks = {"origin": origin, "access-control-request-method": "POST"}
        preflight = http.options(TASKS, headers=asks)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == origin
        assert "Authorization" in preflight.headers["access-control-allow-headers"]
        sent = {"origin": origin, "x-forwarded-proto": "https", "x-forwarded-for": "198.51.100.7"}
        answer = http.post(TASKS, json={"type": "echo"}, headers=sent)
        assert answer.status_code == 202
        assert answer.headers["access-control-allow-origin"] == origin
        assert "Location" in answer.headers["access-control-expose-headers"]
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        other = http.get("/nope", headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        assert other.headers["vary"] == "Origin"
        check_problem(http.put("/nope", headers={"origin": origin}), 404, "not_found")
