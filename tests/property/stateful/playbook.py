"""From a step as it was drawn to the deeds it comes to in the present world: none, if there is nothing to do it to."""

from __future__ import annotations

from collections.abc import Callable

from tests.property.stateful import deeds, passing_time, schedulers
from tests.property.stateful.happenings import Step
from tests.property.stateful.world import Deed, World


def deeds_of(world: World, step: Step) -> list[Deed]:
    """What the programs do now."""
    return _PLAYS[step.what](world, step)


def _claim_what_waits(world: World, step: Step) -> list[Deed]:
    """The oldest few; if none waits, whatever comes due is claimed."""
    who = world.alive(step.who)
    if waiting := world.waiting():
        return [deeds.claim(world, who, waiting[:3])]
    every = list(world.tasks)
    return [passing_time.come_due(world, every), schedulers.turn(world, 0), deeds.claim(world, who, every)]


def _finish_what_is_held(world: World, step: Step) -> list[Deed]:
    who, held = world.holder(step.who)
    return [deeds.finish(world, who, [(task, step.end) for task in held])]


def _finish(world: World, step: Step, finish: Callable[..., Deed] = deeds.finish) -> list[Deed]:
    """Any claims: records come twice, and after the task was lost, ended or claimed anew."""
    who, claims = world.pick_claims(step.numbers)
    ends = [(task, step.other if place % 2 else step.end) for place, task in enumerate(claims)]
    return [finish(world, who, ends)]


def _lease_out(world: World, step: Step, *, long_ago: bool) -> Deed:
    return passing_time.lease_out(world, world.holder(step.who)[0], long_ago=long_ago)


def _letter(world: World, step: Step) -> list[Deed]:
    letter = world.pick_letter(step.numbers[0])
    resolve = deeds.replay if step.flag else deeds.discard
    return [resolve(world, letter)] if letter else []


def _retry(world: World, step: Step) -> list[Deed]:
    may = world.retryable() or list(world.tasks)
    return [deeds.retry_one(world, may[-1 - step.numbers[0] % len(may)])]


def _rescue(world: World, step: Step) -> Deed:
    return schedulers.rescue(world, step.who % 2)


def _turn(world: World, step: Step) -> Deed:
    return schedulers.turn(world, step.who % 2)


# `w` is the world and `s` the step. Doorbells come twice, late, to another worker, after the task's end: any id is claimed.
_PLAYS: dict[str, Callable[[World, Step], list[Deed]]] = {
    "claim": lambda w, s: [deeds.claim(w, s.who if s.flag else w.alive(s.who), w.pick(s.numbers))],
    "claim what waits": _claim_what_waits,
    "claim unanswered": lambda w, s: [deeds.claim(w, w.alive(s.who), w.waiting(), told=False)],
    "finish": _finish,
    "finish unanswered": lambda w, s: _finish(w, s, deeds.finish_unanswered),
    "finish what is held": _finish_what_is_held,
    "lines": lambda w, s: [deeds.write_lines(w, w.pick_claims(s.numbers)[1])],
    "lease out": lambda w, s: [_lease_out(w, s, long_ago=s.flag)],
    "die": lambda w, s: [_lease_out(w, s, long_ago=False), _rescue(w, s)],
    "vanish": lambda w, s: [_lease_out(w, s, long_ago=True), schedulers.prune_rest(w), _rescue(w, s)],
    "rescue": lambda w, s: [_rescue(w, s)],
    "renew": lambda w, s: [deeds.renew(w, w.silent(s.who))],
    "turn": lambda w, s: [_turn(w, s)],
    "come due": lambda w, s: [passing_time.come_due(w, w.pick(s.numbers)), _turn(w, s)],
    "fall due": lambda w, _: [passing_time.come_due(w, list(w.tasks))],
    "late": lambda w, s: [passing_time.grow_late(w, w.pick(s.numbers))],
    "overrun": lambda w, s: [
        passing_time.overrun(w, w.pick(s.numbers)),
        *([] if s.flag else [_rescue(w, s)]),
    ],
    "cancel": lambda w, s: [deeds.cancel(w, w.pick(s.numbers))],
    "cancel one": lambda w, s: [deeds.cancel_one(w, w.pick(s.numbers)[0])],
    "retry": _retry,
    "retry this": lambda w, s: [deeds.retry_one(w, w.pick(s.numbers)[0])],
    "letter": _letter,
    "park": lambda w, s: [deeds.park(w, w.pick(s.numbers))],
    "unpark": lambda w, s: [deeds.unpark(w, s.who)],
    "heal": lambda w, _: [schedulers.heal_all(w)],
    "ring again": lambda w, _: [schedulers.ring_again(w, 2)],
    "prune": lambda w, s: [schedulers.prune(w, 1 + s.who), schedulers.prune_rest(w)],
    "prune meanwhile": lambda w, _: [schedulers.prune_any(w)],
    "grow old": lambda w, _: [passing_time.grow_old(w)],
    "fold": lambda w, _: [schedulers.fold(w)],
}
