"""Builds the dashboard: Node (this machine's, or PyPI's), its packages, types from the OpenAPI document, one bundle.

The api serves what stands in `services/api/taskflow_api/dashboard`; it is built beside it and moved there when it is
whole. Nothing is done if nothing has changed. What cannot be had is told in one line.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILT = ROOT / "services" / "api" / "taskflow_api" / "dashboard"
NODE = ROOT / ".venv" / ".node"
"""Where PyPI's Node is installed: 200 MB, for building and for nothing else."""
REQUIREMENTS = ROOT / "deployments" / "requirements" / "dashboard.txt"
STAMP = "built-from"
NODE_LEAST = (22, 18)
_SOURCES = (
    "src",
    "index.html",
    "package.json",
    "package-lock.json",
    ".npmrc",
    "tsconfig.json",
    "vite.config.ts",
)
_NOT_SOURCES = {"schema.d.ts"}
# A registry that does not answer is given up on within a minute or so.
_PATIENCE = (
    "--fetch-retries=2",
    "--fetch-timeout=20000",
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-maxtimeout=5000",
)


CANNOT = 3
"""The exit code where what it is made with cannot be had; 1 is for what is wrong with the dashboard."""


class Missing(Exception):
    """What it is made with cannot be had, in words."""


class Wrong(Exception):
    """What a step says of the dashboard."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 done, or nothing to do."""
    parser = argparse.ArgumentParser(description="Build the dashboard, if it is not as its sources are.")
    parser.add_argument(
        "--out", type=Path, default=BUILT, help="where it goes (default: where the api looks)"
    )
    parser.add_argument(
        "--check", action="store_true", help="only check its types, its style, and its own tests"
    )
    parser.add_argument(
        "--node", type=Path, default=NODE, help="where Node is installed if this machine has none"
    )
    said = parser.parse_args(arguments)
    try:
        if said.check:
            check(said.node.resolve())
        elif build(said.out.resolve(), said.node.resolve()):
            print(f"dashboard: built into {said.out}")
    except Missing as error:
        print(f"dashboard: {error}", file=sys.stderr)
        return CANNOT
    except Wrong as error:
        print(f"dashboard: {error}", file=sys.stderr)
        return 1
    return 0


def build(out: Path, node: Path = NODE) -> bool:
    """Build it; False: it is there as its sources are."""
    document = openapi()
    stamp = fingerprint(document)
    with one_at_a_time():
        if (out / STAMP).is_file() and (out / STAMP).read_text() == stamp:
            return False
        _bundle(out, stamp, prepared(node, document))
    return True


def _bundle(out: Path, stamp: str, npm: Npm) -> None:
    with tempfile.TemporaryDirectory(prefix=".dashboard-", dir=out.parent) as folder:
        fresh = Path(folder) / "dashboard"
        npm("the build", "run", "--silent", "build", "--", "--outDir", str(fresh), "--logLevel", "warn")
        (fresh / STAMP).write_text(stamp)
        shutil.rmtree(out, ignore_errors=True)
        fresh.rename(out)


def check(node: Path = NODE) -> None:
    """What `tsc`, `eslint`, `prettier` and `vitest` say of the sources."""
    with one_at_a_time():
        npm = prepared(node, openapi())
        npm("the check of its types and its style", "run", "--silent", "check")
        npm("its own tests", "run", "--silent", "test")


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two of them would take each other's packages away."""
    with (HERE / "package-lock.json").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def openapi() -> bytes:
    """The API's document: its types are those of the page."""
    try:
        from taskflow_api.openapi import document
    except ImportError as error:
        raise Missing(
            f"it is made from the API's document, and the api is not installed here ({error})"
        ) from None
    return json.dumps(document(), indent=1, sort_keys=True).encode()


def fingerprint(document: bytes) -> str:
    """What the bundle comes from."""
    known = hashlib.sha256(document)
    for path in sorted(source_files()):
        known.update(str(path.relative_to(HERE)).encode() + b"\0" + path.read_bytes())
    return known.hexdigest()


