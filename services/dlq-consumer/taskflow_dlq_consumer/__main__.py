"""`python -m taskflow_dlq_consumer`: the dlq-consumer as a program."""

from __future__ import annotations

from taskflow.kit.lifecycle import program
from taskflow_dlq_consumer.app import serve
from taskflow_dlq_consumer.settings import Settings

if __name__ == "__main__":
    program(Settings, serve, "dlq-consumer")
