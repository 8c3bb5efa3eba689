"""Receives OpenTelemetry traces on loopback: OTLP over HTTP in, spans out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """One received span; ids in hexadecimal digits, times in ms."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    begun_ms: float
    done_ms: float
    attributes: dict[str, str | int]


class Collector:
    """The collector; `url` is OTEL_EXPORTER_OTLP_ENDPOINT, `status` the HTTP status of its replies."""

    def __init__(self) -> None:
        self.status = 200
        self.spans: list[ReceivedSpan] = []
        self.requests = 0
        self.raw = b""
        """All bytes received, for tests that search them for private data."""
        self._arrived = threading.Condition()
        self.url = ""
        self.authorization = ""
        """The header `authorization` of the last request."""

    def take(self, path: str, authorization: str, body: bytes) -> int:
        """Record one request and return its status."""
        self.requests += 1
        self.authorization = authorization
        if path != "/v1/traces":
            return 404
        if self.status == 200:
            with self._arrived:
                self.raw += body
                self.spans += _spans(ExportTraceServiceRequest.FromString(body))
                self._arrived.notify_all()
        return self.status

    def until(self, count: int, seconds: float = 10.0) -> list[ReceivedSpan]:
        """Return all spans once `count` have arrived.  Raises AssertionError after `seconds`."""
        with self._arrived:
            there = self._arrived.wait_for(lambda: len(self.spans) >= count, seconds)
            assert there, f"{len(self.spans)} spans after {seconds:g} s, not {count}"
            return self.spans


@contextmanager
def collector() -> Iterator[Collector]:
    """Serve a collector while the block runs."""
    collecting = Collector()

    class Requests(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = collecting.take(self.path, self.headers.get("authorization", ""), body)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Requests) as server:
        collecting.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield collecting
        finally:
            server.shutdown()
            thread.join()


def _spans(request: Any) -> list[ReceivedSpan]:
    found = []
    for resource in request.resource_spans:
        service = _values(resource.resource.attributes)["service.name"]
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            begun_ms, done_ms = span.start_time_unix_nano / 1e6, span.end_time_unix_nano / 1e6
            ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
            found.append(ReceivedSpan(str(service), span.name, *ids, begun_ms, done_ms, _values(span.attributes)))
    return found


def _values(attributes: Any) -> dict[str, str | int]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
