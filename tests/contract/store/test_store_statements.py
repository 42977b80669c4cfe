"""Every SQL constant of the store fits the migrated schema. A new one is covered by itself."""

from __future__ import annotations

import asyncpg
import pytest
from tests.contract.store.statements import STATEMENTS


async def test_every_statement_can_be_prepared(conn: asyncpg.Connection) -> None:
    faults = []
    for name, sql in STATEMENTS.items():
        try:
            await conn.prepare(sql)
        except asyncpg.PostgresError as error:
            faults.append(f"{name}: {error}")
    assert faults == []


def test_they_were_found() -> None:
    assert len(STATEMENTS) >= 40
    assert "store.moves.claim_tasks" in STATEMENTS


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_the_first_line_names_the_statement(name: str) -> None:
    assert STATEMENTS[name].splitlines()[0] == f"-- {name}"
