"""Ends every process that imports it but the one that says it may."""

from __future__ import annotations

import os

from taskflow import task

if os.environ.get("TASKFLOW_TEST_BREAKS_IN_PID") != str(os.getpid()):
    os._exit(9)


@task("def.deadly")
def deadly() -> None: ...
