"""Limits as callers meet them: which ones a call counts against, and the headers that tell how they stand.

RateLimit and RateLimit-Policy: draft-ietf-httpapi-ratelimit-headers-10.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    def of_caller(self, caller: Caller) -> list[Limit]:
        """What a call with credentials counts against; one without is the machine's own."""
        limits = []
        if self.per_key and caller.key_id is not None:
            limits.append(Limit("key", f"key:{caller.key_id}", self.per_key))
        if self.per_user and (caller.key_id or caller.session_id):
            limits.append(Limit("user", f"user:{caller.user_id}", self.per_user))
        return limits

    def of_address(self, network: str) -> list[Limit]:
        """What a try to sign in counts against."""
        return [Limit("address", f"address:{network}", self.per_address)] if self.per_address else []


def headers_of(standings: Sequence[Standing]) -> list[tuple[bytes, bytes]]:
    """The headers that tell how limits stand."""
    policy = ", ".join(f'"{one.name}";q={one.per_hour};w={WINDOW_SECONDS}' for one in standings)
    state = ", ".join(
        f'"{one.name}";r={max(one.remaining, 0)};t={ceil(one.reset_seconds)}' for one in standings
    )
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", state.encode())]


def refusal_of(taken: Taken, count: int) -> RateLimited:
    """Why a call was refused, in words."""
    limit = taken.refused_by
    assert limit is not None
    what = f"{_OF[limit.name]} may call {limit.per_hour} times an hour"
    more = f"; this batch counts {count}" if count > 1 else ""
    return RateLimited(f"{what}{more}", retry_after_seconds=taken.retry_after_seconds)
