"""Errors that cost one item, or one round of a loop, and never the loop.

A loop that serves many calls skips what it cannot use: it counts it, says so, and goes on.  What was read is not
quoted: it may hold a number, or what somebody said.
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
"""Of one loop a line is logged so often at most: an entry that cannot be used may come a thousand times."""
_next_line: dict[str, float] = {}


def skip(loop: str, error: BaseException, call_id: str = "") -> None:
    """Count an error of `loop` (one of `EDGE_LOOPS` or `WORKER_LOOPS`), and log where it happened."""
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
    """Count something in Redis that cannot be read; `what` is one of `UNREADABLE_WHATS`."""
    metrics.UNREADABLE.labels(what).inc()
    now = time.monotonic()
    if now < _next_line.get(what, now):
        return
    _next_line[what] = now + LINES_EACH_SECONDS
    about = {"call_id": call_id} if call_id else {}
    log.warning("a %s in Redis cannot be read, and is skipped", what, extra=about)


SKIPPED_MAX = 100
"""Messages of one call that a session may fail to use; then it is the session that is broken, and it ends."""


def skipping(receive: Receive, call_id: str) -> Receive:
    """`receive`, but a message of which it makes an error is skipped."""
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
