"""`taskflow janitor` as people call it, and that a scheduler does the same by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import asyncpg
from tests.support import servers as real
from tests.support.systems import ROOT, System, environment_of_programs, running_system
from tests.support.waiting import wait_until_sync

LEFT_BEHIND = """
INSERT INTO users (id, created_at, username, deleted_at)
VALUES ('019ab000-0000-7000-8000-000000000001', now() - interval '60 d', 'ann', now() - interval '31 d'),
       ('019ab000-0000-7000-8000-000000000002', now() - interval '60 d', 'bob', NULL);
INSERT INTO api_keys (id, user_id, created_at, name, hint, scopes, hash)
VALUES ('019ab000-0000-7000-8000-000000000003', '019ab000-0000-7000-8000-000000000002', now() - interval '60 d', 'ci',
        'tfq_a...z', '{submit}', '\\x00')"""


def janitor(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Exit code and what it said on stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "taskflow.cli.main", "janitor", *arguments], cwd=ROOT, capture_output=True, text=True,
        env={**environment_of_programs(), **environment}, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def asked(url: str, question: str) -> list[asyncpg.Record]:
    """Rows of a database, or a script run in it."""

    async def ask() -> list[asyncpg.Record]:
        conn = await asyncpg.connect(url)
        try:
            if question.lstrip().startswith("SELECT"):
                found: list[asyncpg.Record] = await conn.fetch(question)
                return found
            await conn.execute(question)
            return []
        finally:
            await conn.close()

    return real.blocking(ask)


def users(url: str) -> list[str]:
    return [row["username"] for row in asked(url, "SELECT username FROM users ORDER BY username")]


def test_a_dry_run_tells_what_is_then_done(database_url: str) -> None:
    asked(database_url, LEFT_BEHIND)
    given = {"DATABASE_URL": database_url, "API_KEY_IDLE_MAX": "50d"}
    counts = {
        "keys_revoked": 1, "keys_removed": 0, "sessions_removed": 0, "failures_removed": 0, "events_removed": 0,
        "users_removed": 1, "limits_removed": 0,
    }  # fmt: skip
    code, out, _ = janitor("--dry-run", "--json", **given)
    assert (code, json.loads(out)) == (0, {"dry_run": True, **counts})
    code, out, _ = janitor("--dry-run", **given)
    assert "1  users            removed: deleted ACCOUNT_RETENTION ago" in out
    assert out.splitlines()[-1] == "nothing was changed (--dry-run)"
    assert users(database_url) == ["ann", "bob", "local"]
    code, out, _ = janitor("--json", **given)
    assert (code, json.loads(out)) == (0, {"dry_run": False, **counts})
    assert users(database_url) == ["bob", "local"]
    [key] = asked(database_url, "SELECT revoked_reason FROM api_keys")
    assert key["revoked_reason"] == "unused"
    code, out, _ = janitor(**given)
    assert code == 0
    assert {line.split()[0] for line in out.splitlines()} == {"0"}


def test_without_a_longest_idle_time_keys_stay(database_url: str) -> None:
    asked(database_url, LEFT_BEHIND)
    _, out, _ = janitor("--json", DATABASE_URL=database_url)
    assert json.loads(out)["keys_revoked"] == 0


def test_a_scheduler_sweeps_when_it_starts() -> None:
    with running_system("--workers", "1") as found:
        url = found.facts()["database_url"]
        asked(url, LEFT_BEHIND)
        scheduler = found.facts()["pids"]["scheduler"]
        _restart(found, scheduler)
        wait_until_sync(lambda: users(url) == ["bob", "local"], "the deleted user is gone", 30)
        wait_until_sync(lambda: "accounts.swept" in found.log(), "it told so", 10)


def _restart(system: System, pid: int) -> None:
    """Let `dev` start a service again."""
    os.kill(pid, signal.SIGTERM)
    wait_until_sync(lambda: system.facts()["pids"]["scheduler"] not in (pid, None), "it is started again", 30)
