"""Signing secrets over HTTP: shown once, changed with an overlap, ended; each account has its own."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from datetime import datetime
from typing import Any

import httpx
import pytest
from tests.integration.api.signing import NOBODYS, SECRET_KEY, Account, Signing
from tests.integration.api.test_bad_input import JSON, check_problem

from taskflow.engine.signing import SECRETS_MAX, Signer
from taskflow.engine.vault import Vault
from taskflow.store.connect import Database
from taskflow.webhooks import check_secret

SECRETS = "/api/v1/signing-secrets"


def made(http: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = http.post(SECRETS, json=body)
    assert answer.status_code == 201, answer.text
    secret: dict[str, Any] = answer.json()
    return secret


def listed(http: httpx.Client) -> list[dict[str, Any]]:
    answer = http.get(SECRETS)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def signs(signing: Signing, account: Account) -> list[str]:
    """What the account's webhooks are signed with, the oldest first, as the notifier finds it."""

    async def run() -> list[str]:
        async with Database(signing.database_url, application="test", pool_max=2) as database:
            return await Signer(database, Vault(SECRET_KEY))._secrets(account.id)

    return asyncio.run(run())


def seconds_left(secret: dict[str, Any]) -> float:
    ends = datetime.fromisoformat(secret["expires_at"])
    return (ends - datetime.now(ends.tzinfo)).total_seconds()


def test_one_is_shown_once_and_signs(signing: Signing) -> None:
    carol = signing.account("carol")
    assert check_secret(carol.secret) is None
    assert signs(signing, carol) == [carol.secret]
    second = made(carol.http)
    assert len(b64decode(second["secret"].removeprefix("whsec_"))) >= 24
    assert set(second) == {"id", "status", "created_at", "expires_at", "secret"}
    assert (second["status"], second["expires_at"]) == ("live", None)
    told = carol.http.get(SECRETS)
    assert second["secret"] not in told.text and carol.secret not in told.text
    assert all(set(item) == {"id", "status", "created_at", "expires_at"} for item in told.json()["items"])
    assert signs(signing, carol) == [carol.secret, second["secret"]]


def test_those_before_go_on_for_a_while(signing: Signing) -> None:
    dora = signing.account("dora")
    second = made(dora.http)
    [live, ending] = listed(dora.http)
    assert (live["id"], live["status"], live["expires_at"]) == (second["id"], "live", None)
    assert ending["status"] == "ending"
    assert 86_300 < seconds_left(ending) <= 86_400
    third = made(dora.http, overlap_seconds=60.5)
    assert [item["id"] for item in listed(dora.http)] == [third["id"], second["id"], ending["id"]]
    assert all(50 < seconds_left(item) <= 60.5 for item in listed(dora.http)[1:])
    made(dora.http, overlap_seconds=30 * 86_400)
    assert [round(seconds_left(item), -2) for item in listed(dora.http)[1:]] == [2_592_000, 100, 100]
    last = made(dora.http, overlap_seconds=0)
    assert [(item["id"], item["status"]) for item in listed(dora.http)] == [(last["id"], "live")]
    assert signs(signing, dora) == [last["secret"]]


def test_one_that_was_replaced_can_be_ended(signing: Signing) -> None:
    emma = signing.account("emma")
    second = made(emma.http)
    [_, first] = listed(emma.http)
    refused = emma.http.delete(f"{SECRETS}/{second['id']}")
    check_problem(refused, 404, "not_found")
    check_problem(
        emma.http.request("DELETE", f"{SECRETS}/{first['id']}", json={"a": 1}), 422, "unknown_field"
    )
    ended = emma.http.delete(f"{SECRETS}/{first['id']}")
    assert (ended.status_code, ended.content) == (204, b"")
    assert [item["id"] for item in listed(emma.http)] == [second["id"]]
    assert signs(signing, emma) == [second["secret"]]
    for secret_id in (first["id"], NOBODYS, "7"):
        check_problem(emma.http.delete(f"{SECRETS}/{secret_id}"), 404, "not_found")


