"""What handler authors import.

from taskflow import Context, PermanentError, RetryLater, Snooze, Struct, task
"""

from msgspec import Struct

from taskflow.domain.errors import PermanentError, RetryLater, Snooze
from taskflow.domain.retry import RetryPolicy
from taskflow.handlers.context import Context
from taskflow.handlers.registry import task

__all__ = ["Context", "PermanentError", "RetryLater", "RetryPolicy", "Snooze", "Struct", "task"]
