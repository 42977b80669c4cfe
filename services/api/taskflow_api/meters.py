"""What the api counts of its requests. A route is told by its template, never by its path."""

from __future__ import annotations

from functools import lru_cache

from taskflow.kit.metrics import counter, gauge, histogram

REQUESTS = counter(
    "taskflow_http_requests_total",
    "Requests that ended; `route` is empty for those that fit none.",
    ["method", "route", "status"],
)
DURATION = histogram(
    "taskflow_http_request_duration_seconds",
    "How long requests took from their head to the end of the answer; streams and waits (`?wait=`) left out.",
    ["method", "route"],
    bounds=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
IN_PROGRESS = gauge(
    "taskflow_http_requests_in_progress", "Requests inside, waiting ones and streams included."
)
REFUSED = counter(
    "taskflow_requests_refused_total", "Requests that were refused, by the code of the problem.", ["code"]
)


@lru_cache(maxsize=1_024)
def route_of(template: str) -> str:
    """A template of Litestar's as our document writes it."""
    return template.replace(":str}", "}")
