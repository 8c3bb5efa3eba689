"""A tool that acts at the end of each reply: what must not happen twice, whoever dies.

The mind has no tools with effects yet, so its ledger is wrapped: before a reply's end is written, the effect is carried
out as a tool would, by `common/call/once.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from common.call.once import NotDone, once
from common.protocol.messages import Message, ReplyEnded
from common.store import CallStore, Claim
from common.store.effects import Effect

ACT_SECONDS = 0.2
"""Before the effect, and again before it is said that it is done: faults fall in between."""


@dataclass(slots=True)
class ActingLedger:
    """The ledger of one session of the mind; `effect(key)` is told of each effect that is carried out."""

    store: CallStore
    effect: Callable[[str], None]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def append(self, claim: Claim, messages: Sequence[Message]) -> bool:
        """As the ledger's."""
        for message in messages:
            if isinstance(message, ReplyEnded):
                try:
                    await once(self.store, Effect(claim.call_id, message.turn), self._act, claim)
                except NotDone:
                    continue  # it was begun by somebody who died: never again without asking
        return await self.store.append(claim, messages)

    async def _act(self, key: str) -> str:
        await asyncio.sleep(ACT_SECONDS)
        self.effect(key)
        await asyncio.sleep(ACT_SECONDS)
        return "done"
