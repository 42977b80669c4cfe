"""How the room of a lane is shared among its queues: no server, only what is asked and what comes."""

from __future__ import annotations

from collections import Counter

from taskflow.engine.demand import TURN_IDS, Ask, Demand


class Lane:
    """A demand, and a bus whose queues hold so many messages of one id, or of `ids`."""

    def __init__(self, **held: int) -> None:
        self.held = Counter(held)
        self.parked: Counter[str] = Counter()
        self.in_turn: Counter[str] = Counter()
        self.came: Counter[str] = Counter()
        self.demand = Demand(list(held), lambda queue: self.parked[queue] + self.in_turn[queue])

    def ask(self, room: int) -> list[Ask]:
        """Ask for what fits now."""
        asks = []
        for ask in self.demand.plan(room):
            asks.append(ask)
            if ask.turn:
                self.in_turn[ask.queue] = ask.messages
            elif self.parked[ask.queue] * 2 <= ask.messages:
                self.parked[ask.queue] = ask.messages
        return asks

    def answer(self, room: int, ids: int = 1) -> int:
        """The bus brings what was asked for and lies there. How many ids came."""
        before = self.came.total()
        for queue in self.held:
            for pulls in (self.parked, self.in_turn):
                while pulls[queue] and self.held[queue]:
                    pulls[queue] -= 1
                    self.held[queue] -= 1
                    self.came[queue] += ids
                    self.demand.delivered(queue, ids)
            if self.in_turn[queue]:
                self.in_turn[queue] = 0
                self.parked[queue] = self.demand.ended(queue, room)
        return self.came.total() - before


def lane(queues: int, busy: int, messages: int = 1_000) -> Lane:
    return Lane(**{f"q{place}": messages * (place < busy) for place in range(queues)})


def test_one_queue_has_all_the_room() -> None:
    assert lane(1, 0).ask(500) == [Ask("q0", 500, turn=False)]


def test_quiet_queues_share_evenly_and_each_has_a_pull() -> None:
    assert {ask.messages for ask in lane(100, 0).ask(500)} == {5}
    asks = lane(500, 0).ask(10)
    assert len(asks) == 500
    assert {ask.messages for ask in asks} == {1}


def test_a_busy_queue_among_idle_ones_gets_all_the_room() -> None:
    one = lane(500, 1)
    one.ask(500)
    assert one.answer(500) == 1
    assert one.ask(500) == [Ask("q0", 500, turn=False)]


def test_only_what_stirred_is_looked_at() -> None:
    idle = lane(500, 0)
    idle.ask(500)
    assert idle.ask(500) == []


def test_busy_queues_bring_together_what_fits() -> None:
    for queues, room in ((100, 500), (500, 500), (500, 10), (7, 10)):
        busy = lane(queues, queues)
        busy.ask(room)
        assert busy.answer(room) <= max(room, queues)
        for _ in range(50):
            busy.ask(room)
            assert 0 < busy.answer(room) <= room
            assert busy.demand.asked == 0


def test_no_busy_queue_starves() -> None:
    busy = lane(500, 500)
    busy.ask(10)
    busy.answer(10)
    rounds = 500
    for _ in range(rounds):
        busy.ask(10)
        busy.answer(10)
    assert max(busy.came.values()) - min(busy.came.values()) <= TURN_IDS
    assert min(busy.came.values()) >= rounds * 10 // 500 - TURN_IDS


def test_room_of_a_turn_that_brought_nothing_is_free_again() -> None:
    some = lane(100, 100, messages=5)
    some.ask(500)
    assert some.answer(500) == 500
    asks = some.ask(500)
    assert all(ask.turn for ask in asks)
    assert some.demand.asked == 500
    assert some.answer(500) == 0
    assert some.demand.asked == 0
    assert all(some.parked[ask.queue] for ask in asks), "an emptied queue parks a pull"


def test_messages_of_many_ids_are_asked_for_in_smaller_numbers() -> None:
    one = lane(1, 1)
    one.parked["q0"] = 1
    one.demand.plan(0)
    one.answer(100, ids=20)
    assert one.ask(100) == [Ask("q0", 5, turn=False)]


def test_nothing_is_asked_of_what_is_paused_until_it_resumes() -> None:
    two = lane(2, 0)
    two.demand.pause({"q0"})
    assert [ask.queue for ask in two.ask(10)] == ["q1"]
    assert two.demand.ended("q0", 10) == 0
    two.demand.pause(set())
    assert [ask.queue for ask in two.ask(10)] == ["q0"]


def test_without_room_nothing_is_asked_and_nothing_forgotten() -> None:
    two = lane(2, 0)
    two.ask(10)
    assert two.demand.ended("q1", 0) == 0
    assert two.ask(0) == []
    assert two.ask(10) == [Ask("q1", 5, turn=False)]


def test_a_lost_turn_frees_its_room() -> None:
    busy = lane(100, 100)
    busy.ask(100)
    busy.answer(100)
    first = busy.ask(100)[0]
    asked = busy.demand.asked
    busy.in_turn[first.queue] = 0
    assert busy.demand.ended(first.queue, 0) == 0
    assert busy.demand.asked == asked - first.messages
