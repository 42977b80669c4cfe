"""`python -m taskflow_scheduler`: the scheduler as a program."""

from __future__ import annotations

from taskflow.kit.lifecycle import program
from taskflow_scheduler.app import serve
from taskflow_scheduler.settings import Settings

if __name__ == "__main__":
    program(Settings, serve, "scheduler")
