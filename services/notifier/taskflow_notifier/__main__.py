"""`python -m taskflow_notifier`: the notifier as a program."""

from __future__ import annotations

from taskflow.kit.lifecycle import program
from taskflow_notifier.app import serve
from taskflow_notifier.settings import Settings

if __name__ == "__main__":
    program(Settings, serve, "notifier")
