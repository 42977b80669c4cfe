"""Spans made and sent by OpenTelemetry: OTLP over HTTP, where and how the standard variables OTEL_EXPORTER_OTLP_* say.

Whether there is a span at all is decided before (`tracing`), so that the SDK samples nothing itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextvars import Context
from importlib.metadata import version

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from taskflow.kit.logging import get_logger
from taskflow.kit.trace_context import Attributes, Kind

log = get_logger(__name__)

_KINDS = {"server": SpanKind.SERVER, "consumer": SpanKind.CONSUMER}
_CLOSE_SECONDS_MAX = 3.0


class _Ids(threading.local, IdGenerator):
    """Random ids, but for a span whose id is given; each thread has its own next one."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self.next_span: str | None = None

    def generate_span_id(self) -> int:
        given, self.next_span = self.next_span, None
        return self._random.generate_span_id() if given is None else int(given, 16)

    def generate_trace_id(self) -> int:
        return self._random.generate_trace_id()


class OtelSpan:
    """One span of OpenTelemetry's."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        made = span.get_span_context()
        self.traceparent = f"00-{made.trace_id:032x}-{made.span_id:016x}-{made.trace_flags:02x}"

    def end(
        self, error: tuple[str, str, str | None] | None = None, **attributes: str | int | float | bool
    ) -> None:
        """It is over."""
        self._span.set_attributes({key.replace("__", "."): value for key, value in attributes.items()})
        if error is not None:
            kind, message, traceback = error
            told = {
                "exception.type": kind,
                "exception.message": message,
                "exception.stacktrace": traceback or "",
            }
            self._span.add_event("exception", told)
            self._span.set_attribute("error.type", kind)
            self._span.set_status(Status(StatusCode.ERROR, message))
        self._span.end()


class _Sender(OTLPSpanExporter):
    """Says when spans begin to be lost, and when they are sent again; the library would say it of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._lost:
                log.info("traces.resumed", spans_lost=self._lost)
            self._lost = 0
        else:
            if not self._lost:
                log.warning("traces.lost", hint="the collector does not take them")
            self._lost += len(spans)
        return result


class OtelTracer:
    """One a program. Spans that cannot be sent in time are dropped, and nothing waits for them."""

    def __init__(self, service: str) -> None:
        self._ids = _Ids()
        resource = Resource.create(
            {"service.name": f"taskflow-{service}", "service.version": version("taskflow-platform")}
        )
        self._sending = BatchSpanProcessor(_Sender())
        ours = TracerProvider(sampler=ALWAYS_ON, resource=resource, id_generator=self._ids)
        ours.add_span_processor(self._sending)
        self._tracer = ours.get_tracer("taskflow")
        # What libraries make in a handler goes the same way, but only where its task is traced.
        theirs = TracerProvider(sampler=ParentBased(ALWAYS_OFF), resource=resource)
        theirs.add_span_processor(self._sending)
        trace.set_tracer_provider(theirs)
        # It says four lines of each batch that cannot be sent; `_Sender` says it once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

    def begin(
        self,
        name: str,
        kind: Kind,
        parent: str | None,
        attributes: Attributes,
        *,
        span_id: str | None = None,
        link: str | None = None,
    ) -> OtelSpan:
        """A span of that name. If it cannot be made, one that tells nothing: no task fails for that."""
        above = _above(parent) if parent else otel_context.Context()
        links = [Link(_span_context(parent, link))] if parent and link else []
        self._ids.next_span = span_id
        try:
            span = self._tracer.start_span(
                name, above, kind=_KINDS[kind], attributes=dict(attributes), links=links
            )
        except Exception:
            log.exception("span.failed", span=name)
            span = trace.INVALID_SPAN
        finally:
            self._ids.next_span = None
        return OtelSpan(span)

    def enter(self, variables: Context, traceparent: str) -> None:
        """Let what runs with these context variables see this as the present span."""
        variables.run(otel_context.attach, _above(traceparent))

    def flush(self) -> None:
        """Send what there is now, and wait for it."""
        self._sending.force_flush()

    def close(self) -> None:
        """Send what is left; a collector that does not answer is not waited for."""
        closing = threading.Thread(target=self._sending.shutdown, name="otel.close", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS_MAX)


def _above(traceparent: str) -> otel_context.Context:
    span = NonRecordingSpan(_span_context(traceparent, traceparent[36:52]))
    return trace.set_span_in_context(span, otel_context.Context())


def _span_context(traceparent: str, span_id: str) -> SpanContext:
    flags = TraceFlags(int(traceparent[-2:], 16))
    return SpanContext(int(traceparent[3:35], 16), int(span_id, 16), is_remote=True, trace_flags=flags)
