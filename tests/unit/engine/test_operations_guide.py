"""The guide for operators names every check and every metric, and none that is not there."""

from __future__ import annotations

import re

from tests.support.systems import ROOT

from taskflow.engine import meters, rounds
from taskflow.engine.doctor import CHECKS
from taskflow.kit.metrics import REGISTRY

GUIDE = (ROOT / "docs/guides/operations.md").read_text()
CHECKED, _, MEASURED = GUIDE.partition("## What is measured")


def test_every_metric_is_told_of() -> None:
    assert meters and rounds  # by whose import the metrics are made
    there = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in REGISTRY.collect()
        if metric.name.startswith("taskflow_")
    }
    assert set(re.findall(r"^\| `(taskflow_\w+)", MEASURED, re.MULTILINE)) == there


def test_every_check_is_told_of() -> None:
    rows = re.findall(r"^\| ((?:`\w+` ?)+) \|", CHECKED, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"\w+", row)} == set(CHECKS)