def source_files() -> list[Path]:
    """Everything that goes into it."""
    found: list[Path] = []
    for name in _SOURCES:
        place = HERE / name
        found += [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return [path for path in found if path.name not in _NOT_SOURCES]


class Npm:
    """Runs npm in the dashboard's folder, with the Node of `bin`."""

    def __init__(self, bin_: Path) -> None:
        self._environment = os.environ | {
            "PATH": f"{bin_}{os.pathsep}{os.environ.get('PATH', '')}",
            "NO_COLOR": "1",
        }

    def __call__(self, what: str, *arguments: str) -> None:
        """Run it; `what` it is for, if it fails."""
        ran = _run("npm", *arguments, environment=self._environment)
        if ran.returncode != 0:
            raise Wrong(f"{what} failed:\n{ran.stdout}{ran.stderr}".strip())

    def install(self) -> None:
        """The packages of the lock file."""
        ran = _run("npm", "ci", "--loglevel=error", *_PATIENCE, environment=self._environment)
        if ran.returncode != 0:
            raise Missing(f"its packages cannot be had from the npm registry: {_reason(ran.stderr)}")


def prepared(node: Path, document: bytes) -> Npm:
    """Node, the packages of the lock file, and the types."""
    npm = Npm(node_bin(node))
    lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    installed = HERE / "node_modules" / ".installed-from"
    if not installed.is_file() or installed.read_text() != lock:
        print("dashboard: its packages, from the npm registry", file=sys.stderr)
        npm.install()
        installed.write_text(lock)
    (HERE / "openapi.json").write_bytes(document)
    npm("the types of the API", "run", "--silent", "types")
    return npm


def node_bin(place: Path) -> Path:
    """Where `node` and `npm` are: this machine's if they are new enough, else those of PyPI, put into `place`."""
    found = shutil.which("node")
    if found and shutil.which("npm") and _version(found) >= NODE_LEAST:
        return Path(found).parent
    scripts = place / "bin"
    if not (scripts / "npm").exists():
        print(f"dashboard: Node from PyPI, from {REQUIREMENTS.name}", file=sys.stderr)
        _install(place)
    return scripts


def _version(node: str) -> tuple[int, ...]:
    said = _run(node, "--version").stdout
    return tuple(int(part) for part in re.findall(r"\d+", said)[:2])


def _install(place: Path) -> None:
    """With the Python below this one's environment: the environment need not have pip."""
    base: str = getattr(sys, "_base_executable", sys.executable)
    ran = _run(base, "-m", "venv", "--without-pip", "--clear", str(place))
    if ran.returncode == 0:
        pip = (base, "-m", "pip", f"--python={place / 'bin' / 'python'}", "install", "-qq", "--no-input")
        quiet = ("--disable-pip-version-check", "--root-user-action=ignore", "--timeout=20", "--retries=2")
        ran = _run(*pip, *quiet, "--only-binary", ":all:", "--require-hashes", "-r", str(REQUIREMENTS))
    if ran.returncode != 0:
        shutil.rmtree(place, ignore_errors=True)
        least = ".".join(map(str, NODE_LEAST))
        needs = (
            f"it needs Node {least} or newer, with npm; this machine has none, nor could it be had from PyPI"
        )
        raise Missing(f"{needs}: {_reason(ran.stderr or ran.stdout)}")  # venv tells it on stdout


def _run(*words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # nosec B603  # a list, no shell; the words are ours
        words, cwd=HERE, env=environment, capture_output=True, text=True, check=False
    )


def _reason(text: str) -> str:
    """The line of an error output that says most."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"error|failed|ERR!|ECONN|ENOTFOUND", line, re.IGNORECASE)]
    return (telling or lines or [""])[0][:300]


if __name__ == "__main__":
    sys.exit(main())
