"""Serves /metrics, /healthz and /readyz of a worker on a thread of its own, so that a busy event loop still answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from common.telemetry import metrics

if TYPE_CHECKING:
    from wsgiref.types import StartResponse

SOCKET_SECONDS = 5.0


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_address = True


class _Requests(WSGIRequestHandler):
    timeout = SOCKET_SECONDS

    def log_message(self, *args: Any) -> None:
        """Scrapes are not logged."""


class Probes:
    """`with Probes(port, refusal):` serves until the block ends.  `refusal()`: why no call is taken, or ""."""

    def __init__(self, port: int, refusal: Callable[[], str], host: str = "0.0.0.0") -> None:  # noqa: S104
        self._refusal = refusal
        self._server = make_server(host, port, self._answer, server_class=_Server, handler_class=_Requests)
        self._thread = threading.Thread(target=self._server.serve_forever, name="probes", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def __enter__(self) -> Probes:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        status, kind, body = "404 Not Found", "text/plain; charset=utf-8", b"not found\n"
        match environ["PATH_INFO"]:
            case "/metrics":
                status, kind, body = "200 OK", metrics.CONTENT_TYPE, metrics.exposition()
            case "/healthz":
                status, body = "200 OK", b"alive\n"
            case "/readyz":
                refusal = self._refusal()
                status = "503 Service Unavailable" if refusal else "200 OK"
                body = f"not ready: {refusal}\n".encode() if refusal else b"ready\n"
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]
