"""A real Prometheus scrapes a whole system under load: every query of our dashboards finds something."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support import leaks, prometheus
from tests.support.prometheus import Prometheus
from tests.support.systems import System
from tests.support.waiting import wait_until_sync

WORK = [
    {"type": "demo", "priority": "critical"},
    {"type": "demo", "queue": "default", "priority": "low"},
    {"type": "gives_up"},
    {"type": "nap", "payload": {"seconds": 0.3}},
]


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, Prometheus]]:
    prometheus.tool("prometheus")
    before = leaks.running()
    with (
        prometheus.metered_system(workers=2) as (system, targets),
        prometheus.prometheus(tmp_path_factory.mktemp("prometheus"), targets) as observer,
    ):
        yield system, observer
    leaks.check_none_left(before)


def _work(system: System) -> None:
    system.submit_many(WORK * 5)
    assert system.http.get("/api/v1/tasks/nobody").status_code == 404
    assert system.http.post("/api/v1/tasks", json={"typ": "demo"}).status_code == 422


def test_every_query_of_the_dashboards_finds_something(observed: tuple[System, Prometheus]) -> None:
    system, observer = observed
    empty = {f"{query.name}: {query.raw}": query for query in prometheus.queries()}

    def all_found() -> bool:
        _work(system)
        for name, query in list(empty.items()):
            if observer.ask(query.expression):
                del empty[name]
        return not empty

    try:
        wait_until_sync(all_found, "all queries find something", 45, interval=1)
    except AssertionError:
        raise AssertionError("\n".join(empty)) from None


def test_what_prometheus_tells_is_what_happened(observed: tuple[System, Prometheus]) -> None:
    system, observer = observed
    ids = system.submit_many([{"type": "demo", "queue": "default", "tags": ["counted"]}] * 40)
    system.wait_all(ids)

    def summed(expression: str) -> float:
        return sum(float(sample["value"][1]) for sample in observer.ask(expression))

    stats = system.get("/tasks/stats")["by_status"]
    wait_until_sync(
        lambda: summed("sum(max by (queue, status) (taskflow_tasks{status=\"completed\"}))")
        >= stats["completed"] - 5,
        "the census knows of them", 20, interval=0.5,
    )  # fmt: skip
    wait_until_sync(
        lambda: summed('sum(taskflow_attempts_total{outcome="succeeded"})') >= stats["completed"],
        "workers have counted them", 10, interval=0.5,
    )  # fmt: skip
    assert summed("sum(taskflow_tasks_submitted_total)") >= stats["completed"]
    wait_until_sync(
        lambda: observer.ask("max(taskflow_conservation_gap) == 0"), "nothing is missing", 10, interval=0.5
    )
