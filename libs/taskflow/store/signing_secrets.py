"""What webhooks and pushes of an account are signed with; kept encrypted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from taskflow.domain.webhook import SecretStatus, SigningSecret
from taskflow.kit.clock import rfc3339
from taskflow.store.connect import Conn, one_row
from taskflow.store.wire import Row, time_text

_GOOD = "(expires_at IS NULL OR expires_at > clock_timestamp())"
_COLUMNS = "id, created_at, expires_at"

# $1 id  $2 user id  $3 sealed secret  $4 whether it is shown to somebody
ADD_SECRET = f"""-- store.signing_secrets.add_secret
INSERT INTO signing_secrets (id, user_id, created_at, sealed, shown) VALUES ($1, $2, clock_timestamp(), $3, $4)
RETURNING {_COLUMNS}"""

# $1 user id
# One at a time makes or ends secrets of an account.
LOCK_OWNER = """-- store.signing_secrets.lock_owner
SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE"""

# $1 user id[]
READ_SECRETS = f"""-- store.signing_secrets.read_secrets
SELECT user_id, sealed FROM signing_secrets WHERE user_id = ANY($1::uuid[]) AND {_GOOD} ORDER BY user_id, id"""

# $1 user id
LIST_SECRETS = f"""-- store.signing_secrets.list_secrets
SELECT {_COLUMNS} FROM signing_secrets WHERE user_id = $1 AND {_GOOD} ORDER BY id DESC"""

# $1 user id  $2 id of the one that stays  $3 seconds that the others go on; one that nobody has seen ends at once
END_OTHERS = f"""-- store.signing_secrets.end_others
UPDATE signing_secrets SET expires_at = CASE WHEN shown THEN
    least(expires_at, clock_timestamp() + $3::float8 * interval '1 second') ELSE clock_timestamp() END
WHERE user_id = $1 AND id <> $2 AND {_GOOD}"""

# $1 id  $2 user id
# The newest stays: an account always signs with something.
END_SECRET = f"""-- store.signing_secrets.end_secret
UPDATE signing_secrets SET expires_at = clock_timestamp()
WHERE id = $1 AND user_id = $2 AND expires_at IS NOT NULL AND {_GOOD} RETURNING id"""

# $1 after id, or null  $2 limit
# For a new SECRET_KEY: all that can be read is sealed anew.
READ_SEALED = """-- store.signing_secrets.read_sealed
SELECT id, user_id, sealed FROM signing_secrets WHERE ($1::uuid IS NULL OR id > $1) ORDER BY id LIMIT $2"""

# $1 id  $2 sealed as it was  $3 sealed anew
RESEAL = """-- store.signing_secrets.reseal
UPDATE signing_secrets SET sealed = $3 WHERE id = $1 AND sealed = $2"""


# $1 keep for (seconds)
PRUNE_SECRETS = """-- store.signing_secrets.prune_secrets
DELETE FROM signing_secrets WHERE expires_at < now() - $1 * interval '1 second'"""


class Sealed(NamedTuple):
    """A secret as it is kept."""

    id: str
    user_id: str
    sealed: bytes


async def add_secret(
    conn: Conn, secret_id: str, user_id: str, sealed: bytes, *, shown: bool = True
) -> SigningSecret:
    """A new signing secret."""
    return _secret(await one_row(conn, ADD_SECRET, secret_id, user_id, sealed, shown))


async def lock_owner(conn: Conn, user_id: str) -> bool:
    """Hold an account's secrets until the end of the transaction; False without such an account."""
    return await conn.fetchval(LOCK_OWNER, user_id) is not None


async def read_secrets(conn: Conn, user_ids: Sequence[str]) -> dict[str, list[bytes]]:
    """What these accounts sign with, the oldest first."""
    found: dict[str, list[bytes]] = {}
    for row in await conn.fetch(READ_SECRETS, sorted(set(user_ids))):
        found.setdefault(str(row["user_id"]), []).append(bytes(row["sealed"]))
    return found


async def list_secrets(conn: Conn, user_id: str) -> list[SigningSecret]:
    """What an account signs with, the newest first."""
    return [_secret(row) for row in await conn.fetch(LIST_SECRETS, user_id)]


async def end_others(conn: Conn, user_id: str, kept_id: str, overlap_seconds: float) -> None:
    """Let all but this one end so many seconds from now."""
    await conn.execute(END_OTHERS, user_id, kept_id, overlap_seconds)


async def end_secret(conn: Conn, secret_id: str, user_id: str) -> bool:
    """End a secret that was replaced now; False if there is none such."""
    return await conn.fetchval(END_SECRET, secret_id, user_id) is not None


async def read_sealed(conn: Conn, after: str | None, limit: int) -> list[Sealed]:
    """A page of all secrets, by id."""
    rows = await conn.fetch(READ_SEALED, after, limit)
    return [Sealed(str(row["id"]), str(row["user_id"]), bytes(row["sealed"])) for row in rows]


async def reseal(conn: Conn, secret_id: str, was: bytes, sealed: bytes) -> None:
    """Keep a secret encrypted otherwise, unless somebody else did."""
    await conn.execute(RESEAL, secret_id, was, sealed)


async def prune_secrets(conn: Conn, *, keep_seconds: float) -> None:
    """Forget secrets that have long ended."""
    await conn.execute(PRUNE_SECRETS, keep_seconds)


def _secret(row: Row) -> SigningSecret:
    ends = row["expires_at"]
    status: SecretStatus = "live" if ends is None else "ending"
    return SigningSecret(str(row["id"]), status, rfc3339(row["created_at"]), time_text(ends))
