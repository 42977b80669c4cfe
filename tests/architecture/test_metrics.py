"""Metrics, alerts and dashboards: what is told of exists, what exists is told of, and rules do what they say."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chaos.cell import load_cells
from tests.support import prometheus
from tests.support.systems import ROOT

import taskflow
import taskflow_api
import taskflow_dlq_consumer
import taskflow_notifier
import taskflow_scheduler
import taskflow_worker
from taskflow.bus.rights import Role
from taskflow.kit.metrics import REGISTRY

METRICS = (ROOT / "docs/guides/metrics.md").read_text()
RUNBOOKS = (ROOT / "docs/guides/alerts.md").read_text()
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(prometheus.RULES.read_text())["groups"] for rule in group["rules"]
]


@pytest.fixture(scope="module")
def made() -> set[str]:
    """The names of all metrics that any program of ours makes."""
    services = (taskflow_api, taskflow_worker, taskflow_scheduler, taskflow_dlq_consumer, taskflow_notifier)
    for package in (taskflow, *services):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    return {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in REGISTRY.collect()
        if metric.name.startswith("taskflow_")
    }


def test_every_metric_is_told_of_and_none_that_is_not_there(made: set[str]) -> None:
    assert set(re.findall(r"^\| `(taskflow_\w+)", METRICS, re.MULTILINE)) == made


def test_labels_are_told_as_they_are(made: set[str]) -> None:
    told = dict(re.findall(r"^\| `(taskflow_\w+)(?:{([\w,]+)})?`", METRICS, re.MULTILINE))
    there = {
        name: ",".join(labels)
        for name, labels in {
            collector._name + ("_total" if type(collector).__name__ == "Counter" else ""): getattr(
                collector, "_labelnames", None
            )
            or getattr(collector, "_labels", ())
            for collector in set(REGISTRY._names_to_collectors.values())
            if str(getattr(collector, "_name", "")).startswith("taskflow_")
        }.items()
    }
    assert told == there


def test_alerts_and_dashboards_ask_for_what_is_there(made: set[str]) -> None:
    asked = [alert["expr"] for alert in ALERTS] + [query.raw for query in prometheus.queries()]
    unknown = {name for expression in asked for name in prometheus.metrics_in(expression)} - made
    assert not unknown


def test_every_alert_has_a_runbook_where_it_says() -> None:
    names = [alert["alert"] for alert in ALERTS]
    assert re.findall(r"^## (Taskflow\w+)$", RUNBOOKS, re.MULTILINE) == names
    for alert in ALERTS:
        assert alert["annotations"]["runbook"] == f"docs/guides/alerts.md#{alert['alert'].lower()}"
        assert alert["labels"]["severity"] in {"page", "ticket"}
        assert {"summary", "description"} <= alert["annotations"].keys()


def test_every_alert_is_tested_to_fire_and_to_be_still() -> None:
    tests = yaml.safe_load(prometheus.RULES_TEST.read_text())["tests"]
    checks = [check for test in tests for check in test["alert_rule_test"]]
    names = {alert["alert"] for alert in ALERTS}
    assert {check["alertname"] for check in checks if check.get("exp_alerts")} == names
    assert {check["alertname"] for check in checks if not check.get("exp_alerts")} == names


def test_every_alert_is_fired_by_its_cause_in_a_cell() -> None:
    cells = {each.name for each in load_cells(["alerts"]) if each.module == "alerts"}
    assert cells == {f"alert: {alert['alert']}" for alert in ALERTS}


def test_the_rules_pass_their_tests() -> None:
    promtool = prometheus.tool("promtool")
    done = subprocess.run(
        [promtool, "test", "rules", prometheus.RULES_TEST.name],
        cwd=prometheus.RULES_TEST.parent, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_of_the_compose_file_reads_its_configuration(tmp_path: Path) -> None:
    """With the rules where the container sees them."""
    text = (prometheus.RULES.parent / "prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(
        text.replace("/etc/prometheus/alerts.yml", str(prometheus.RULES))
    )
    done = subprocess.run(
        [prometheus.tool("promtool"), "check", "config", str(tmp_path / "prometheus.yml")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "13 rules" in done.stdout


def test_prometheus_of_the_compose_file_asks_every_service_where_it_tells() -> None:
    jobs = yaml.safe_load((prometheus.RULES.parent / "prometheus.yml").read_text())["scrape_configs"]
    places = {job["job_name"]: job["dns_sd_configs"][0] for job in jobs}
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert {name: place["names"] for name, place in places.items()} == {role: [role] for role in Role}
    assert places["api"]["port"] == services["api"]["environment"]["HTTP_PORT"]
    [probed] = re.findall(r"PROBE_PORT=(\d+)", (ROOT / "deployments/docker/Dockerfile").read_text())
    assert {places[role]["port"] for role in Role if role is not Role.API} == {int(probed)}


def test_dashboards_have_places_and_names_of_their_own() -> None:
    uids = set()
    for path in prometheus.DASHBOARDS:
        board = json.loads(path.read_text())
        assert board["uid"] == path.stem
        uids.add(board["uid"])
        panels = board["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        places = [panel["gridPos"] for panel in panels]
        taken = {
            (x, y)
            for p in places
            for x in range(p["x"], p["x"] + p["w"])
            for y in range(p["y"], p["y"] + p["h"])
        }
        assert len(taken) == sum(p["w"] * p["h"] for p in places), f"panels of {path.name} overlap"
    assert len(uids) == len(prometheus.DASHBOARDS) > 0
