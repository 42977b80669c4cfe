"""The built-in types that every worker has. The worker's app passes this package to `load_registry`."""

from taskflow_worker.handlers import computing, echoing, requesting, sleeping

__all__ = ["computing", "echoing", "requesting", "sleeping"]
