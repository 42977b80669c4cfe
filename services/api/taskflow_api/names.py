"""Names that callers get wrong, and the ones they probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from taskflow.domain.errors import Problem

SUBMIT_SYNONYMS = {
    "max_tries": "max_attempts",
    "max_retries": "max_attempts",
    "retries": "max_attempts",
    "attempts": "max_attempts",
    "task_url": "target.url",
    "url": "target.url",
    "webhook": "callback.url",
    "webhook_url": "callback.url",
    "delay": "delay_seconds",
    "countdown": "delay_seconds",
    "timeout": "timeout_seconds",
    "eta": "run_at",
    "schedule_at": "run_at",
    "scheduled_at": "run_at",
    "scheduled_for": "run_at",
    "not_before": "run_at",
    "expires": "expires_at",
    "ttl": "expires_at",
    "deadline": "expires_at",
    "args": "payload",
    "kwargs": "payload",
    "data": "payload",
    "params": "payload",
    "input": "payload",
    "labels": "tags",
    "meta": "metadata",
    "task": "type",
    "job_type": "type",
    "kind": "type",
    "handler": "type",
    "lane": "priority",
    "backoff": "retry",
    "retry_policy": "retry",
    "idempotency_key": "the header Idempotency-Key",
}
BULK_SYNONYMS = {
    "filters": "filter",
    "where": "filter",
    "rate": "rate_per_second",
    "rate_limit": "rate_per_second",
    "max": "limit",
    "count": "limit",
    "preview": "dry_run",
    "comment": "reason",
    "note": "reason",
}
QUERY_SYNONYMS = {
    "state": "status",
    "states": "status",
    "task_type": "type",
    "lane": "priority",
    "tags": "tag",
    "since": "created_after",
    "after": "created_after",
    "from": "created_after",
    "until": "created_before",
    "before": "created_before",
    "to": "created_before",
    "page_size": "limit",
    "per_page": "limit",
    "page": "cursor",
    "offset": "cursor",
    "timeout": "wait",
    "fields": "include",
    "expand": "include",
}


def nearest(name: str, known: Iterable[str], synonyms: dict[str, str]) -> str | None:
    """The known name that `name` probably stands for."""
    names = list(known)
    meant = synonyms.get(name.lower())
    if meant is not None and meant != name and (meant in names or not meant.isidentifier()):
        return meant
    close = get_close_matches(name.lower()[:64], names, n=1, cutoff=0.6)
    return close[0] if close else None


def unknown(
    kind: str, name: str, known: Iterable[str], synonyms: dict[str, str], pointer: str | None = None
) -> Problem:
    """The fault of an unknown field (with its `pointer`) or query parameter."""
    names = sorted(known)
    meant = nearest(name, names, synonyms)
    hint = (
        f"did you mean {meant}?"
        if meant
        else f"expected one of {', '.join(names)}"
        if names
        else "expected none"
    )
    shown = name if len(name) <= 64 else name[:64] + "..."
    return Problem(
        f"unknown {kind} {shown!r}; {hint}",
        pointer=pointer,
        parameter=None if pointer is not None else name[:200],
    )
