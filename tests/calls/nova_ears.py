"""Deepgram's core and its stand-in as a call's speech-to-text, without a socket.  Interim words may be wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from simulators.providers.deepgram_speech import NovaSpeech, Pace
from workers.providers.interfaces import ListenOptions, SttEvent
from workers.stt.engines.deepgram_nova import query
from workers.stt.engines.deepgram_nova_core import NovaCore
from workers.stt.stream.audio_feed import AudioFeed
from workers.stt.stream.event_queue import EventQueue
from workers.stt.stream.stt_core import Effect

LOUD = b"\x10\x90" * 80
"""20 ms of speech for the stand-in."""


class NovaEars:
    """A `SpeechToText`.  `wrong` is the probability that an interim result misses its last word, or has another one."""

    def __init__(self, script: Sequence[str], pace: Pace, wrong: float = 0.0, seed: int = 0) -> None:
        self._script = script
        self._pace = pace
        self._wrong = wrong
        self._random = Random(seed)

    @asynccontextmanager
    async def listen(self, options: ListenOptions) -> AsyncIterator[NovaEar]:
        stream = NovaEar(options, NovaSpeech(self._script, self._pace, dict(query("nova-3", options))), self._spoil)
        yield stream
        stream.close()

    def _spoil(self, message: dict[str, Any]) -> None:
        if message["type"] != "Results" or message["is_final"] or self._random.random() >= self._wrong:
            return
        (alternative,) = message["channel"]["alternatives"]
        if not alternative["words"]:
            return
        if self._random.random() < 0.5:
            del alternative["words"][-1]
        else:
            alternative["words"][-1]["word"] = self._random.choice(("other", "mother", "brother"))
        alternative["transcript"] = " ".join(word["word"] for word in alternative["words"])


class NovaEar:
    """One stream (see `SttStream`)."""

    def __init__(self, options: ListenOptions, vendor: NovaSpeech, spoil: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._feed = AudioFeed(60_000)
        self._core = NovaCore("deepgram/nova-3", options, self._feed, 1_500, 700)
        self._vendor = vendor
        self._spoil = spoil
        self._events = EventQueue()

    def feed(self, position_ms: int, mulaw: bytes) -> None:
        self._feed.put(position_ms, mulaw)
        self._apply(self._core.feed(position_ms, mulaw, self._loop.time()))
        while taken := self._feed.take(160):
            if isinstance(taken, bytes):
                self._plan(self._vendor.hear(taken))
        self._apply(self._core.wake(self._loop.time()))

    def __aiter__(self) -> AsyncIterator[SttEvent]:
        return aiter(self._events)

    def close(self) -> None:
        self._events.close()

    def _plan(self, outgoing: list[tuple[float, dict[str, Any] | None]]) -> None:
        for after_ms, message in outgoing:
            if message is not None:
                self._loop.call_later(after_ms / 1000, self._receive, message)

    def _receive(self, message: dict[str, Any]) -> None:
        self._spoil(message)
        self._apply(self._core.receive(json.dumps(message), self._loop.time()))

    def _apply(self, effects: Any) -> None:
        effect: Effect
        for effect in effects:
            if isinstance(effect, str):
                self._plan(self._vendor.command(json.loads(effect)["type"]))
            else:
                assert self._events.add(effect)
