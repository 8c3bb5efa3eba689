"""A host whose clock is wrong.  Loops and timers are not: those count seconds, and do not tell the time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any, cast

from common.store import CallStore


@contextlib.contextmanager
def host_clock(ahead_s: float) -> Iterator[None]:
    """What is done within is done by a host whose clock is so far ahead (or, negative, behind).

    It is the machine's clock that is wrong, the standard library's, and none of our modules knows of it.
    """
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + ahead_s
    time.time_ns = lambda: now_ns() + round(ahead_s * 1e9)
    try:
        yield
    finally:
        time.time, time.time_ns = now, now_ns


@contextlib.contextmanager
def loop_clock() -> Iterator[None]:
    """The host's clock goes with the running loop's, so that times in messages can be compared on a virtual clock."""
    now, now_ns, loop = time.time, time.time_ns, asyncio.get_running_loop()
    time.time = loop.time
    time.time_ns = lambda: round(loop.time() * 1e9)
    try:
        yield
    finally:
        time.time, time.time_ns = now, now_ns


class _Skewed:
    def __init__(self, inner: object, ahead_s: float) -> None:
        self._inner, self._ahead_s = inner, ahead_s

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        async def asked(*args: Any, **more: Any) -> Any:
            with host_clock(self._ahead_s):
                return await method(*args, **more)

        return asked


def on_host(store: CallStore, ahead_s: float) -> CallStore:
    """The ledger as a process on such a host uses it; one call of it at a time."""
    return cast(CallStore, _Skewed(store, ahead_s))
