"""The HTTP server: uvicorn with our protocols and limits; it leaves signals to the edge."""

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
"""Connections that the system queues; at most half of the limit for non-streams, since all may be accepted at once."""
KEEPALIVE_SECONDS = 75
"""Lifetime of an idle connection unless HTTP_KEEPALIVE_S says otherwise.  It must exceed that of the proxy before us,
60 s for nginx and most balancers: if we close first while a request is on its way, the proxy answers 502.
"""
PING_SECONDS = 20.0
SHUTDOWN_SECONDS = 5
"""Grace for requests in progress once all calls have ended."""


_STRANGERS = (
    "ASGI callable returned without completing handshake",
    "Invalid HTTP request received",
)


class Server(uvicorn.Server):
    """Installs no signal handlers: on SIGTERM the edge first lets its calls end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _worth_a_line(record: logging.LogRecord) -> bool:
    """Drop uvicorn's log lines about bad requests: strangers could fill the log with them."""
    return not record.getMessage().startswith(_STRANGERS)


def make_server(app: ASGIApp, host: str, port: int, keepalive_s: int = KEEPALIVE_SECONDS) -> Server:
    """The server of the edge; it binds its port when `serve` is called."""
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
            proxy_headers=False,  # it trusts loopback by default, and hides the proxy that TRUSTED_PROXIES names
            access_log=False,  # it would log tokens in paths
            log_config=None,
            server_header=False,
        )
    )
