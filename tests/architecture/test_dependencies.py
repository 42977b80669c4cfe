"""No pin that we ship has a known vulnerability, as far as a source of advisories answers; else that is skipped."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from tests.support.systems import ROOT

REQUIREMENTS = sorted((ROOT / "deployments/requirements").glob("*.txt"))
BAD = ("jinja2", "2.10", "PYSEC-2019-217")
"""A pin with an advisory that every source knows: one that does not tell of it is none."""
SOURCES = {"PyPI": ["--vulnerability-service", "pypi"], "OSV": ["--vulnerability-service", "osv"]}
ACCEPTED: dict[str, str] = {}
"""Advisories that do not concern us, and why."""
HASH = f"sha256:{'0' * 64}"


class Audit(NamedTuple):
    """What pip-audit found: advisories by pin, and the pins it could not ask about. Neither: it failed."""

    vulnerable: dict[str, set[str]]
    unknown: set[str]
    asked: set[str]
    said: str


def audit(files: list[Path], source: list[str], cache: Path) -> Audit:
    """Ask `source` about all pins of these files, without pip and without a network but for it."""
    given = [argument for file in files for argument in ("--requirement", str(file))]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", *given, *source, "--require-hashes", "--disable-pip", "--format", "json",
         "--progress-spinner", "off", "--timeout", "10", "--cache-dir", str(cache)],
        capture_output=True, text=True, check=False, timeout=100, env={**os.environ, "no_proxy": "127.0.0.1"},
    )  # fmt: skip
    vulnerable: dict[str, set[str]] = {}
    unknown, asked = set(), set()
    for one in json.loads(done.stdout or '{"dependencies": []}')["dependencies"]:
        if "skip_reason" in one:
            unknown.add(one["name"])
            continue
        asked.add(one["name"])
        names = [{found["id"], *found["aliases"]} for found in one["vulns"]]
        if ids := set().union(*(those for those in names if not those & ACCEPTED.keys())):
            vulnerable[f"{one['name']}=={one['version']}"] = ids
    return Audit(vulnerable, unknown, asked, done.stderr[-500:])


def pinned(files: list[Path]) -> set[str]:
    """The packages that these files pin for this machine's Python and system."""
    lines = [
        line for file in files for line in re.findall(r"^[\w.-]+==[^\\\n]+", file.read_text(), re.MULTILINE)
    ]
    found = map(Requirement, lines)
    return {one.name for one in found if one.marker is None or one.marker.evaluate()}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is told is kept for this module alone."""
    return tmp_path_factory.mktemp("advisories")


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Requirements with the bad pin alone."""
    file = tmp_path_factory.mktemp("bad") / "bad.txt"
    file.write_text(f"{BAD[0]}=={BAD[1]} --hash={HASH}\n")
    return file


@pytest.fixture(scope="module")
def source(bad: Path, cache: Path) -> list[str]:
    """The first source that tells of the bad pin. A mirror of PyPI may know packages and no advisories."""
    told = []
    for name, source in SOURCES.items():
        found = audit([bad], source, cache)
        if BAD[2] in found.vulnerable.get(f"{BAD[0]}=={BAD[1]}", ()):
            return source
        told.append(f"{name} knows none" if found.asked or found.unknown else f"{name} cannot be reached")
    pytest.skip(f"no source of advisories answers here: {', '.join(told)}")


def test_no_pin_has_a_known_vulnerability(source: list[str], cache: Path) -> None:
    found = audit(REQUIREMENTS, source, cache)
    assert found.vulnerable == {}
    assert found.asked == pinned(REQUIREMENTS), found.said


@contextmanager
def advisories(answer: Callable[[dict[str, Any]], list[dict[str, Any]]]) -> Iterator[list[str]]:
    """A source of advisories of our own, which speaks as OSV does."""

    class Source(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            body = json.dumps({"vulns": answer(asked)}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Source)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield [
            "--vulnerability-service",
            "osv",
            "--osv-url",
            f"http://127.0.0.1:{server.server_port}/v1/query",
        ]
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_every_pin_is_asked_about_and_what_a_source_tells_is_found(bad: Path, tmp_path: Path) -> None:
    """The audit itself, wherever it runs: with a source that knows the bad pin alone."""

    def answer(asked: dict[str, Any]) -> list[dict[str, Any]]:
        name = asked["package"]["name"]
        if (name, asked["version"]) != BAD[:2]:
            return []
        affected = {"package": {"name": name, "ecosystem": "PyPI"}, "versions": [BAD[1]]}
        return [
            {
                "id": BAD[2],
                "schema_version": "1.4.0",
                "affected": [affected],
                "published": "2019-04-08T13:29:00Z",
            }
        ]

    with advisories(answer) as source:
        found = audit([bad], source, tmp_path)
        assert found.vulnerable == {f"{BAD[0]}=={BAD[1]}": {BAD[2]}}, found.said
        ours = audit(REQUIREMENTS, source, tmp_path)
    assert ours.vulnerable == {}
    assert ours.asked == pinned(REQUIREMENTS), ours.said
    assert not ours.unknown
