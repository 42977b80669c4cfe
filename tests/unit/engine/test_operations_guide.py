"""The guide for operators names every check of the doctor, and none that is not there."""

from __future__ import annotations

import re

from tests.support.systems import ROOT

from taskflow.engine.doctor import CHECKS

GUIDE = (ROOT / "docs/guides/operations.md").read_text()


def test_every_check_is_told_of() -> None:
    rows = re.findall(r"^\| ((?:`\w+` ?)+) \|", GUIDE, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"\w+", row)} == set(CHECKS)
