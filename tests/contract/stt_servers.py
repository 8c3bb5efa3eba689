"""Every ear for rent and its stand-in: one line each in `LABS`, and test_stt_vendors.py tries it with every fault."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from common.audio import g711
from simulators.loopback_server import LoopbackServer
from simulators.providers.deepgram import DeepgramStandin
from simulators.providers.faults import Faults, Kind
from tests.deadlines import WAIT_S
from workers.providers.interfaces import SpeechToText, SttStream
from workers.stt.engines.deepgram_account import DeepgramAccount
from workers.stt.engines.deepgram_flux import DeepgramFlux, FluxOptions
from workers.stt.engines.deepgram_nova import DeepgramNova
from workers.stt.stream.stt_core import SttStreamOptions

KEY = "fake-key-not-to-be-seen"
PATIENT: dict[str, float] = {
    **dict.fromkeys(("connect_s", "mute_s", "pong_s", "unresponsive_s", "final_s", "grace_s"), WAIT_S),
    "keepalive_s": 0.1,
}
BRIEF: dict[str, float] = {
    "connect_s": WAIT_S,
    "mute_s": 0.8,
    "pong_s": 0.8,
    "unresponsive_s": 0.8,
    "final_s": 0.5,
    "grace_s": 0.3,
    "keepalive_s": 0.1,
}
"""For tests that wait until a deadline passes; see tests/deadlines.py."""
BURST_MS = 60
STEP_S = 0.01
"""A caller speaks on at six times the pace of time."""
LOUD = b"\x10\x90" * (g711.FRAME_BYTES // 2)
QUIET = g711.SILENCE * g711.FRAME_BYTES


class EarStandin(Protocol):
    """What the tests ask of a stand-in."""

    faults: Faults
    open: int
    """Sockets that are open."""

    @property
    def routes(self) -> Sequence[BaseRoute]: ...


@dataclass(frozen=True, slots=True)
class Lab:
    """One vendor's way to listen.  The stand-in is built with short latencies."""

    standin: Callable[[Sequence[str]], Any]
    """(script) -> `EarStandin` that wants `KEY`."""
    ears: Callable[[str, str, Mapping[str, float]], SpeechToText]
    """(URL, key, deadlines) -> the adapter."""
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
    return DeepgramStandin(script, key=KEY, idle_ms=1_000, **quick, **pace)


def _nova(seconds: Mapping[str, float]) -> SttStreamOptions:
    return SttStreamOptions(**seconds)  # type: ignore[arg-type]


def _flux(seconds: Mapping[str, float]) -> FluxOptions:
    return FluxOptions(**seconds)  # type: ignore[arg-type]


LABS: dict[str, Lab] = {
    "deepgram-nova": Lab(_deepgram, lambda url, key, s: DeepgramNova("nova-3", DeepgramAccount(key, url), _nova(s))),
    "deepgram-flux": Lab(
        _deepgram, lambda url, key, s: DeepgramFlux("flux-general-en", DeepgramAccount(key, url), _flux(s))
    ),
    "deepgram-flux-before-2026-07": Lab(
        lambda script: _deepgram(script, word_times=False),
        lambda url, key, s: DeepgramFlux("flux-general-en", DeepgramAccount(key, url), _flux(s)),
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
        async with asyncio.timeout(WAIT_S):
            while self.standin.open:
                await asyncio.sleep(STEP_S)


@contextlib.asynccontextmanager
async def opened(lab: Lab, *script: str, deadlines: Mapping[str, float] = PATIENT) -> AsyncIterator[Opened]:
    """`script` is what the vendor will understand.  On leaving no socket may be open and no task of ours left."""
    standin = lab.standin(script)
    async with LoopbackServer(Starlette(routes=list(standin.routes)), ws="websockets-sansio") as server:
        ears = lab.ears(server.url, KEY, deadlines)
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
