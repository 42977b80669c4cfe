"""Imports in the process that says it may, and nowhere else."""

from __future__ import annotations

import os

from taskflow import task

if os.environ.get("TASKFLOW_TEST_BREAKS_IN_PID") != str(os.getpid()):
    raise ModuleNotFoundError("No module named 'heavy_library'")


@task("def.unimportable")
def unimportable() -> None: ...
