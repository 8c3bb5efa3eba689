"""Sends spans to a collector by OTLP over HTTP, with the OpenTelemetry SDK (the extra `traces`).

A thread of the SDK sends them in batches.  Spans that cannot be sent, or have no room to wait, are dropped and counted:
no call ever waits for a collector.  The SDK itself reads OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_CERTIFICATE and
the like.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from common.telemetry import metrics, traces

log = logging.getLogger(__name__)

SPANS_MAX = 2048
"""Most spans that wait to be sent; about 200 turns of a process."""
BATCH_MAX = 512
BATCH_MS = 1000
EXPORT_SECONDS = 5.0
"""Deadline of one batch, including repetitions."""
CLOSE_SECONDS = 3.0
"""How long the end of a process waits for the last batch."""
GIVE_UP_SECONDS = 0.5
NS_PER_MS = 1_000_000


@contextmanager
def exporting(collector: traces.Collector, node: str) -> Iterator[None]:
    """See `traces.exporting`."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it would log every batch, with the endpoint
    url, headers = f"{collector.endpoint.rstrip('/')}/v1/traces", dict(collector.headers)
    counted = _Counted(OTLPSpanExporter(url, headers=headers, timeout=EXPORT_SECONDS))
    ids = _Ids()
    kind = node.partition("-")[0]
    resource = Resource.create({"service.name": f"voice-{kind}", "service.instance.id": node})
    provider = TracerProvider(TraceIdRatioBased(collector.share), resource, shutdown_on_exit=False, id_generator=ids)
    batches = BatchSpanProcessor(
        counted, max_queue_size=SPANS_MAX, schedule_delay_millis=BATCH_MS, max_export_batch_size=BATCH_MAX
    )
    provider.add_span_processor(batches)
    traces.begin(_Recorder(provider.get_tracer("voice"), ids, counted).record)
    try:
        yield
    finally:
        traces.begin(None)
        closing = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)
        if closing.is_alive():
            counted.shutdown()  # gives up the repetitions of a batch
            closing.join(GIVE_UP_SECONDS)


class _Ids(IdGenerator):
    """Makes random ids, except for the root of a trace."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self.root: traces.TurnTrace | None = None
        """The turn whose root span is made next."""

    def generate_span_id(self) -> int:
        return self.root.root_id if self.root is not None else self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        return self.root.trace_id if self.root is not None else self._random.generate_trace_id()


class _Counted(SpanExporter):
    """Counts the outcome of spans; only the SDK's thread calls it."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._failing = False
        self.done = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - no error may end the thread
            log.debug("exporting spans: %s", type(error).__name__)
            result = SpanExportResult.FAILURE
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failing:
            log.warning("traces cannot be sent to the collector")
        self._failing = failed
        self.done += len(spans)
        metrics.TRACE_SPANS.labels("failed" if failed else "sent").inc(len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class _Recorder:
    """Converts the spans of traces.py to those of the SDK; only the event loop's thread calls it."""

    def __init__(self, tracer: trace.Tracer, ids: _Ids, counted: _Counted) -> None:
        self._tracer = tracer
        self._ids = ids
        self._counted = counted
        self._taken = 0

    def record(self, span: traces.Span) -> None:
        if self._taken - self._counted.done >= SPANS_MAX:
            metrics.TRACE_SPANS.labels("dropped").inc()
            return
        turn = span.turn
        context = trace.set_span_in_context(trace.INVALID_SPAN)
        if span.name == traces.TURN:
            self._ids.root = turn
        else:
            flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
            parent = trace.SpanContext(turn.trace_id, turn.root_id, is_remote=True, trace_flags=flags)
            context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
        attributes = {"call.id": turn.call_id, "voice.utterance": turn.utterance, **_named(span.attributes)}
        if turn.reply:
            attributes["voice.turn"] = turn.reply
        begun = self._tracer.start_span(span.name, context, attributes=attributes, start_time=span.begun_ms * NS_PER_MS)
        self._ids.root = None
        self._taken += begun.is_recording()
        begun.end(span.done_ms * NS_PER_MS)


def _named(attributes: dict[str, traces.Value]) -> dict[str, traces.Value]:
    return {f"voice.{name}": value for name, value in attributes.items()}
