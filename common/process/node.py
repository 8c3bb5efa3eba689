"""Names a process and runs its main coroutine on uvloop."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
from collections.abc import Coroutine
from typing import Any

import uvloop


def node_id(kind: str) -> str:
    """A unique name of a process: "stt-<host>-<8 hex digits>"."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", os.environ.get("HOSTNAME") or socket.gethostname())[:40]
    return f"{kind}-{host}-{secrets.token_hex(4)}"


def run_process(main: Coroutine[Any, Any, None]) -> int:
    """Run the coroutine to its end and return 0.  Raises what it raises, which Python prints and exits with 1."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
    return 0
