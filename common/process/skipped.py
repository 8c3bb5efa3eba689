"""Skips errors that affect one item or one round of a loop, and must never end the loop.

A loop that serves many calls counts and logs what it cannot use, and continues.  The log does not quote what was read,
which may contain a phone number or a caller's words.
"""

from __future__ import annotations

import logging
import time
import traceback

from common.bus import Receive
from common.protocol.messages import Message
from common.telemetry import metrics

log = logging.getLogger(__name__)

LINES_EACH_SECONDS = 10.0
"""Least time between two log lines of one loop, because an unusable entry may come a thousand times."""
_next_line: dict[str, float] = {}


def skip(loop: str, error: BaseException, call_id: str = "") -> None:
    """Count an error of `loop` (one of `EDGE_LOOPS` or `WORKER_LOOPS`) and log where it happened."""
    metrics.LOOP_ERRORS.labels(loop).inc()
    now = time.monotonic()
    if now < _next_line.get(loop, now):
        return
    _next_line[loop] = now + LINES_EACH_SECONDS
    frames = traceback.extract_tb(error.__traceback__)
    location = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"
    about = {"call_id": call_id} if call_id else {}
    log.error("%s: skipped after %s at %s", loop, type(error).__name__, location, extra=about)


def unreadable(what: str, call_id: str = "") -> None:
    """Count a value in Redis that cannot be read; `what` is one of `UNREADABLE_WHATS`."""
    metrics.UNREADABLE.labels(what).inc()
    now = time.monotonic()
    if now < _next_line.get(what, now):
        return
    _next_line[what] = now + LINES_EACH_SECONDS
    about = {"call_id": call_id} if call_id else {}
    log.warning("a %s in Redis cannot be read, and is skipped", what, extra=about)


SKIPPED_MAX = 100
"""Messages of one call that a session may fail to use; after more the session itself is broken, and it ends."""


def skipping(receive: Receive, call_id: str) -> Receive:
    """`receive` without its errors: a message that makes it raise is skipped, up to `SKIPPED_MAX` of them."""
    skipped = 0

    def guarded(entry_id: str, message: Message) -> None:
        nonlocal skipped
        try:
            receive(entry_id, message)
        except Exception as error:
            skipped += 1
            if skipped > SKIPPED_MAX:
                raise
            skip("session", error, call_id)

    return guarded
