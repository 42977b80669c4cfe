"""What happened, as admins read it for charts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from tests.integration.api.test_bad_input import check_problem
from tests.support import servers as real
from tests.support.apis import Api, running_api

from taskflow.domain.series import SERIES_MAX
from taskflow.kit.clock import now, rfc3339

SERIES = "/api/v1/stats/series"
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
AN_HOUR = {"from": "2026-11-22T11:00:00Z", "to": "2026-11-22T12:00:00Z"}
PUT = (
    "INSERT INTO stat_series (step_seconds, at, queue, type, submitted, started, completed, failed, retried, waits, runs) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
)
NO_TIMES: list[int] = []
FIRST, LAST = NOON - timedelta(minutes=60), NOON - timedelta(minutes=1)
ROWS = [
    (60, FIRST, "a", "x", 3, 2, 1, 1, 1, [0] * 4 + [6], NO_TIMES),
    (60, FIRST, "b", "x", 1, 1, 1, 1, 0, [0] * 4 + [4], NO_TIMES),
    (60, FIRST, "b", "y", 1, 1, 1, 0, 0, NO_TIMES, NO_TIMES),
    (60, FIRST, "a", "", 3, 2, 1, 1, 1, [0] * 4 + [6], NO_TIMES),
    (60, FIRST, "b", "", 2, 2, 2, 1, 0, [0] * 4 + [4], NO_TIMES),
    (60, FIRST, "", "x", 4, 3, 2, 2, 1, [0] * 4 + [10], NO_TIMES),
    (60, FIRST, "", "y", 1, 1, 1, 0, 0, NO_TIMES, NO_TIMES),
    (60, FIRST, "", "", 5, 4, 3, 2, 1, [0] * 4 + [10], NO_TIMES),
    *(
        (60, LAST, queue, name, 7, 0, 0, 0, 0, NO_TIMES, NO_TIMES)
        for queue in ("a", "")
        for name in ("x", "")
    ),
    (60, NOON, "", "", 1_000, 0, 0, 0, 0, NO_TIMES, NO_TIMES),
    (3_600, FIRST, "", "", 12, 4, 3, 2, 1, NO_TIMES, [0] * 40 + [1]),
    *((86_400, NOON.replace(hour=0), f"q{n:02}", "", n, 0, 0, 0, 0, NO_TIMES, NO_TIMES) for n in range(30)),
]


@pytest.fixture(scope="module")
def api(databases: real.Databases, servers: real.Servers) -> Iterator[Api]:
    """An api, and rows as folds and workers leave them."""
    url = databases.create()

    async def put() -> None:
        conn = await asyncpg.connect(url)
        await conn.executemany(PUT, ROWS)
        await conn.close()

    real.blocking(put)
    with running_api(url, servers.nats_url) as started:
        yield started
    databases.drop(url)
    real.delete_streams(servers.nats_url)


def read(http: httpx.Client, **query: Any) -> dict[str, Any]:
    answer = http.get(SERIES, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def submitted(series: dict[str, Any]) -> list[int]:
    return [point["submitted"] for point in series["points"] if point["submitted"]]


def test_an_hour_by_the_minute_has_every_minute(http: httpx.Client) -> None:
    answer = read(http, **AN_HOUR)
    assert (answer["from"], answer["to"]) == ("2026-11-22T11:00:00.000000Z", "2026-11-22T12:00:00.000000Z")
    assert (answer["step_seconds"], answer["left_out"]) == (60, 0)
    [series] = answer["series"]
    assert (series["queue"], series["type"], len(series["points"])) == (None, None, 60)
    first, second, last = (series["points"][place] for place in (0, 1, -1))
    assert first == {
        "at": "2026-11-22T11:00:00.000000Z", "submitted": 5, "started": 4, "completed": 3, "failed": 2, "retried": 1,
        "wait_seconds": {"p50": 0.001841, "p95": 0.002, "p99": 0.002}, "run_seconds": None,
    }  # fmt: skip
    assert second == {
        "at": "2026-11-22T11:01:00.000000Z", "submitted": 0, "started": 0, "completed": 0, "failed": 0, "retried": 0,
        "wait_seconds": None, "run_seconds": None,
    }  # fmt: skip
    assert (last["at"], last["submitted"]) == ("2026-11-22T11:59:00.000000Z", 7)


def test_steps_are_read_as_they_are_kept(http: httpx.Client) -> None:
    [series] = read(http, **AN_HOUR, step_seconds=3_600)["series"]
    [point] = series["points"]
    assert point["submitted"] == 12
    assert 0.5 < point["run_seconds"]["p50"] < 1.5


def test_what_is_asked_for_is_widened_to_whole_steps(http: httpx.Client) -> None:
    answer = read(
        http, **{"from": "2026-11-22T11:59:59.5Z", "to": "2026-11-22T13:00:00+01:00"}, step_seconds=60
    )
    assert (answer["from"], answer["to"]) == ("2026-11-22T11:59:00.000000Z", "2026-11-22T12:00:00.000000Z")
    assert submitted(answer["series"][0]) == [7]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"group_by": "queue"}, [("a", None, [3, 7]), ("b", None, [2])]),
        ({"group_by": "type"}, [(None, "x", [4, 7]), (None, "y", [1])]),
        ({"queue": "a"}, [(None, None, [3, 7])]),
        ({"queue": ["a", "b"], "type": "x"}, [(None, None, [4, 7])]),
        ({"queue": "none"}, [(None, None, [])]),
        ({"group_by": "queue", "type": "y"}, [("b", None, [1])]),
        ({"group_by": "queue", "queue": ["none", "b"]}, [("b", None, [2]), ("none", None, [])]),
        ({"group_by": "type", "queue": "none"}, []),
    ],
)
def test_by_queue_and_type(http: httpx.Client, query: Any, expected: list[Any]) -> None:
    answer = read(http, **AN_HOUR, **query)
    assert [(each["queue"], each["type"], submitted(each)) for each in answer["series"]] == expected
    assert all(len(each["points"]) == 60 for each in answer["series"])


@pytest.mark.parametrize("query", [{"type": "x"}, {"type": "x", "queue": ["a", "b"]}])
def test_times_of_several_are_taken_together(http: httpx.Client, query: Any) -> None:
    [series] = read(http, **AN_HOUR, **query)["series"]
    assert series["points"][0]["wait_seconds"] == {"p50": 0.001841, "p95": 0.002, "p99": 0.002}


def test_of_very_many_the_greatest_are_told(http: httpx.Client) -> None:
    answer = read(
        http,
        **{"from": "2026-11-22T00:00:00Z", "to": "2026-11-22T01:00:00Z"},
        step_seconds=86_400,
        group_by="queue",
    )
    assert answer["left_out"] == 30 - SERIES_MAX
    assert [each["queue"] for each in answer["series"]] == [
        f"q{n:02}" for n in range(29, 29 - SERIES_MAX, -1)
    ]
    named = read(
        http, **{"from": "2026-11-22T00:00:00Z", "to": "2026-11-22T01:00:00Z"}, step_seconds=86_400, group_by="queue",
        queue=["q00", "none"],
    )  # fmt: skip
    assert [each["queue"] for each in named["series"]] == ["q00", "none"]


def test_without_bounds_it_is_the_last_hour(http: httpx.Client) -> None:
    before = now()
    answer = read(http)
    assert answer["step_seconds"] == 60
    assert len(answer["series"][0]["points"]) in {60, 61}
    assert rfc3339(before) <= answer["to"] <= rfc3339(now() + timedelta(minutes=1))
    day = read(http, to="1970-01-01T00:00:00Z")
    assert day["from"] == "1969-12-31T23:00:00.000000Z"


@pytest.mark.parametrize(
    ("query", "parameter", "said"),
    [
        ({"from": AN_HOUR["to"], "to": AN_HOUR["from"]}, "from", "expected a time before `to`"),
        ({"from": "2999-01-01T00:00:00Z"}, "from", "expected a time before `to`"),
        ({"to": AN_HOUR["to"], "from": "1970-01-01T00:00:00Z"}, "from", "at most 1500 days"),
        (
            {"from": "2026-11-01T00:00:00Z", "to": AN_HOUR["to"], "step_seconds": "60"},
            "step_seconds",
            "at least 3600",
        ),
        (
            {"step_seconds": "61"},
            "step_seconds",
            "expected one of 60, 300, 900, 3600, 21600, 86400",
        ),
        ({"group_by": "priority"}, "group_by", "expected one of queue, type"),
        ({"queue": "A B"}, "queue", "expected 1 to 64"),
        ({"from": "yesterday"}, "from", "expected a time with offset"),
    ],
)
def test_what_is_wrong_is_named(http: httpx.Client, query: dict[str, str], parameter: str, said: str) -> None:
    answer = http.get(SERIES, params=query)
    check_problem(answer, 422, "invalid")
    [problem] = answer.json()["errors"]
    assert problem["parameter"] == parameter
    assert said in problem["detail"]
