"""declare: what a worker says of itself when it starts: who and where it is, and which types it runs."""

from __future__ import annotations

import os
import socket
from importlib.metadata import PackageNotFoundError, version

import msgspec

from taskflow.engine.slots import Identity
from taskflow.handlers.registry import Registry
from taskflow.store.catalog import Declaration
from taskflow.store.workers import Registration


def registration(identity: Identity, queues: list[str], registry: Registry, slots: int) -> Registration:
    """The worker's own row."""
    return Registration(
        id=identity.id,
        host=socket.gethostname(),
        pid=os.getpid(),
        version=identity.version,
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


def package_version() -> str:
    """TaskFlow's own."""
    try:
        return version("taskflow-platform")
    except PackageNotFoundError:
        return "0"
