"""Names a process and runs its main coroutine on uvloop."""

from __future__ import annotations

import asyncio
import gc
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


def freeze_garbage() -> None:
    """Leave all objects of now out of later rounds of the garbage collector; call it once a process is ready.

    A full round looks at every module and class that was imported: 0.1 to 0.5 s in a worker with a large vendor
    package, in which no call of the process gets an answer.  What a call leaves is collected as before.
    """
    gc.collect()
    gc.freeze()
