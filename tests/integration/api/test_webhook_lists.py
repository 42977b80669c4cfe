"""Lists of webhook deliveries and endpoints: filters, pages, and cursors that were made by hand."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.integration.api.signing import (
    DELIVERIES,
    ENDPOINTS,
    HOOK,
    NOBODYS,
    TASKS,
    Account,
    Signing,
    listed,
    of_task,
    submit,
    trigger,
)
from tests.integration.api.test_bad_input import check_problem

from taskflow_api.cursors import bind, encode_cursor


def test_lists_are_narrowed(signing: Signing, ann: Account) -> None:
    one, other = (
        submit(ann.http, callback={"url": f"{HOOK}?narrow=1"}),
        submit(ann.http, callback={"url": f"{HOOK}?narrow=2"}),
    )
    made = [trigger(ann.http, task, event=event)["id"]
            for task in (one, other) for event in ("task.succeeded", "task.failed", "task.test")]  # fmt: skip
    signing.rows(
        "UPDATE webhook_deliveries SET status = 'delivered', finished_at = now() WHERE id = $1", made[0]
    )
    signing.rows(
        "UPDATE webhook_deliveries SET status = 'failed', finished_at = now() WHERE id = $1", made[1]
    )

    def numbers(http: httpx.Client = ann.http, **params: Any) -> list[int]:
        return sorted(made.index(item["id"]) for item in listed(http, **params) if item["id"] in made)

    for http in (ann.http, signing.http):
        assert numbers(http) == [0, 1, 2, 3, 4, 5]
        assert numbers(http, status="delivered") == [0]
        assert numbers(http, status=["delivered", "failed"]) == [0, 1]
        assert numbers(http, event="task.test") == [2, 5]
        assert numbers(http, event=["task.test", "task.failed"], status="pending") == [2, 4, 5]
        assert numbers(http, url=f"{HOOK}?narrow=2") == [3, 4, 5]
        assert numbers(http, url=f"{HOOK}?narrow=2", event="task.failed") == [4]
        assert numbers(http, url=HOOK) == []
        told = [made.index(item["id"]) for item in of_task(http, one, event=["task.failed", "task.test"])]
        assert sorted(told) == [1, 2]


QUERIES = [
    ("status=done", "invalid", "pending, delivered, failed"),
    ("event=task.done", "invalid", "task.succeeded"),
    ("url=", "invalid", "1 to 2000"),
    ("url=%00", "invalid", "U+0000"),
    ("url=a&url=b", "invalid", "once"),
    ("limit=0", "invalid", "1 to 200"),
    ("limit=201", "invalid", "1 to 200"),
    ("state=pending", "unknown_field", "did you mean status?"),
    ("task_id=7", "unknown_field", "expected one of"),
]


@pytest.mark.parametrize(("query", "code", "words"), QUERIES)
def test_queries_are_read_strictly(ann: Account, query: str, code: str, words: str) -> None:
    task = submit(ann.http)
    for path in (DELIVERIES, f"{TASKS}/{task['id']}/webhook-deliveries"):
        answer = ann.http.get(f"{path}?{query}")
        check_problem(answer, 422, code)
        assert words in answer.json()["errors"][0]["detail"]


def test_pages_show_each_once_while_others_are_added(ann: Account) -> None:
    task = submit(ann.http, callback={"url": f"{HOOK}/pages"})
    made = {trigger(ann.http, task)["id"] for _ in range(7)}
    for path, params in (
        (DELIVERIES, {"url": f"{HOOK}/pages"}), (f"{TASKS}/{task['id']}/webhook-deliveries", {"event": "task.test"}),
    ):  # fmt: skip
        seen: list[str] = []
        following: str | None = str(httpx.URL(path, params={**params, "limit": 2}))
        while following:
            answer = ann.http.get(following)
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["items"]) <= 2
            seen += [item["id"] for item in answer.json()["items"]]
            made.add(trigger(ann.http, task)["id"])
            following = answer.links["next"]["url"] if "next" in answer.links else None
        assert len(set(seen)) == len(seen) >= 7
        assert seen == sorted(seen, reverse=True)
        assert set(seen) <= made


def test_cursors_are_bound_and_those_made_by_hand_harm_nothing(ann: Account) -> None:
    task = submit(ann.http)
    for _ in range(2):
        trigger(ann.http, task)
    mine = f"{TASKS}/{task['id']}/webhook-deliveries"
    cursor = ann.http.get(mine, params={"limit": 1}).json()["next_cursor"]
    assert ann.http.get(mine, params={"limit": 1, "cursor": cursor}).status_code == 200
    for path, params in (
        (DELIVERIES, {}),
        (mine, {"status": "pending"}),
        (ENDPOINTS, {}),
        (mine, {"url": HOOK}),
    ):
        check_problem(ann.http.get(path, params={**params, "cursor": cursor}), 400, "bad_cursor")
    check_problem(ann.http.get("/api/v1/signing-secrets", params={"cursor": cursor}), 400, "bad_cursor")
    odd = [
        "",
        "7",
        "\0",
        "x" * 600,
        NOBODYS.replace("-", ""),
        f"{NOBODYS}\n",
        f" {NOBODYS}",
        "ü",
        "{" + NOBODYS + "}",
    ]
    bound = {
        ENDPOINTS: bind("listWebhookEndpoints", ann.id, False),
        "/api/v1/signing-secrets": bind("listSigningSecrets", ann.id),
    }
    for path, binding in bound.items():
        for last in (*odd, f"{NOBODYS} a\0b", f"{NOBODYS}\0 a", f"x {HOOK}"):
            check_problem(
                ann.http.get(path, params={"cursor": encode_cursor(binding, last)}), 400, "bad_cursor"
            )
    for last in (
        NOBODYS,
        NOBODYS.upper(),
        f"{NOBODYS} ",
        f"{NOBODYS} \U0001f600",
        f"ffffffff{NOBODYS[8:]} z",
    ):
        answer = ann.http.get(ENDPOINTS, params={"cursor": encode_cursor(bound[ENDPOINTS], last)})
        assert answer.status_code == 200, answer.text
    for path in (DELIVERIES, mine, ENDPOINTS, "/api/v1/signing-secrets"):
        for text in ("", "ü", "x" * 5_000, cursor[:-2] + "AA", cursor + "="):
            check_problem(ann.http.get(path, params={"cursor": text}), 400, "bad_cursor")


def test_endpoints_by_owner_and_url(signing: Signing, ann: Account, bob: Account) -> None:
    """URLs that begin alike for as long as one may be are told once each, too."""
    long = [f"https://example.org/{'x' * 1_970}{at}" for at in range(3)]
    urls = sorted(["https://a.example.org/", "https://b.example.org/?a=b&c=%20", *long])
    insert = """INSERT INTO webhook_endpoints (owner_id, url, failures, failing_since, next_try_at, touched_at, error)
                VALUES ($1, $2, $3, now(), now(), now(), $4)"""
    for at, url in enumerate(urls):
        signing.rows(insert, ann.id, url, 100 if at < 2 else 99, "answered 500")
    signing.rows(insert, bob.id, urls[0], 0, None)
    for limit in (1, 2, 200):
        found = listed(ann.http, ENDPOINTS, limit=limit)
        assert sorted(item["url"] for item in found) == urls
        assert {item["owner_id"] for item in found} == {ann.id}
        slowed = listed(ann.http, ENDPOINTS, limit=limit, state="slowed")
        assert [(item["url"], item["state"], item["failures"]) for item in slowed] == [
            (url, "slowed", 100) for url in urls[:2]
        ]
    [bobs] = listed(bob.http, ENDPOINTS)
    assert (bobs["url"], bobs["state"], bobs["failures"], bobs["delivered_at"]) == (
        urls[0],
        "active",
        0,
        None,
    )
    admins = signing.http.get(ENDPOINTS).json()["items"]
    assert sorted(item["owner_id"] for item in admins) == sorted([ann.id] * 5 + [bob.id])
    sent = trigger(ann.http, submit(ann.http, callback={"url": urls[0]}))
    assert sent["endpoint"] == "slowed"
    assert trigger(bob.http, submit(bob.http, callback={"url": urls[0]}))["endpoint"] == "active"
    for query in ("state=active", "state=slowed&state=slowed", "limit=201"):
        check_problem(ann.http.get(f"{ENDPOINTS}?{query}"), 422, "invalid")
    for query in ("status=slowed", "url=x"):
        check_problem(ann.http.get(f"{ENDPOINTS}?{query}"), 422, "unknown_field")
