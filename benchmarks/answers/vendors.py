"""Runs the scripted vendors in a separate process and records when they reported speech.

The caller of a recogniser's socket is identified by the audio (`caller_number`), so that the server under test needs no
support for the benchmark.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import defaultdict
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.answers.caller import caller_number
from benchmarks.answers.cores import pin
from benchmarks.answers.plan import ANSWER, SAID, Pace
from benchmarks.children import receive
from benchmarks.hops import Metronome
from common.process.node import run_process
from simulators.loopback_server import LoopbackServer
from simulators.providers.bad_minutes import App, Receive, Scope, Send
from simulators.providers.cast import Cast, CastPace, CastScript
from simulators.providers.openai_chat import Answer
from simulators.providers.voices import VoicePace

LISTEN = ("/v1/listen", "/v2/listen")
DETECTION_EVENTS = ('"SpeechStarted"', '"StartOfTurn"')
BEAT_NS = 10_000_000
RUN_SECONDS_MAX = 1_000.0


@dataclass(frozen=True, slots=True)
class VendorPlan:
    """Latencies, the core to run on (None: any), and the certificate and key to serve by TLS with."""

    pace: Pace
    core: int | None
    pem: Path | None = None


@dataclass(slots=True)
class VendorResult:
    """`detections`: when each caller's speech was reported, by caller number.  `lateness` of the event loop.  In ns.

    `tokens`: when each piece of the model's answers was sent.
    """

    detections: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    lateness: array[int] = field(default_factory=lambda: array("q"))
    tokens: array[int] = field(default_factory=lambda: array("q"))
    cpu_s: float = 0.0


class TokenRecorder:
    """An ASGI application around the model's stand-in that records when it sent each token."""

    def __init__(self, app: App, sent: array[int]) -> None:
        self._app = app
        self._sent = sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def recording_send(message: MutableMapping[str, Any]) -> None:
            body = message.get("body") or b""
            if b'"content": "' in body and b'"content": ""' not in body:
                self._sent.append(time.monotonic_ns())
            await send(message)

        await self._app(scope, receive, recording_send)


class DetectionRecorder:
    """An ASGI application around the stand-ins that records when each caller's speech is reported."""

    def __init__(self, app: App, result: VendorResult) -> None:
        self._app = app
        self._result = result

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket" or scope["path"] not in LISTEN:
            await self._app(scope, receive, send)
            return
        number = -1
        early: list[int] = []

        async def recording_receive() -> MutableMapping[str, Any]:
            nonlocal number
            message = await receive()
            if number < 0 and (audio := message.get("bytes")):
                number = caller_number(audio)
                if number >= 0:
                    self._result.detections[number].extend(early)
            return message

        async def recording_send(message: MutableMapping[str, Any]) -> None:
            text = message.get("text") or ""
            if any(word in text for word in DETECTION_EVENTS):
                (early if number < 0 else self._result.detections[number]).append(time.monotonic_ns())
            await send(message)

        await self._app(scope, recording_receive, recording_send)


def vendors_main(plan: VendorPlan, pipe: Connection) -> None:
    """Serve and send the URL; record the lateness between two messages on the pipe; send the result."""
    pin(plan.core)
    run_process(_serve(plan, pipe))


async def _serve(plan: VendorPlan, pipe: Connection) -> None:
    result = VendorResult()
    pace = plan.pace
    cast = Cast(
        CastScript((SAID,), (Answer(ANSWER),)),
        CastPace(
            pace.final_ms,
            pace.chat,
            VoicePace(pace.first_byte_ms, pace.voice_s_per_s),
            interim_ms=pace.interim_ms,
            word_ms=pace.word_ms,
        ),
    )
    cast.wrap("deepgram", DetectionRecorder(cast.app("deepgram"), result))
    cast.wrap("openai", TokenRecorder(cast.app("openai"), result.tokens))
    async with LoopbackServer(cast, ws="websockets-sansio", pem=plan.pem) as server:
        pipe.send(server.url)
        start_ns = await asyncio.to_thread(receive, pipe, RUN_SECONDS_MAX)
        before = time.process_time()
        Metronome(lambda due: result.lateness.append(time.monotonic_ns() - due), start_ns, BEAT_NS, 2**63 - 1)
        await asyncio.to_thread(receive, pipe, RUN_SECONDS_MAX)
        result.cpu_s = time.process_time() - before
        result.detections = dict(result.detections)
        pipe.send(result)
