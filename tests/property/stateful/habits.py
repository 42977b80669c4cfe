"""What takes programs more than one deed: submits with their answers, and a worker's beat with what it teaches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.property.stateful import deeds
from tests.property.stateful import small_model as model
from tests.property.stateful.values import GONE, End, State
from tests.property.stateful.world import LEASE_SECONDS, QUEUE, World

from taskflow.domain.errors import IdempotencyKeyReused
from taskflow.domain.retry import RetryPolicy
from taskflow.domain.task import LOCAL_OWNER, Claimed, Lane, NewTask, Submitted
from taskflow.kit.ids import new_id
from taskflow.store import tending, workers

Shape = dict[str, Any]
SOMEBODY = new_id()


async def submit(world: World, shapes: Sequence[Shape], *, batch: bool) -> None:
    """New tasks, in one call or each in a call of its own at the same time."""
    new = [_new_task(shape) for shape in shapes]
    first, second = world.engines.submitters
    if batch:
        accepted = await first.submit_batch(new, None, b"")
        assert [one.id for one in accepted] == [task.id for task in new]
        assert [one.status for one in accepted] == [_state(shape).status for shape in shapes]
    else:
        apis = (first, second, first)
        answers = await asyncio.gather(*(api.submit(task) for api, task in zip(apis, new, strict=False)))
        assert all(answer.task is not None and not answer.replayed for answer in answers)
    for task, shape in zip(new, shapes, strict=True):
        _stands(world, task, shape)
    await world.observe()


async def submit_again(world: World, ids: Sequence[str], *, batch: bool) -> None:
    """The outcome of a submit was not known, so it is repeated: what stands is left as it is."""
    again = [world.submitted[task_id] for task_id in ids if world.tasks[task_id].status != GONE]
    if not again:
        return
    api = world.engines.submitters[0]
    if batch:
        assert [one.id for one in await api.submit_batch(again, None, b"")] == [task.id for task in again]
    else:
        answers = await asyncio.gather(*(api.submit(task) for task in again))
        assert answers == [Submitted(task.id) for task in again]
    await world.observe()


async def submit_keyed(world: World, shape: Shape, key: str, *, by_three: bool) -> None:
    """The same request with the same key makes one task, though three callers of two apis send it at once."""
    request = repr(sorted(shape.items())).encode()
    apis = world.engines.submitters
    used = (apis[0], apis[1], apis[0]) if by_three else apis[:1]
    new = [_new_task(shape, idempotency_key=key, request_hash=request) for _ in used]
    answers = await asyncio.gather(
        *(api.submit(task) for api, task in zip(used, new, strict=True)), return_exceptions=True
    )
    stood = world.keys.get(key)
    if stood is not None and stood[1] != request:
        assert all(isinstance(answer, IdempotencyKeyReused) for answer in answers), answers
    else:
        assert all(isinstance(answer, Submitted) for answer in answers), answers
        found = {answer.id for answer in answers if isinstance(answer, Submitted)}
        assert len(found) == 1, "one key made two tasks"
        firsts = [answer for answer in answers if isinstance(answer, Submitted) and not answer.replayed]
        assert len(firsts) == (0 if stood else 1)
        if stood:
            assert found == {stood[0]}
        else:
            made = next(task for task in new if task.id in found)
            _stands(world, made, shape)
            world.keys[key] = (made.id, request)
    await world.observe()


async def beat(world: World, who: int) -> None:
    """Renew the lease and compare both ways; a worker that is dead starts over under a new id."""
    hands = world.hands[who]
    worker = hands.id
    answer = await world.engines.ground.hand.run(lambda conn: workers.beat(conn, worker, LEASE_SECONDS, 0))
    assert answer.lease_live == (world.fleet.get(worker) in {"live", "out"})
    running = {
        (task_id, task.version)
        for task_id, task in world.tasks.items()
        if task.status == "running" and task.worker == worker
    }
    assert answer.running == running
    if answer.lease_live:
        world.fleet[worker] = "live"
        world.ancient.discard(worker)
        await _compare(world, who, running)
    else:
        await _start_over(world, who)


async def _compare(world: World, who: int, running: set[tuple[str, int]]) -> None:
    """Stop what is no longer ours; hand back what two beats in a row saw and nobody holds."""
    hands = world.hands[who]
    strangers = [task for key, task in hands.held.items() if key not in running]
    unknown = running - hands.held.keys()
    lost = unknown & hands.suspects
    hands.suspects = unknown
    found = await world.engines.ground.hand.run(
        lambda conn: tending.read_claims(conn, hands.id, sorted(task_id for task_id, _ in lost))
    )
    assert {(task.id, task.version) for task in found} == lost
    await world.do(
        deeds.finish(world, who, [(task, End.STOPPED) for task in strangers]),
        deeds.finish(world, who, [(task, End.UNBEGUN) for task in found]),
    )


async def _start_over(world: World, who: int) -> None:
    """What runs here may run elsewhere already."""
    hands = world.hands[who]
    held: list[Claimed] = list(hands.held.values())
    hands.id, hands.suspects = new_id(), set()
    await world.register(who)
    await world.do(deeds.finish(world, who, [(task, End.RELEASED) for task in held]))


def _new_task(shape: Shape, **keyed: Any) -> NewTask:
    """Half of the tasks are an account's, but for those with keys, which are taken by owner."""
    seconds = 60.0 if shape["patient"] else 0.0
    owner = LOCAL_OWNER if keyed or shape["lane"] == Lane.NORMAL else SOMEBODY
    return NewTask(
        id=new_id(), type=shape["kind"], lane=shape["lane"], queue=QUEUE, max_attempts=shape["max_attempts"],
        delay_seconds=3_600.0 if shape["delayed"] else None, timeout_seconds=30.0, owner_id=owner,
        expires_at=datetime.now(UTC) + timedelta(hours=1) if shape["expires"] else None,
        retry=RetryPolicy(strategy="fixed", base_seconds=seconds, max_seconds=seconds, jitter="none"), **keyed,
    )  # fmt: skip


def _state(shape: Shape) -> State:
    return model.submitted(**shape)


def _stands(world: World, task: NewTask, shape: Shape) -> None:
    world.submitted[task.id] = task
    world.tasks[task.id] = _state(shape)
