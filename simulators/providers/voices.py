"""Synthesizes tones for the text-to-speech stand-ins and sends HTTP bodies with the faults of faults.py.

A tone lasts `MS_PER_CHAR` for each character; its pitch identifies the text.
"""

from __future__ import annotations

import asyncio
import math
import zlib
from array import array
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from simulators.providers.faults import SLOW_S, Fault
from simulators.sound import to_mulaw

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

MS_PER_CHAR = 66
PERIOD_MS = 20
"""A whole number of periods of every pitch fits into it."""
PITCHES_HZ = tuple(range(400, 1200, 50))
AMPLITUDE = 8000


def length_ms(text: str) -> int:
    return MS_PER_CHAR * len(text)


def pitch_hz(text: str) -> int:
    return PITCHES_HZ[zlib.crc32(text.encode()) % len(PITCHES_HZ)]


@cache
def _period(pitch: int, rate_hz: int) -> array[int]:
    count = rate_hz * PERIOD_MS // 1000
    return array("h", [round(AMPLITUDE * math.sin(2 * math.pi * pitch * n / rate_hz)) for n in range(count)])


@cache
def _mulaw_period(pitch: int, rate_hz: int) -> bytes:
    return to_mulaw(_period(pitch, rate_hz))


def mulaw(text: str, rate_hz: int = 8000) -> bytes:
    """Return the text's tone in mu-law."""
    size = length_ms(text) * rate_hz // 1000
    period = _mulaw_period(pitch_hz(text), rate_hz)
    return (period * (size // len(period) + 1))[:size]


def pcm(text: str, rate_hz: int) -> bytes:
    """Return the text's tone in 16-bit little-endian samples."""
    size = length_ms(text) * rate_hz // 1000 * 2
    period = _period(pitch_hz(text), rate_hz).tobytes()
    return (period * (size // len(period) + 1))[:size]


def pieces(audio: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(audio), size):
        yield audio[at : at + size]


@dataclass(frozen=True, slots=True)
class VoicePace:
    """Time from the text to the first audio, and time to synthesize a second of audio (0: none)."""

    first_ms: float = 0.0
    s_per_s: float = 0.0


@dataclass(slots=True)
class Speaking:
    """Counts of a stand-in's present and past requests."""

    now: int = 0
    most: int = 0
    whole: int = 0
    cut: int = 0
    """Requests that the client or a fault broke off."""

    def begin(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def end(self, whole: bool) -> None:
        self.now -= 1
        self.whole += whole
        self.cut += not whole


class VoiceBody:
    """An HTTP reply of audio, as an ASGI application.  It ends when the client disconnects."""

    def __init__(
        self, chunks: list[bytes], chunk_ms: float, media: str, pace: VoicePace, fault: Fault | None, count: Speaking
    ) -> None:
        self._chunks = chunks
        self._chunk_s = chunk_ms / 1000 * pace.s_per_s
        self._media = media
        self._first_s = pace.first_ms / 1000
        self._fault = fault
        self._count = count

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self._count.begin()
        speaking = asyncio.create_task(self._speak(send), name="a voice")
        gone = asyncio.create_task(_gone(receive), name="until the client has gone")
        try:
            await asyncio.wait({speaking, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (speaking, gone):
                task.cancel()
            await asyncio.wait({speaking, gone})
            whole = not speaking.cancelled() and speaking.exception() is None
            self._count.end(whole)
        if not whole and not speaking.cancelled():
            raise ConnectionResetError("the scripted end of a connection")

    async def _speak(self, send: Send) -> None:
        now = asyncio.get_running_loop().time
        await asyncio.sleep(self._first_s)
        kind = self._fault.kind if self._fault else ""
        media = "text/html" if kind == "malformed" else self._media
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", media.encode())]})
        began = now()
        for number, chunk in enumerate(self._chunks):
            if self._fault is not None and number >= self._fault.after:
                await _suffer(kind)
            await asyncio.sleep(max(0.0, began + number * self._chunk_s - now()))
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if kind == "no final":
            await _suffer("stall")
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass  # the body of the request


async def _suffer(kind: str) -> None:
    if kind == "close":
        raise ConnectionResetError
    if kind in ("stall", "half-dead"):
        with suppress(TimeoutError):
            await asyncio.Event().wait()
    if kind == "slow":
        await asyncio.sleep(SLOW_S)
