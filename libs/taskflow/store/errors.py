"""What PostgreSQL's errors mean to us, translated where they arise.

Classes of SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from taskflow.domain.errors import Unavailable
from taskflow.kit.batcher import Verdict

# Beside the classes: a lock not had in time, a transaction idle too long, a server that is a standby for now.
_PASSING = ("08", "53", "57", "40", "55P03", "25P03", "25006")
_DATA = ("21", "22", "23", "54")
# InternalClientError: a connection that was ended while idle still has the server's farewell in its buffer.
_LOST = (
    asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError, asyncio.IncompleteReadError,
)  # fmt: skip


class DatabaseAway(Unavailable):
    """PostgreSQL cannot be reached."""


class AnswerLost(DatabaseAway):
    """PostgreSQL may or may not have carried a statement out."""


class Contention(Unavailable):
    """PostgreSQL asked to try again."""


class Unstorable(Exception):
    """PostgreSQL refuses what a row holds."""


class NoRange(Unstorable):
    """No partition holds the ids of these rows."""


@contextmanager
def translated() -> Iterator[None]:
    """Errors of asyncpg leave as `DatabaseAway`, `Contention`, `NoRange` or `Unstorable`; others as they are."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _translate(error) from error
    except (asyncpg.DataError, UnicodeEncodeError) as error:
        raise Unstorable(str(error)) from error
    except _LOST as error:
        said = str(error) or type(error).__name__
        raise DatabaseAway(f"PostgreSQL cannot be reached: {said}", retry_after_seconds=1) from error


def _translate(error: asyncpg.PostgresError) -> Exception:
    state = error.sqlstate or ""
    if state == "23514" and "no partition" in str(error):
        return NoRange(str(error))
    if state.startswith(_DATA):
        return Unstorable(str(error))
    if state.startswith("40") or state == "55P03":
        return Contention(str(error), retry_after_seconds=1)
    if state.startswith(_PASSING) or isinstance(error, asyncpg.PostgresConnectionError):
        return DatabaseAway(f"PostgreSQL is not available: {error}", retry_after_seconds=1)
    return error


def verdict(error: Exception) -> Verdict:
    """How a batcher treats an error of a statement."""
    if isinstance(error, Unavailable):
        return Verdict.REPEAT
    return Verdict.HALVE if isinstance(error, Unstorable) else Verdict.FAIL
