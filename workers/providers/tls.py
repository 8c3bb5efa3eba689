"""The TLS context of the process, for all connections to vendors."""

from __future__ import annotations

import functools
import ssl


@functools.cache
def tls() -> ssl.SSLContext:
    """The context, made once: reading the certificate store takes 20 ms of the event loop's time."""
    return ssl.create_default_context()
