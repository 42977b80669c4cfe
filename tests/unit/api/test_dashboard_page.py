"""The built dashboard as the api serves it, and what stands in its place."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from tests.support.logs import logged

from taskflow.domain.errors import NotFound
from taskflow_api import dashboard_page
from taskflow_api.dashboard_page import POLICY, Dashboard

HTML = {b"accept": b"text/html,application/xhtml+xml"}
SCRIPT = "console.log(1);" * 200


def build(folder: Path, mark: str = "first") -> Dashboard:
    (folder / "assets").mkdir(exist_ok=True)
    (folder / "assets" / f"index-{mark}.js").write_text(SCRIPT)
    (folder / "assets" / "mark.svg").write_text("<svg/>")
    (folder / "index.html").write_text(f"<title>{mark}</title>")
    return Dashboard(folder)


def test_the_page_is_asked_for_again_each_time(tmp_path: Path) -> None:
    dashboard = build(tmp_path)
    reply = dashboard.screen("/tasks/7", HTML)
    headers = dict(reply.headers)
    assert (reply.status, reply.body, reply.media_type) == (
        200,
        b"<title>first</title>",
        "text/html; charset=utf-8",
    )
    assert headers["cache-control"] == "no-cache"
    assert headers["content-security-policy"] == POLICY
    known = dashboard.screen("/", {**HTML, b"if-none-match": headers["etag"].encode()})
    assert (known.status, known.body) == (304, b"")
    assert dashboard.screen("/", {**HTML, b"if-none-match": b'"other"'}).status == 200


def test_the_policy_lets_nothing_run_that_is_not_ours() -> None:
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


def test_files_are_kept_for_ever_and_sent_zipped(tmp_path: Path) -> None:
    dashboard = build(tmp_path)
    plain = dashboard.asset("index-first.js", {})
    assert (plain.body.decode(), plain.media_type) == (SCRIPT, "text/javascript; charset=utf-8")
    assert "immutable" in dict(plain.headers)["cache-control"]
    zipped = dashboard.asset("index-first.js", {b"accept-encoding": b"gzip, br"})
    assert dict(zipped.headers)["content-encoding"] == "gzip"
    assert gzip.decompress(zipped.body).decode() == SCRIPT
    for taken, asked in ((True, b"br, gzip;q=0.5"), (False, b"gzip;q=0, br"), (False, b"gzip; q=0.0")):
        headers = dict(dashboard.asset("index-first.js", {b"accept-encoding": asked}).headers)
        assert ("content-encoding" in headers) is taken, asked
    small = dashboard.asset("mark.svg", {b"accept-encoding": b"gzip"})
    assert (small.body, small.media_type, "content-encoding" in dict(small.headers)) == (
        b"<svg/>",
        "image/svg+xml",
        False,
    )


@pytest.mark.parametrize("name", ["nothing.js", "../index.html", "..%2findex.html", ""])
def test_there_are_no_other_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        build(tmp_path).asset(name, {})


@pytest.mark.parametrize(
    ("path", "accept", "is_shown"),
    [
        ("/", b"*/*", True),
        ("/tasks", b"*/*", False),
        ("/tasks", b"application/json", False),
        ("/", b"application/json", False),
    ],
)
def test_programs_are_told_where_the_calls_are(
    tmp_path: Path, path: str, accept: bytes, *, is_shown: bool
) -> None:
    dashboard = build(tmp_path)
    if is_shown:
        assert dashboard.screen(path, {b"accept": accept}).status == 200
        return
    with pytest.raises(NotFound) as refused:
        dashboard.screen(path, {b"accept": accept})
    assert "/api/v1" in str(refused.value.hint)


def test_where_it_is_not_built_a_page_says_so_until_it_is(tmp_path: Path) -> None:
    with logged(dashboard_page) as lines:
        dashboard = Dashboard(tmp_path / "nowhere")
    assert [line["event"] for line in lines] == ["dashboard.missing"]
    reply = dashboard.screen("/", HTML)
    assert reply.status == 200
    assert b"make dashboard" in reply.body
    assert dict(reply.headers)["content-security-policy"] == POLICY
    (tmp_path / "nowhere").mkdir()
    build(tmp_path / "nowhere")
    assert dashboard.screen("/", HTML).body == b"<title>first</title>"


def test_what_is_built_anew_is_shown_and_open_pages_find_their_parts(tmp_path: Path) -> None:
    dashboard = build(tmp_path)
    (tmp_path / "assets" / "index-first.js").unlink()
    build(tmp_path, "second")
    os.utime(tmp_path / "index.html", (1, 1))
    # The page may have come from another api, which had looked before.
    assert dashboard.asset("index-second.js", {}).status == 200
    assert dashboard.screen("/", HTML).body == b"<title>second</title>"
    assert dashboard.asset("index-second.js", {}).status == 200
    assert dashboard.asset("index-first.js", {}).status == 200
