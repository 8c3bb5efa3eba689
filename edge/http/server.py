"""uvicorn with our WebSocket protocol, and with the process's own idea of SIGTERM."""

from __future__ import annotations

import contextlib
import logging
import resource
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from edge.http.limits.connections import strangers_max
from edge.http.protocol import RequestProtocol
from edge.media.websocket import MediaSocketProtocol
from edge.vobiz.stream_protocol import MESSAGE_BYTES_MAX

BACKLOG = 2048
"""Connections that the system holds for us; no more than half of the strangers, for all may be accepted at once."""
KEEPALIVE_SECONDS = 75
"""An idle connection lasts this long unless HTTP_KEEPALIVE_S says otherwise: longer than the proxy before us keeps it.
nginx and most balancers keep one for 60 s; who closes first, and is met by a request on its way, costs a 502.
"""
PING_SECONDS = 20.0
SHUTDOWN_SECONDS = 5
"""For requests that are still under way once all calls have ended."""


_STRANGERS = (
    "ASGI callable returned without completing handshake",
    "Invalid HTTP request received",
)


class Server(uvicorn.Server):
    """Leaves signals alone: an edge that is told to stop first lets its calls end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _worth_a_line(record: logging.LogRecord) -> bool:
    """What strangers send is no error of ours: they could fill the log with uvicorn's lines about it."""
    return not record.getMessage().startswith(_STRANGERS)


def make_server(app: ASGIApp, host: str, port: int, keepalive_s: int = KEEPALIVE_SECONDS) -> Server:
    """The server of the edge; binds when it is told to serve."""
    logging.getLogger("uvicorn.error").addFilter(_worth_a_line)
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            loop="none",
            http=RequestProtocol,
            ws=MediaSocketProtocol,
            ws_max_size=MESSAGE_BYTES_MAX,
            ws_per_message_deflate=False,
            ws_ping_interval=PING_SECONDS,
            ws_ping_timeout=PING_SECONDS,
            backlog=min(BACKLOG, strangers_max(descriptors) // 2),
            timeout_keep_alive=keepalive_s,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            lifespan="off",
            proxy_headers=False,  # it trusts loopback unasked, and hides the proxy that TRUSTED_PROXIES names
            access_log=False,  # it would log the tokens in the paths
            log_config=None,
            server_header=False,
        )
    )
