"""A runner of sample handlers, tasks for it, and what it heard."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.unit.handlers.claims import GRACE_SECONDS, SAMPLES, Claim, Heard, make_claim

from taskflow.handlers.registry import load_registry
from taskflow.handlers.runner import Runner


@pytest.fixture
def claim() -> Claim:
    """Makes claimed tasks."""
    return make_claim


@pytest.fixture
def heard() -> Heard:
    """What the runner's `on_history` was told."""
    return Heard()


@pytest.fixture
async def runner(heard: Heard) -> AsyncIterator[Runner]:
    """A runner of the samples, with a short grace."""
    registry = load_registry(SAMPLES)
    async with Runner(
        registry, imports=SAMPLES, slots=3, handler_grace=GRACE_SECONDS, on_history=heard
    ) as running:
        yield running
    assert running.held() == set()
    assert running.child_pids == []
