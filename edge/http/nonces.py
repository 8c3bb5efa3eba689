"""Remembers the nonces of accepted webhooks, in Redis for all edges and locally as well.

The local memory counts while Redis is away and after Redis has lost its data; nonces of an outage are written to Redis
afterwards.  At `NONCES_MAX` the oldest is dropped: a webhook that this edge accepted longer ago than that could be
replayed here, and only while Redis is away.  Strangers cannot cause that, since only nonces of valid signatures are
remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from common.store import EdgeAuth

NONCE_SECONDS = 86_400
"""How long a nonce is remembered, in seconds."""
NONCES_MAX = 20_000
"""Nonces remembered by one edge; about 4 MB."""
WRITTEN_AT_ONCE = 100
"""Nonces of an outage that are written to Redis with one webhook."""


@dataclass(slots=True)
class Nonces:
    """The nonces of one edge.  Times are of the event loop, in seconds."""

    store: EdgeAuth
    most: int = NONCES_MAX
    _known: OrderedDict[str, tuple[str, float]] = field(default_factory=OrderedDict)
    """Nonce -> (digest of its webhook, time until which it counts), the oldest first."""
    _unwritten: OrderedDict[str, str] = field(default_factory=OrderedDict)

    async def is_new(self, nonce: str, digest: str, now_s: float) -> bool:
        """Whether the nonce is new, or came with the same webhook: that is a repeat by the carrier, not a replay."""
        known, until_s = self._known.get(nonce, (digest, 0.0))
        if until_s > now_s and known != digest:
            return False
        try:
            if not await self.store.remember_nonce(nonce, digest, NONCE_SECONDS):
                return False
            self._unwritten.pop(nonce, None)
            await self._write_down()
        except (ConnectionError, TimeoutError):
            meanwhile = self._known.get(nonce, (digest, 0.0))  # another webhook with it may have waited for Redis, too
            if meanwhile[1] > now_s and meanwhile[0] != digest:
                return False
            self._unwritten[nonce] = digest
            _forget_oldest(self._unwritten, self.most)
        if until_s <= now_s:
            self._known[nonce] = (digest, now_s + NONCE_SECONDS)
            self._known.move_to_end(nonce)
            _forget_oldest(self._known, self.most)
        return True

    async def _write_down(self) -> None:
        for nonce, digest in list(self._unwritten.items())[:WRITTEN_AT_ONCE]:
            await self.store.remember_nonce(nonce, digest, NONCE_SECONDS)
            self._unwritten.pop(nonce, None)


def _forget_oldest(table: OrderedDict[str, str] | OrderedDict[str, tuple[str, float]], most: int) -> None:
    while len(table) > most:
        table.popitem(last=False)
