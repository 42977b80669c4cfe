"""Plans as PostgreSQL makes them for prepared statements under the settings of the hot paths, and keeps them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import asyncpg
from tests.contract.store.statements import STATEMENTS

from taskflow.store.partitions import TABLES

BIG = TABLES
"""All that lives in ranges."""
Plan = dict[str, Any]


class Scan(NamedTuple):
    """How a plan reads a range: of which table, and by which of the table's indexes (None: it reads all of it)."""

    table: str
    by: str | None


async def leave_unanalysed(conn: asyncpg.Connection) -> None:
    """Let nobody analyse the ranges but the test."""
    for name in await _ranges(conn):
        await conn.execute(f"ALTER TABLE {name} SET (autovacuum_enabled = off)")


async def analyse(conn: asyncpg.Connection) -> None:
    """Do what autovacuum does with ranges that have filled. It leaves empty ones alone, and the parents of ranges."""
    for name in await _ranges(conn):
        if await conn.fetchval(f"SELECT EXISTS (SELECT FROM {name})"):
            await conn.execute(f"ANALYZE {name}")


async def _ranges(conn: asyncpg.Connection) -> list[str]:
    rows = await conn.fetch(
        "SELECT oid::regclass::text AS name FROM pg_class WHERE relispartition AND relkind = 'r'"
    )
    return [row["name"] for row in rows]


async def prepare(conn: asyncpg.Connection, statements: Mapping[str, str] = STATEMENTS) -> None:
    """Prepare the store's statements in this session, each under its name."""
    for name, sql in statements.items():
        await conn.execute(f'PREPARE "{name}" AS {sql}')


async def plan(conn: asyncpg.Connection, name: str, arguments: str | None, *, options: str = "") -> Plan:
    """The plan that this session keeps for a statement, made now if it has none; `arguments` are SQL, or all null.

    With `options` ANALYZE the statement is run.
    """
    count = await conn.fetchval(
        "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = $1", name
    )
    given = f"({arguments or ', '.join(['NULL'] * count)})" if count else ""
    text = await conn.fetchval(f'EXPLAIN (FORMAT JSON{options}) EXECUTE "{name}"{given}')
    found: Plan = json.loads(text)[0]["Plan"]
    return found


async def parents(conn: asyncpg.Connection) -> dict[str, str]:
    """Range or index of a range -> table or index of the table."""
    rows = await conn.fetch(
        "SELECT c.relname AS child, p.relname AS parent FROM pg_inherits i "
        "JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent"
    )
    return {row["child"]: row["parent"] for row in rows}


def scans(plan: Plan, parents: Mapping[str, str]) -> set[Scan]:
    """How a plan reads ranges."""
    return {scan for node in _nodes(plan) if (scan := _scan(node, parents))}


def indexes(plan: Plan) -> set[str]:
    """The indexes that a plan goes in by, of whatever tables."""
    return {node["Index Name"] for node in _nodes(plan) if "Index Name" in node}


def buffers(plan: Plan) -> int:
    """How many pages a statement that was run has touched, in all.

    A node's count holds what ran while it did. What writes and is read by nobody runs after the root.
    """
    read = {node["CTE Name"] for node in _nodes(plan) if "CTE Name" in node}
    after = [
        below for below in plan.get("Plans", [])
        if (below_name := below.get("Subplan Name", "")).startswith("CTE ") and below_name[4:] not in read
    ]  # fmt: skip
    return sum(node["Shared Hit Blocks"] + node["Shared Read Blocks"] for node in (plan, *after))


def _nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)


def _scan(node: Plan, parents: Mapping[str, str]) -> Scan | None:
    if node["Node Type"] == "Bitmap Index Scan":  # which names no table
        index = parents.get(node["Index Name"])
        return Scan(next(table for table in BIG if index.startswith(f"{table}_")), index) if index else None
    if not node["Node Type"].endswith("Scan") or node["Node Type"] == "Bitmap Heap Scan":
        return None
    table = parents.get(node.get("Relation Name", ""))
    if table not in BIG:
        return None
    return Scan(table, parents.get(node.get("Index Name", "")))
