"""Nonces of webhooks that were let in: remembered in Redis, for all edges, and here as well.

What is remembered here counts while Redis is away, and after it has lost what it knew; what came in the meantime is
written there once it is back.  At `NONCES_MAX` the oldest is forgotten: a webhook that this edge let in more than so
many webhooks ago could be replayed here while Redis is away, and nowhere else.  Strangers cannot bring that about, for
only the nonces of valid signatures are remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from common.store import EdgeAuth

NONCE_SECONDS = 86_400
"""How long a nonce is remembered."""
NONCES_MAX = 20_000
"""Remembered at one edge; about 4 MB."""
WRITTEN_AT_ONCE = 100
"""Nonces of an outage that are written down with one webhook."""


@dataclass(slots=True)
class Nonces:
    """Asked with the event loop's time.  One for each edge."""

    store: EdgeAuth
    most: int = NONCES_MAX
    _known: OrderedDict[str, tuple[str, float]] = field(default_factory=OrderedDict)
    """nonce -> (digest of its webhook, until when), the oldest first"""
    _unwritten: OrderedDict[str, str] = field(default_factory=OrderedDict)

    async def is_new(self, nonce: str, digest: str, now_s: float) -> bool:
        """False if the nonce came before with another webhook; the same webhook again is the carrier's own repeat."""
        known, until_s = self._known.get(nonce, (digest, 0.0))
        if until_s > now_s and known != digest:
            return False
        try:
            if not await self.store.remember_nonce(nonce, digest, NONCE_SECONDS):
                return False
            self._unwritten.pop(nonce, None)
            await self._write_down()
        except (ConnectionError, TimeoutError):
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
