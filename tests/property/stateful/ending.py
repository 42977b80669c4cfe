"""After everything: the histories are whole, and once workers, clocks and bus behave, every task ends by itself."""

from __future__ import annotations

from tests.property.stateful import deeds, passing_time, schedulers
from tests.property.stateful.schedulers import KEEP_SECONDS
from tests.property.stateful.values import GONE, LIVE, End
from tests.property.stateful.world import COMMON, RARE, Hands, World
from tests.support.engines import heal, lose_messages, open_engines, rung_ids

from taskflow.engine.doctor import Diagnosis, Doctor, Patience

ROUNDS_MAX = 8
LAST = 2
"""The number of the worker that is started anew, to finish what is left."""


async def check_everything_ends(world: World) -> None:
    """All workers fall silent and the bus loses all it has. Nobody helps, and still every task comes to its end."""
    ground = world.engines.ground
    async with open_engines(ground) as engines:
        world.engines = engines
        doctor = Doctor(
            ground.hand,
            ground.bus,
            patience=Patience(0, 0),
            handler_grace=0,
            letters_kept_seconds=KEEP_SECONDS,
        )
        _check_clean(await ground.hand.run(doctor.scan))
        await world.do(
            *(passing_time.lease_out(world, who, long_ago=False) for who in range(len(world.hands)))
        )
        world.hands[LAST] = Hands([COMMON, RARE])
        await world.register(LAST)
        for _ in range(ROUNDS_MAX):
            if not _live(world):
                break
            await _round(world)
        assert not _live(world), "a task does not end"
        await world.do(schedulers.rescue(world, 0))
        _check_clean(await doctor.examine())
        await check_histories(world)


def _check_clean(diagnosis: Diagnosis) -> None:
    """The doctor finds nothing."""
    found = {name: found for name, found in diagnosis.found.items() if found.n}
    assert not found, f"the doctor found {found}"


async def _round(world: World) -> None:
    """Rescue, turn, heal, claim what was rung, finish it."""
    await world.do(
        schedulers.rescue(world, 0), schedulers.rescue(world, 1), passing_time.come_due(world, list(world.tasks)),
        schedulers.turn(world, 0), schedulers.turn(world, 1),
    )  # fmt: skip
    for _ in range(2):  # the first also unparks: doorbells of two deeds may reach the bus in either order
        await lose_messages(world.engines.ground.bus)
        await world.do(schedulers.heal_all(world))
    rung = await rung_ids(world.engines.ground.bus)
    waiting = {task_id for task_id, task in world.tasks.items() if task.status == "queued"}
    assert waiting <= set(rung), "a queued task that nobody rings"
    assert len(rung) == len(set(rung)), "one loss, two rings"
    assert await heal(world.engines.ground) == 0, "what has its doorbell is rung again"
    await world.do(deeds.claim(world, LAST, rung))
    held = list(world.hands[LAST].held.values())
    await world.do(deeds.finish(world, LAST, [(task, End.SUCCEEDED) for task in held]))


async def check_histories(world: World) -> None:
    """Every history tells each event once, in order, from wherever one reads on."""
    for task_id, task in world.tasks.items():
        events = await world.engines.reader.events(task_id, 0)
        if task.status == GONE:
            assert events is None
            continue
        assert events is not None
        assert [event.seq for event in events] == list(range(1, task.seq + 1))
        assert [event.status or event.event for event in events] == list(task.told)
        middle = len(events) // 2
        assert await world.engines.reader.events(task_id, middle) == events[middle:]


def _live(world: World) -> list[str]:
    return [task_id for task_id, task in world.tasks.items() if task.status in LIVE]
