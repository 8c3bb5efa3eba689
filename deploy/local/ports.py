"""Ports on loopback for processes that are about to be started."""

from __future__ import annotations

import itertools
import os
import socket

FIRST, COUNT = 20_000, 12_000
"""Below those that Linux gives to outgoing connections (from 32768): nobody takes one between asking and binding."""

_candidates = itertools.count(os.getpid() * 64 % COUNT)  # another start in every process, and never one twice


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on.  Raises OSError if there is none."""
    for candidate in itertools.islice(_candidates, COUNT):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", FIRST + candidate % COUNT))
            except OSError:
                continue
            return FIRST + candidate % COUNT
    raise OSError(f"no port from {FIRST} to {FIRST + COUNT - 1} is free on 127.0.0.1")
