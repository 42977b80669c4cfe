"""`taskflow info`: how a system stands, told without Prometheus."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.support.systems import ROOT, System, environment_of_programs

from taskflow.store.levels import known_level

NOWHERE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "NATS_URL": "nats://127.0.0.1:1"}


def info(*arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "taskflow.cli.main", "info", *arguments], cwd=ROOT, capture_output=True, text=True,
        env={**environment_of_programs(), **environment}, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def servers_of(system: System) -> dict[str, str]:
    facts = system.facts()
    return {"DATABASE_URL": facts["database_url"], "NATS_URL": facts["nats_url"]}


def test_it_tells_of_schema_queues_workers_streams_and_lag(system: System) -> None:
    later = system.submit("demo", delay_seconds=3600, queue="told-of")
    try:
        code, out = info("--json", **servers_of(system))
        found: dict[str, Any] = json.loads(out)
    finally:
        system.post(f"/tasks/{later['id']}/cancel")
    assert code == 0
    told = found["system"]
    assert told["unreachable"] == {}
    assert max(told["postgres"]["server"][1]) == told["schema_known"] == known_level()
    queues = {queue["name"]: queue for queue in told["postgres"]["queues"]}
    assert queues["told-of"]["tasks"] == {"scheduled": 1}
    assert queues["told-of"]["workers"] == 0
    assert queues["default"]["workers"] >= 1
    assert told["postgres"]["workers_by_version"] == {
        found["versions"]["taskflow"]: queues["default"]["workers"]
    }
    assert [stream["messages"] is not None for stream in told["nats"]["streams"]] == [True] * 3
    lanes = {each["priority"]: each for each in told["nats"]["consumers"] if each["queue"] == "default"}
    assert list(lanes) == ["critical", "high", "normal", "low"]
    assert all(each["pulls"] >= 1 for each in lanes.values()), "workers wait for work"


def test_people_read_a_table(system: System) -> None:
    code, out = info(**servers_of(system))
    assert code == 0
    assert "(up to date)" in out
    assert "queue " in out
    assert "default normal" in out


def test_without_servers_it_tells_what_is_installed() -> None:
    code, out = info("--json")
    found = json.loads(out)
    assert (code, found["system"]) == (0, None)
    assert found["versions"]["asyncpg"]
    assert "set DATABASE_URL" in info()[1]


def test_servers_that_are_away_are_told_of_each(system: System) -> None:
    code, out = info("--json", **{**servers_of(system), "NATS_URL": NOWHERE["NATS_URL"]})
    told = json.loads(out)["system"]
    assert (code, list(told["unreachable"])) == (7, ["nats"])
    assert told["postgres"]["queues"]
    code, out = info(**NOWHERE)
    assert code == 7
    assert out.count("not reached") == 2
