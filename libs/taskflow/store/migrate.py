"""Bring the schema up to date: plain SQL files of `migrations/`, applied by dbmate under a database lock.

Safe when several programs start at once: dbmate's lock lets one migrate and the others wait and find nothing to do.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import asyncpg

from taskflow.domain.errors import Unavailable
from taskflow.kit.logging import get_logger
from taskflow.store.errors import translated
from taskflow.store.partitions import ensure_ranges_ahead

log = get_logger(__name__)


_AWAY = ("dial ", "refused", "the database system is", "too many clients", "connection reset")
"""What dbmate says of a server that cannot be reached, or not yet."""


class MigrationFailed(Exception):
    """A migration could not be applied."""


def migrations_dir() -> Path:
    """Where the SQL files are: inside an installed package, else at the top of the checkout."""
    packaged = Path(__file__).parents[1] / "migrations"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "migrations"


async def migrate(database_url: str) -> None:
    """Apply what is missing, then make the ranges of ids that will be needed soon."""
    await run_dbmate(database_url, "--no-dump-schema", "--migration-lock", "migrate")
    with translated():
        conn = await asyncpg.connect(database_url, timeout=10)
        try:
            await ensure_ranges_ahead(conn)
        finally:
            await conn.close()


async def run_dbmate(database_url: str, *arguments: str, env: dict[str, str] | None = None) -> None:
    """Run dbmate on the migrations; raises `MigrationFailed` with what it said, `Unavailable` without a server."""
    process = await asyncio.create_subprocess_exec(
        _dbmate(), "--url", dbmate_url(database_url), "--migrations-dir", str(migrations_dir()), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL,
        env=env,
    )  # fmt: skip
    output, _ = await process.communicate()
    text = output.decode(errors="replace").strip()
    if process.returncode == 0:
        log.info("schema is up to date", applied=text.count("Applied:"))
        return
    if any(sign in text.rpartition("Error:")[2] for sign in _AWAY):
        raise Unavailable(f"PostgreSQL cannot be reached: {text}")
    raise MigrationFailed(text)


def _dbmate() -> str:
    beside = Path(sys.executable).parent / "dbmate"
    found = str(beside) if beside.exists() else shutil.which("dbmate")
    if found is None:
        raise MigrationFailed("dbmate is not installed; pip install 'taskflow-platform[migrate]'")
    return found


def dbmate_url(database_url: str) -> str:
    """libpq's form of a URL as dbmate wants it: a socket folder goes into `socket`, TLS is off unless asked for."""
    parts = urlsplit(database_url)
    query = dict(parse_qsl(parts.query))
    user, password = query.pop("user", None), query.pop("password", None)
    host = query.pop("host", None)
    netloc = parts.netloc
    if user and "@" not in netloc:
        secret = f":{quote(password, safe='')}" if password else ""
        netloc = f"{quote(user, safe='')}{secret}@{netloc}"
    if host and host.startswith("/"):
        query["socket"] = host
    elif host:
        netloc += host
    if port := query.pop("port", None):
        netloc += f":{port}"
    query.setdefault("sslmode", "disable" if host and host.startswith("/") else "prefer")
    if query["sslmode"] in {"prefer", "allow"}:  # dbmate's driver knows neither
        query["sslmode"] = "disable"
    return urlunsplit(("postgres", netloc, parts.path, urlencode(query), ""))
