"""Limits as callers meet them: which ones a call counts against, and the headers that tell how they stand.

RateLimit and RateLimit-Policy: draft-ietf-httpapi-ratelimit-headers-10.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil

from msgspec import Struct

from taskflow.domain.account import Caller
from taskflow.domain.errors import RateLimited
from taskflow.engine.limits import Limit, Standing, Taken

WINDOW_SECONDS = 3_600
_OF = {"key": "this API key", "user": "this account", "address": "this address"}


class LimitRules(Struct, frozen=True):
    """How many calls an hour, by what they are counted; 0: as many as come."""

    per_key: int = 0
    per_user: int = 0
    per_address: int = 0

    def of_caller(self, caller: Caller) -> Sequence[Limit]:
        """What a call with credentials counts against; one without is the machine's own."""
        if not (self.per_key or self.per_user):
            return ()
        return _of_caller(self, caller.key_id, caller.session_id, caller.user_id)

    def of_address(self, network: str) -> Sequence[Limit]:
        """What a try to sign in counts against."""
        return [Limit("address", f"address:{network}", self.per_address)] if self.per_address else []


@lru_cache(maxsize=4_096)
def _of_caller(
    rules: LimitRules, key_id: str | None, session_id: str | None, user_id: str
) -> Sequence[Limit]:
    limits = []
    if rules.per_key and key_id is not None:
        limits.append(Limit("key", f"key:{key_id}", rules.per_key))
    if rules.per_user and (key_id or session_id):
        limits.append(Limit("user", f"user:{user_id}", rules.per_user))
    return tuple(limits)


def headers_of(standings: Sequence[Standing]) -> list[tuple[bytes, bytes]]:
    """The headers that tell how limits stand."""
    policy = _policy(*((one.name, one.per_hour) for one in standings))
    state = ", ".join(
        [f'"{name}";r={left if left > 0 else 0};t={ceil(reset)}' for name, _, left, reset in standings]
    )
    return [(b"ratelimit-policy", policy), (b"ratelimit", state.encode())]


@lru_cache(maxsize=64)
def _policy(*limits: tuple[str, int]) -> bytes:
    return ", ".join(f'"{name}";q={per_hour};w={WINDOW_SECONDS}' for name, per_hour in limits).encode()


def refusal_of(taken: Taken, count: int) -> RateLimited:
    """Why a call was refused, in words."""
    limit = taken.refused_by
    assert limit is not None
    what = f"{_OF[limit.name]} may call {limit.per_hour} times an hour"
    more = f"; this batch counts {count}" if count > 1 else ""
    return RateLimited(f"{what}{more}", retry_after_seconds=taken.retry_after_seconds)
