"""declare: what a worker says of itself when it starts: who and where it is, and which types it runs."""

from __future__ import annotations

import os
import socket
from importlib.metadata import PackageNotFoundError, version

import msgspec

from taskflow.handlers.registry import Registry
from taskflow.store.catalog import Declaration
from taskflow.store.workers import Registration


def registration(worker_id: str, queues: list[str], registry: Registry, slots: int) -> Registration:
    """The worker's own row."""
    return Registration(
        id=worker_id,
        host=socket.gethostname(),
        pid=os.getpid(),
        version=_package_version(),
        queues=queues,
        types=sorted(registry.types),
        slots=slots,
    )


def declarations(registry: Registry) -> list[Declaration]:
    """The rows of its types."""
    return [
        Declaration(
            name=spec.name,
            schema=msgspec.json.encode(spec.schema).decode() if spec.schema is not None else None,
            timeout_seconds=spec.timeout_seconds,
            max_attempts=spec.max_attempts,
            retry=msgspec.json.encode(spec.retry).decode() if spec.retry is not None else None,
        )
        for spec in registry.types.values()
    ]


def _package_version() -> str:
    try:
        return version("taskflow-platform")
    except PackageNotFoundError:
        return "0"
