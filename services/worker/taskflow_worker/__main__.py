"""`python -m taskflow_worker`: a worker as a program."""

from __future__ import annotations

from taskflow.kit.lifecycle import program
from taskflow_worker.app import serve
from taskflow_worker.settings import Settings

if __name__ == "__main__":
    program(Settings, serve, "worker")
