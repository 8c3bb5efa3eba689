"""Every ear for rent and its stand-in: one line each in `LABS`, and test_stt_vendors.py tries it with every fault."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from common.audio import g711
from simulators.loopback_server import LoopbackServer
from simulators.providers.deepgram import DeepgramStandin
from simulators.providers.faults import Faults, Kind
from workers.providers.interfaces import SpeechToText, SttStream
from workers.stt.engines.deepgram_account import DeepgramAccount
from workers.stt.engines.deepgram_flux import DeepgramFlux, FluxOptions
from workers.stt.engines.deepgram_nova import DeepgramNova
from workers.stt.stream.stt_core import SttStreamOptions

KEY = "fake-key-not-to-be-seen"
QUICK: dict[str, float] = {
    "connect_s": 0.5,
    "mute_s": 0.4,
    "pong_s": 0.4,
    "unresponsive_s": 0.6,
    "final_s": 0.3,
    "grace_s": 0.15,
    "keepalive_s": 0.1,
}
"""Long enough for a busy machine, short enough for many tests."""
BURST_MS = 60
STEP_S = 0.01
"""A caller speaks on at six times the pace of time."""
LOUD = b"\x10\x90" * (g711.FRAME_BYTES // 2)
QUIET = g711.SILENCE * g711.FRAME_BYTES
LEFT_S_MAX = 1.0


class EarStandin(Protocol):
    """What the tests ask of a stand-in."""

    faults: Faults
    open: int
    """Sockets that are open."""

    @property
    def routes(self) -> Sequence[BaseRoute]: ...


@dataclass(frozen=True, slots=True)
class Lab:
    """One vendor's way to listen.  Both are built with short deadlines and latencies."""

    standin: Callable[[Sequence[str]], Any]
    """(script) -> `EarStandin` that wants `KEY`."""
    ears: Callable[[str, str], SpeechToText]
    """(URL, key) -> the adapter."""
    likely: bool = True
    """Does it tell of likely ends?"""
    tolerance_ms: int = 100
    """How well it knows where words begin and end."""
    harmless: frozenset[Kind] = frozenset()
    """Faults after which it hears on."""
    variant: bool = False
    """The same adapter as another lab's: not tried with every fault."""


def _deepgram(script: Sequence[str], **pace: Any) -> DeepgramStandin:
    quick = {"started_after_ms": 5, "interim_after_ms": 5, "final_after_ms": 10, "interim_ms": 250, "unread_ms": 500}
    return DeepgramStandin(script, key=KEY, idle_ms=400, **quick, **pace)


LABS: dict[str, Lab] = {
    "deepgram-nova": Lab(
        _deepgram, lambda url, key: DeepgramNova("nova-3", DeepgramAccount(key, url), SttStreamOptions(**QUICK))
    ),
    "deepgram-flux": Lab(
        _deepgram, lambda url, key: DeepgramFlux("flux-general-en", DeepgramAccount(key, url), FluxOptions(**QUICK))
    ),
    "deepgram-flux-before-2026-07": Lab(
        lambda script: _deepgram(script, word_times=False),
        lambda url, key: DeepgramFlux("flux-general-en", DeepgramAccount(key, url), FluxOptions(**QUICK)),
        tolerance_ms=400,  # no word says when it was
        variant=True,
    ),
}


@dataclass(slots=True)
class Opened:
    """A vendor's stand-in on a loopback port, and our ears for it."""

    lab: Lab
    standin: Any
    url: str
    ears: SpeechToText

    async def left_alone(self) -> None:
        """Wait until every socket is closed."""
        async with asyncio.timeout(LEFT_S_MAX):
            while self.standin.open:
                await asyncio.sleep(STEP_S)


@contextlib.asynccontextmanager
async def opened(lab: Lab, *script: str) -> AsyncIterator[Opened]:
    """`script` is what the vendor will understand.  On leaving no socket may be open and no task of ours left."""
    standin = lab.standin(script)
    async with LoopbackServer(Starlette(routes=list(standin.routes)), ws="websockets-sansio") as server:
        ears = lab.ears(server.url, KEY)
        try:
            yield Opened(lab, standin, server.url, ears)
        finally:
            await ears.aclose()
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("stt stream ")]


def frames(strip: str) -> Iterator[bytes]:
    """Audio in frames of 20 ms: "#" is 100 ms of sound, "." of silence, " " of nothing at all (empty frames)."""
    for sound in strip:
        for _ in range(100 // g711.FRAME_MS):
            yield {"#": LOUD, ".": QUIET, " ": b""}[sound]


def phone(ear: SttStream, strip: str, position_ms: int = 0) -> int:
    """Feed a strip at once, as a replay does; returns the position after it."""
    for frame in frames(strip):
        if frame:
            ear.feed(position_ms, frame)
        position_ms += g711.FRAME_MS
    return position_ms


@contextlib.asynccontextmanager
async def line(ear: SttStream, strip: str, position_ms: int = 0) -> AsyncIterator[None]:
    """Feed a strip at once, and then silence for as long as the context lasts."""

    async def stay() -> None:
        at = phone(ear, strip, position_ms)
        while True:
            await asyncio.sleep(STEP_S)
            for _ in range(BURST_MS // g711.FRAME_MS):
                ear.feed(at, QUIET)
                at += g711.FRAME_MS

    staying = asyncio.create_task(stay(), name="a caller's line")
    try:
        yield
    finally:
        staying.cancel()
        await asyncio.wait([staying])
