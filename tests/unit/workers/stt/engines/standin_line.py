"""A caller's audio between Nova's core and its stand-in, on a clock of milliseconds: no socket, and no waiting."""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass

from simulators.providers.deepgram_speech import NovaSpeech, Pace
from workers.providers.interfaces import ListenOptions, SttEvent
from workers.stt.engines.deepgram_nova import query
from workers.stt.engines.deepgram_nova_core import NovaCore
from workers.stt.stream.audio_feed import AudioFeed

FRAME_MS = 20
LOUD, QUIET = b"\x10\x90" * 80, b"\xff" * 160
SAID = "I would like to know when you are open."
START_MS = 1_000
"""The caller is silent before."""


@dataclass(frozen=True)
class Heard:
    """An event, and how many ms after the end of the caller's last sound it came."""

    after_ms: int
    event: SttEvent


def played(options: ListenOptions, pace: Pace, *parts_ms: int, noise: bytes = b"", text: str = SAID) -> list[Heard]:
    """All events of a caller who speaks and is silent by turns, for so long each, and then silent for two seconds."""
    frames = [QUIET] * (START_MS // FRAME_MS)
    for number, part_ms in enumerate(parts_ms):
        frames += [(noise or QUIET) if number % 2 else LOUD] * (part_ms // FRAME_MS)
    ended_ms = len(frames) * FRAME_MS
    frames += [QUIET] * 100
    feed = AudioFeed(60_000)
    core = NovaCore("deepgram/nova-3", options, feed, 1_500, 700)
    vendor = NovaSpeech((text,), pace, dict(query("nova-3", options)))
    heard: list[Heard] = []
    due: list[tuple[float, int, str]] = []
    count = 0
    for now_ms in range(len(frames) * FRAME_MS + 1):
        events: list[object] = []
        while due and due[0][0] <= now_ms:
            events += core.receive(heapq.heappop(due)[2], now_ms / 1000)
        if now_ms and now_ms % FRAME_MS == 0:
            frame, position_ms = frames[now_ms // FRAME_MS - 1], now_ms - FRAME_MS
            feed.put(position_ms, frame)
            events += core.feed(position_ms, frame, now_ms / 1000)
            feed.take(len(frame))
            events += core.wake(now_ms / 1000)
            for after_ms, message in vendor.hear(frame):
                count += 1
                heapq.heappush(due, (now_ms + after_ms, count, json.dumps(message)))
        heard += [Heard(now_ms - ended_ms, event) for event in events if not isinstance(event, str)]
    return heard
