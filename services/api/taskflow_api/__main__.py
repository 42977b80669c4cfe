"""`python -m taskflow_api`: the api as a program."""

from __future__ import annotations

from taskflow.kit.lifecycle import program
from taskflow_api.app import serve
from taskflow_api.settings import Settings

if __name__ == "__main__":
    program(Settings, serve, "api")
