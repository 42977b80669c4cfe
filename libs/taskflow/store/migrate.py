"""Bring the schema up to date: plain SQL files of `migrations/`, applied by dbmate under a database lock.

Safe when several programs start at once: dbmate's lock lets one migrate and the others wait and find nothing to do.

A rolling upgrade runs `taskflow migrate` before the new programs start: what stands in `migrations/` itself only adds, so
that programs of the version before go on. What takes away stands in `migrations/post/` and is applied by
`taskflow migrate --post`, once no program runs that does not know of it. An empty database gets both.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import asyncpg

from taskflow.domain.errors import Unavailable
from taskflow.kit.logging import get_logger
from taskflow.store.errors import translated
from taskflow.store.levels import POST, files, migrations_dir, number
from taskflow.store.partitions import ensure_ranges, ensure_ranges_ahead, range_starts

log = get_logger(__name__)


_AWAY = ("dial ", "refused", "the database system is", "too many clients", "connection reset")
"""What dbmate says of a server that cannot be reached, or not yet."""


_PAUSES_SECONDS = (2.0, 5.0, 10.0, 20.0)


class MigrationFailed(Exception):
    """A migration could not be applied."""


class OldProgramsRun(Exception):
    """Programs of an earlier version still use what a post migration takes away."""


async def migrate(database_url: str, *, post: bool = False, folder: Path | None = None) -> None:
    """Apply what is missing, then make the ranges of ids that will be needed soon.

    With `post` also the post migrations; `OldProgramsRun` if a program is connected that does not know the newest of them.
    """
    folder = folder or migrations_dir()
    with translated():
        conn = await asyncpg.connect(database_url, timeout=10)
        try:
            fresh = await conn.fetchval(IS_FRESH)
            waiting = [] if fresh else await _waiting(conn, folder)
            newest = max((number(path) for path in waiting), default=0) if post else 0
            await _apply(conn, database_url, folder, post=post or fresh, newest=newest)
            await ensure_ranges(conn, await range_starts(conn))  # of tables that are new
            await ensure_ranges_ahead(conn)
        finally:
            await conn.close()
    if waiting and not post:
        log.info(
            "migrations.deferred",
            waiting=[path.name for path in waiting],
        )


async def _apply(
    conn: asyncpg.Connection, database_url: str, folder: Path, *, post: bool, newest: int
) -> None:
    """Apply what is missing. What has to wait for somebody's lock lets go (`lock_timeout` in the migration), so that
    nobody waits behind it, and is tried again."""
    for pause in (*_PAUSES_SECONDS, None):
        if newest:
            await _refuse_old_programs(conn, newest)
        try:
            await run_dbmate(database_url, "--no-dump-schema", "migrate", folder=folder, post=post)
        except MigrationFailed as error:
            if pause is None or "lock timeout" not in _fault(str(error)):
                raise
            log.warning("migration.deferred", retry_in_seconds=pause, reason="somebody holds a lock it needs")
            await asyncio.sleep(pause)
        else:
            return


async def _waiting(conn: asyncpg.Connection, folder: Path) -> list[Path]:
    """Post migrations that are not applied."""
    applied = {row["version"] for row in await conn.fetch(APPLIED)}
    return [path for path in files(folder / POST) if path.name.partition("_")[0] not in applied]


async def _refuse_old_programs(conn: asyncpg.Connection, newest: int) -> None:
    """Those that do not know the newest migration that waits, or do not say which they know."""
    told = [row["application_name"] for row in await conn.fetch(PROGRAMS)]
    if old := [name for name in told if int(name.partition("/")[2] or 0) < newest]:
        raise OldProgramsRun(f"connected are programs that do not know migration {newest}: {', '.join(old)}")


IS_FRESH = """-- store.migrate.is_fresh
SELECT to_regclass('schema_migrations') IS NULL"""
APPLIED = """-- store.migrate.applied
SELECT version FROM schema_migrations"""
PROGRAMS = """-- store.migrate.programs
SELECT DISTINCT application_name FROM pg_stat_activity
WHERE datname = current_database() AND application_name ~ '^taskflow-[a-z-]+(/[0-9]+)?$'
ORDER BY application_name"""


async def run_dbmate(
    database_url: str, *arguments: str, folder: Path, post: bool = True, env: dict[str, str] | None = None
) -> None:
    """Run dbmate on the migrations; raises `MigrationFailed` with what it said, `Unavailable` without a server."""
    folders = [folder, *([folder / POST] if post and files(folder / POST) else [])]
    process = await asyncio.create_subprocess_exec(
        _dbmate(), "--url", dbmate_url(database_url), "--env-file", os.devnull, "--migration-lock",
        *(word for one in folders for word in ("--migrations-dir", str(one))), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL,
        env=env,
    )  # fmt: skip
    output, _ = await process.communicate()
    text = output.decode(errors="replace").strip()
    if process.returncode == 0:
        log.info("schema.migrated", applied=text.count("Applied:"))
        return
    if any(sign in _fault(text) for sign in _AWAY):
        raise Unavailable(f"PostgreSQL cannot be reached: {text}")
    raise MigrationFailed(text)


def _fault(text: str) -> str:
    """What went wrong, of all that dbmate said."""
    return text.rpartition("Error:")[2]


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
