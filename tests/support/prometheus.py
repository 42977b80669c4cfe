"""A real Prometheus (Debian's package, where it is to be had) beside a system, and the rules and queries we ship."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.systems import ROOT, System, running_system
from tests.support.waiting import wait_until_sync

from taskflow.cli.dev.places import PORTS, free_port

RULES = ROOT / "deployments/prometheus/alerts.yml"
RULES_TEST = ROOT / "deployments/prometheus/alerts_test.yml"
DASHBOARDS = sorted((ROOT / "deployments/grafana/dashboards").glob("*.json"))
_NAME = re.compile(r"\btaskflow_\w+")
_SUFFIX = re.compile(r"_(bucket|sum|count)$")


def found(name: str) -> str | None:
    """The path of `prometheus` or `promtool`, if there is one. `.ci/run` unpacks them."""
    folder = os.environ.get("PROMETHEUS_BIN", "")
    return shutil.which(name, path=f"{folder}{os.pathsep}{os.environ.get('PATH', '')}")


def tool(name: str) -> str:
    """The same; skips where there is none."""
    path = found(name)
    if path is None:
        pytest.skip(f"no {name} here: Debian's package prometheus has it")
    return path


def metrics_in(expression: str) -> set[str]:
    """The metrics of ours that an expression asks for, histograms by their own name."""
    return {_SUFFIX.sub("", name) for name in _NAME.findall(expression)}


class Query:
    """One query of a dashboard, as Grafana would ask it."""

    def __init__(self, board: str, panel: str, expression: str) -> None:
        self.name = f"{board}: {panel}"
        self.raw = expression
        self.expression = expression.replace("$__rate_interval", "30s").replace("$queue", ".*")


def queries() -> list[Query]:
    """Every query of every dashboard."""
    return [
        Query(path.stem, panel["title"], target["expr"])
        for path in DASHBOARDS
        for panel in json.loads(path.read_text())["panels"]
        for target in panel.get("targets", ())
    ]


class Prometheus:
    """A running one."""

    def __init__(self, port: int) -> None:
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=10)

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query."""
        answer = self.http.get("/query", params={"query": expression})
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        samples: list[dict[str, Any]] = answer.json()["data"]["result"]
        return samples

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        alerts = self.http.get("/alerts").json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def metrics_port(workers: int) -> int:
    """Where the first process of a system is to tell its metrics; the others' ports follow. None that others may draw."""
    return free_port(count=workers + 3, among=range(10_000, PORTS.start))


@contextmanager
def metered_system(
    *arguments: str, workers: int = 1, **settings: str
) -> Iterator[tuple[System, dict[str, list[str]]]]:
    """A running system all of whose processes tell their metrics; and where, by job."""
    first = metrics_port(workers)
    with running_system(*arguments, "--workers", str(workers), PROBE_PORT=str(first), **settings) as system:
        at = [f"127.0.0.1:{port}" for port in range(first, first + workers + 3)]
        api = system.facts()["api_url"].removeprefix("http://")
        tenders = {"scheduler": at[:1], "dlq-consumer": at[1:2], "notifier": at[2:3]}
        yield system, {"api": [api], **tenders, "worker": at[3:]}


@contextmanager
def prometheus(
    folder: Path, targets: dict[str, Sequence[str]], *, rules: str | None = None, every: str = "1s"
) -> Iterator[Prometheus]:
    """One that scrapes these addresses, by job, as often as told; `rules` is the text of a rule file."""
    port = free_port()
    config: dict[str, Any] = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": list(addresses)}]}
            for job, addresses in targets.items()
        ],
    }
    if rules is not None:
        (folder / "rules.yml").write_text(rules)
        config["rule_files"] = [str(folder / "rules.yml")]
    (folder / "prometheus.json").write_text(json.dumps(config))  # JSON is YAML
    command = [
        tool("prometheus"), f"--config.file={folder / 'prometheus.json'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    made = Prometheus(port)
    try:

        def scraping() -> bool:
            assert process.poll() is None, (folder / "prometheus.log").read_text()
            try:
                up = made.ask("up == 1")
            except (httpx.TransportError, AssertionError):
                return False
            return len(up) == sum(map(len, targets.values()))

        wait_until_sync(scraping, "every target is scraped", 30, interval=0.2)
        yield made
    finally:
        made.http.close()
        process.terminate()
        process.wait(20)
