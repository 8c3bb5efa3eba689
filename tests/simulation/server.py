"""The simulated Redis: the streams and the ledger that all processes share, and nothing of any process.

The ledger is the memory twin; what it leaves out (calls that go stale) is added here.  `Witness` is told of all that
happens, and judges.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Protocol

from common.bus.memory import MemoryStreams
from common.protocol import redis_keys
from common.protocol.codec import decode, encode
from common.protocol.messages import AudioIn, AudioOut, Message
from common.store import Claim
from common.store.effects import Effect, EffectState, Known
from common.store.fixed_speech import FixedSentence
from common.store.fixed_speech_memory import MemoryFixedSpeech
from common.store.memory import MemoryCallStore
from common.store.offers import OFFER_IDLE_MS
from common.store.redis import LEASE_MS
from common.store.suspicion import Take

OFFER_LOOK_SECONDS = OFFER_IDLE_MS / 2000
"""A taker looks again this often for offers that somebody took and never settled."""


class Witness(Protocol):
    """Sees everything that Redis sees."""

    def appended(self, stream: str, message: Message) -> None: ...

    def claimed(self, claim: Claim) -> None: ...

    def wrote(self, claim: Claim, accepted: bool) -> None: ...

    def reached(self, stage: str, call_id: str) -> None: ...


class Waker(Protocol):
    """Waits for entries."""

    def wake(self) -> None: ...


@dataclass(slots=True)
class _Stream:
    entries: list[tuple[int, Message]]
    bound: int | None


class SimulatedStreams(MemoryStreams):
    """All streams.  Control is encoded and decoded as on the wire; audio, for speed, is not."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self._witness = witness
        self._streams: dict[str, _Stream] = {}
        self._readers: dict[str, list[Waker]] = defaultdict(list)

    def append(self, stream: str, message: Message) -> None:
        self._count += 1
        found = self._streams.get(stream)
        if found is None:
            found = self._streams[stream] = _Stream([], redis_keys.maxlen(stream))
        if not isinstance(message, AudioIn | AudioOut):
            message = decode(encode(message))
        found.entries.append((self._count, message))
        if found.bound and len(found.entries) > found.bound + found.bound // 10:  # about, as Redis does
            del found.entries[: len(found.entries) - found.bound]
        self._witness.appended(stream, message)
        for reader in self._readers[stream]:
            reader.wake()

    def after(self, stream: str, position: int) -> list[tuple[int, Message]]:
        found = self._streams.get(stream)
        if found is None:
            return []
        return found.entries[bisect_right(found.entries, position, key=itemgetter(0)) :]

    def follow(self, stream: str, reader: Waker) -> None:
        """Wake the reader at every append."""
        if reader not in self._readers[stream]:
            self._readers[stream].append(reader)

    def forget(self, stream: str, reader: Waker) -> None:
        """Wake it no more."""
        if reader in self._readers[stream]:
            self._readers[stream].remove(reader)


class ForgetfulSpeech(MemoryFixedSpeech):
    """Keeps no sentence: each frame's saying is of one call, by which the trial judges what was heard."""

    async def keep(self, key: str, sentence: FixedSentence) -> None:
        """Forget it."""


class SimulatedLedger(MemoryCallStore):
    """The memory ledger, with takers that need not poll."""

    def __init__(self, all_streams: SimulatedStreams, witness: Witness) -> None:
        super().__init__(all_streams, LEASE_MS)
        self.fixed_speech = ForgetfulSpeech()
        self._witness = witness
        self._takers: dict[str, _Takers] = {}

    async def claim(self, pool: str, call_id: str, owner: str, take: Take = Take.TRUSTED) -> Claim | None:
        claim = await super().claim(pool, call_id, owner, take)
        if claim is not None:
            self._witness.claimed(claim)
        return claim

    async def append(self, claim: Claim, messages: Sequence[Message]) -> bool:
        written = await super().append(claim, messages)
        self._witness.wrote(claim, written)
        return written

    async def save_checkpoint(self, claim: Claim, checkpoint: str) -> bool:
        written = await super().save_checkpoint(claim, checkpoint)
        self._witness.wrote(claim, written)
        return written

    async def begin_effect(self, effect: Effect, claim: Claim | None = None) -> Known:
        known = await super().begin_effect(effect, claim)
        if known.state is EffectState.NEW:
            self._witness.reached("begun", effect.call_id)
        return known

    async def finish_effect(self, effect: Effect, result: str, claim: Claim | None = None) -> Known:
        known = await super().finish_effect(effect, result, claim)
        if known.state is EffectState.DONE:
            self._witness.reached("finished", effect.call_id)
        return known

    async def take_offers(self, pool: str, owner: str, count: int, block_ms: int) -> list[tuple[str, str]]:
        until = _now() + block_ms / 1000
        stream = redis_keys.pool_calls(pool)
        while True:
            found = self._open_offers(pool)[:count]
            if found or _now() >= until:
                for number, _ in found:
                    self._taken[pool, number] = _now()
                return [(f"{number}-0", call_id) for number, call_id in found]
            takers = self._takers.get(stream)
            if takers is None:
                takers = self._takers[stream] = _Takers()
                self._streams.follow(stream, takers)  # type: ignore[attr-defined]
            await takers.news(min(OFFER_LOOK_SECONDS, until - _now()))


class _Takers:
    """Members that wait for an offer."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def news(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.append(future)
        timer = loop.call_later(seconds, _settle, future)
        try:
            await future
        finally:
            timer.cancel()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _now() -> float:
    return asyncio.get_running_loop().time()
