"""Keeps the keys of one connection out of the event log while they are secret, and stores them for the tools.

    press("4") ──▶ store: add_secret_key ──▶ publish("")   the event log knows that a key was pressed, not which
    press("#") ──▶ publish("#")                             * and # finish an entry and are never secret

A digit is published only once it is stored, so the LLM worker never counts one that a tool would not get.  If the store
is away the digit is dropped and counted: the entry stays too short, and the agent asks again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from common.store.secret_keys import SecretKey, Secrets
from common.telemetry import metrics

log = logging.getLogger(__name__)

STORE_SECONDS = 2.0
"""How long one digit may take to be stored."""
WAITING_MAX = 64
"""Most keys that wait to be stored."""
DIGITS = frozenset("0123456789")


class SecretKeys:
    """The keys of one connection.  All pass here, so that their order stays."""

    def __init__(self, call_id: str, publish: Callable[[str], None]) -> None:
        """`publish(digit)` writes the key to the event log; the digit is empty if it is secret."""
        self.store: Secrets | None = None
        """Where digits are kept; None: nowhere, each is dropped."""
        self._call_id = call_id
        self._publish: Callable[[str], None] | None = publish
        self._name, self._digits_max = "", 0
        self._number = 0
        self._waiting: deque[tuple[str, SecretKey | None]] = deque()
        self._writing: asyncio.Task[None] | None = None

    def keep(self, name: str, digits_max: int) -> None:
        """From the next key on digits are secret, and `digits_max` of them kept under `name`; empty: no more."""
        self._name, self._digits_max = name, digits_max

    def press(self, key: str, epoch: int) -> None:
        """Take one key of connection `epoch`."""
        if not self._name and not self._waiting:
            self._report(key)
            return
        if len(self._waiting) >= WAITING_MAX:
            metrics.SECRET_KEYS_LOST.inc()
            return
        secret = None
        if self._name and key in DIGITS:
            self._number += 1
            secret = SecretKey(self._call_id, epoch, self._number, self._name, key, self._digits_max)
        self._waiting.append((key, secret))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name=f"secret keys {self._call_id}")

    def close(self) -> None:
        """The call is over: publish nothing more, and drop the reference to it."""
        self._publish = None

    def _report(self, digit: str) -> None:
        if self._publish is not None:
            self._publish(digit)

    async def _write(self) -> None:
        while self._waiting:
            key, secret = self._waiting[0]
            if secret is None:
                self._report(key)
            elif await self._stored(secret):
                self._report("")
            else:
                metrics.SECRET_KEYS_LOST.inc()
                log.warning("a secret key was not stored, and is lost", extra={"call_id": self._call_id})
            self._waiting.popleft()

    async def _stored(self, key: SecretKey) -> bool:
        if self.store is None:
            return False
        try:
            async with asyncio.timeout(STORE_SECONDS):
                return await self.store.add_secret_key(key)
        except (ConnectionError, TimeoutError):
            return False
