"""Finds free ports on loopback for processes that are about to start."""

from __future__ import annotations

import errno
import itertools
import os
import socket

FIRST, COUNT = 20_000, 12_000
"""Below the ports of outgoing connections on Linux (from 32768), which could take one between check and bind."""

_candidates = itertools.count(os.getpid() * 64 % COUNT)  # a different start in every process, and no port twice


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which no process listens.  Raises OSError if there is none."""
    for candidate in itertools.islice(_candidates, COUNT):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", FIRST + candidate % COUNT))
            except OSError:
                continue
            return FIRST + candidate % COUNT
    raise OSError(f"no port from {FIRST} to {FIRST + COUNT - 1} is free on 127.0.0.1")


def is_free(host: str, port: int) -> bool:
    """Return whether a server can listen there.  Raises OSError if `host` is no address of this machine."""
    wanted = host.strip("[]") or None
    for family, kind, protocol, _, address in socket.getaddrinfo(
        wanted, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[:1]:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EACCES):
                    return False
                raise
    return True
