"""Ten thousand tasks go in with one call, all or none."""

from __future__ import annotations

from tests.support.systems import System


def test_a_batch_answers_in_order_and_all_of_it_is_executed(system: System) -> None:
    ids = system.submit_many([{"type": "echo", "payload": n} for n in range(500)])
    done = system.wait_all(ids)
    assert {task["status"] for task in done.values()} == {"completed"}
    assert [system.get(f"/tasks/{task_id}")["result"] for task_id in ids[:3]] == [0, 1, 2]


def test_one_wrong_item_refuses_the_whole_batch_and_says_where(system: System) -> None:
    items = [{"type": "echo", "payload": n, "tags": ["refused"]} for n in range(10_000)]
    items[7777]["priority"] = 101
    answer = system.http.post("/api/v1/tasks/batch", json={"items": items})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/items/7777/priority"
    assert system.get("/tasks", tag="refused")["items"] == []
