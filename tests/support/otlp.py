"""A receiver of OTLP over HTTP: what a collector would be told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Told(NamedTuple):
    """A span that was received; ids as hex, attributes as plain values."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    links: list[str]
    events: list[dict[str, Any]]
    failed: bool


class Receiver:
    """Keeps all spans."""

    def __init__(self) -> None:
        self.spans: list[Told] = []
        self.url = ""
        self.status = 200

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _plain(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_told(service, span) for span in scope.spans]

    def of_trace(self, trace_id: str) -> list[Told]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace_id == trace_id]


def _told(service: str, span: Any) -> Told:
    return Told(
        service, span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), _plain(span.attributes),
        [link.span_id.hex() for link in span.links], [_plain(event.attributes) for event in span.events],
        span.status.code == 2,
    )  # fmt: skip


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def otlp_receiver(*, keeps: bool = True) -> Iterator[Receiver]:
    """One that listens on a free port of loopback; one that does not keep what it is told does not even read it."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            if keeps and receiver.status == 200:
                receiver.take(body)
            self.send_response(receiver.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, name="otlp")
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