def test_there_are_so_many_at_most(signing: Signing) -> None:
    fred = signing.account("fred")
    for _ in range(SECRETS_MAX - 1):
        made(fred.http)
    refused = fred.http.post(SECRETS)
    check_problem(refused, 403, "forbidden")
    assert f"{SECRETS_MAX} signing secrets; end one first" in refused.json()["detail"]
    assert len(listed(fred.http)) == SECRETS_MAX
    assert fred.http.delete(f"{SECRETS}/{listed(fred.http)[-1]['id']}").status_code == 204
    made(fred.http)
    pages = []
    following: str | None = f"{SECRETS}?limit=4"
    while following:
        answer = fred.http.get(following)
        pages.append([item["id"] for item in answer.json()["items"]])
        following = answer.links["next"]["url"] if "next" in answer.links else None
    assert [len(page) for page in pages] == [4, 4, 2]
    assert [one for page in pages for one in page] == [item["id"] for item in listed(fred.http)]


def test_two_at_once_leave_one_live(signing: Signing) -> None:
    gina = signing.account("gina")

    async def both() -> list[int]:
        async with httpx.AsyncClient(
            base_url=signing.api.url, headers=gina.http.headers, timeout=30
        ) as client:
            answers = await asyncio.gather(*(client.post(SECRETS) for _ in range(5)))
            return [answer.status_code for answer in answers]

    assert asyncio.run(both()) == [201] * 5
    assert sorted(item["status"] for item in listed(gina.http)) == ["ending"] * 5 + ["live"]


def test_others_do_not_see_it(signing: Signing, ann: Account, bob: Account) -> None:
    """An admin has secrets of his own, too, and nobody else's."""
    made(ann.http)
    [_, replaced] = listed(ann.http)
    anns = {item["id"] for item in listed(ann.http)}
    for http in (bob.http, signing.http):
        assert not anns & {item["id"] for item in listed(http)}
        check_problem(http.delete(f"{SECRETS}/{replaced['id']}"), 404, "not_found")
    assert made(signing.http)["id"] in {item["id"] for item in listed(signing.http)}
    assert {item["id"] for item in listed(ann.http)} == anns


WRONG: list[tuple[Any, str, str]] = [
    ({"overlap_seconds": -1}, "invalid", "/overlap_seconds"),
    ({"overlap_seconds": 2_592_001}, "invalid", "/overlap_seconds"),
    ({"overlap_seconds": "60"}, "invalid", "/overlap_seconds"),
    ({"overlap_seconds": True}, "invalid", "/overlap_seconds"),
    ({"overlap_seconds": None}, "invalid", "/overlap_seconds"),
    ({"overlap": 60}, "unknown_field", "/overlap"),
    ({"secret": "correct-horse-battery"}, "unknown_field", "/secret"),
    ([], "invalid", ""),
]


@pytest.mark.parametrize(("body", "code", "pointer"), WRONG)
def test_what_is_refused(ann: Account, body: Any, code: str, pointer: str) -> None:
    before = listed(ann.http)
    answer = ann.http.post(SECRETS, json=body)
    check_problem(answer, 422, code)
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    check_problem(ann.http.post(SECRETS, content=b'{"overlap_seconds":1e400}', headers=JSON), 422, "invalid")
    assert listed(ann.http) == before


def test_bodies_may_be_left_out(signing: Signing) -> None:
    hans = signing.account("hans")
    for body in (b"", b"{}", b"null"):
        assert hans.http.post(SECRETS, content=body, headers=JSON).status_code == 201
    assert hans.http.post(SECRETS).status_code == 201
    assert [item["status"] for item in listed(hans.http)] == ["live"] + ["ending"] * 4


def test_the_audit_log_tells_of_both_without_the_secret(signing: Signing) -> None:
    ilse = signing.account("ilse")
    second = made(ilse.http, overlap_seconds=60)
    [_, first] = listed(ilse.http)
    ilse.http.delete(f"{SECRETS}/{first['id']}")
    events = [
        event
        for target in (second["id"], first["id"])
        for event in signing.http.get("/api/v1/audit", params={"target": target}).json()["items"]
    ]
    assert [(event["action"], event["data"]) for event in events] == [
        ("signing_secret.created", {"overlap_seconds": 60.0}),
        ("signing_secret.ended", {}),
    ]
    assert second["secret"] not in str(events)


def test_without_a_key_there_are_none(http: httpx.Client) -> None:
    """The api of the other tests has none."""
    assert listed(http) == []
    for answer in (http.post(SECRETS), http.delete(f"{SECRETS}/{NOBODYS}")):
        check_problem(answer, 404, "not_found")
        assert answer.json()["detail"] == "nothing is signed here: neither SEALING_KEY nor SECRET_KEY is set"
