"""Plans as PostgreSQL makes them for a prepared statement that meets its ranges as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import asyncpg

BIG = ("tasks", "executions", "task_logs", "task_events")


class Scan(NamedTuple):
    """How a plan reads a range: of which table, and by which of the table's indexes (None: it reads all of it)."""

    table: str
    by: str | None


async def scans(conn: asyncpg.Connection, sql: str, arguments: str) -> set[Scan]:
    """How the generic plan of `sql` reads ranges; `arguments` are its arguments, as SQL."""
    await conn.execute(f"PREPARE asked AS {sql}")
    try:
        given = f"({arguments})" if arguments else ""
        text = await conn.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE asked{given}")
    finally:
        await conn.execute("DEALLOCATE asked")
    parents = await _parents(conn)
    return {scan for node in _nodes(json.loads(text)[0]["Plan"]) if (scan := _scan(node, parents))}


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)


def _scan(node: dict[str, Any], parents: dict[str, str]) -> Scan | None:
    if node["Node Type"] == "Bitmap Index Scan":  # which names no table
        index = parents.get(node["Index Name"])
        return Scan(next(table for table in BIG if index.startswith(f"{table}_")), index) if index else None
    if not node["Node Type"].endswith("Scan") or node["Node Type"] == "Bitmap Heap Scan":
        return None
    table = parents.get(node.get("Relation Name", ""))
    if table not in BIG:
        return None
    return Scan(table, parents.get(node.get("Index Name", "")))


async def _parents(conn: asyncpg.Connection) -> dict[str, str]:
    """Range or index of a range -> table or index of the table."""
    rows = await conn.fetch(
        "SELECT c.relname AS child, p.relname AS parent FROM pg_inherits i "
        "JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent"
    )
    return {row["child"]: row["parent"] for row in rows}
