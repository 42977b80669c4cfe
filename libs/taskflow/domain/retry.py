"""When a failed attempt is tried again: the contract's retry delay, section 2."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Strategy = Literal["exponential", "linear", "fixed"]
Jitter = Literal["none", "full", "added"]
Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]


class RetryPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """How long to wait after the n-th failed attempt. Settled at submit and kept in the task's row."""

    strategy: Strategy = "exponential"
    base_seconds: Seconds = 0.5
    factor: Annotated[float, Meta(ge=1, le=100)] = 2.0
    max_seconds: Seconds = 10.0
    jitter: Jitter = "added"
    jitter_seconds: Seconds = 0.25


def retry_delay(policy: RetryPolicy, attempt: int, roll: float) -> float:
    """Seconds to wait after failed attempt `attempt` (1 is the first); `roll` is uniform in [0, 1).

    `min(max_seconds, base_seconds * factor^(n-1))`; `linear`: base*n; `fixed`: base. Jitter `full` draws from
    0..d ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015), `added` adds 0..jitter_seconds.
    """
    delay = min(policy.max_seconds, _uncapped(policy, attempt))
    match policy.jitter:
        case "full":
            return delay * roll
        case "added":
            return delay + policy.jitter_seconds * roll
        case _:
            return delay


def _uncapped(policy: RetryPolicy, attempt: int) -> float:
    match policy.strategy:
        case "fixed":
            return policy.base_seconds
        case "linear":
            return policy.base_seconds * attempt
        case _:
            try:
                return policy.base_seconds * policy.factor ** (attempt - 1)
            except OverflowError:
                return policy.max_seconds
