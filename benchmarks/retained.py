"""Measures the memory of an ended one-minute call in Redis, before and after the compaction of its event log.

    python -m benchmarks.retained --calls 1000

Each call is written through the store and the bus as by an edge and three workers: the record with the receptionist's
agent, the webhook fields, and a conversation of seven turns with ElevenLabs' character timings.  Then it ends, and the
edge's compaction shortens it.  Bytes are MEMORY USAGE of each key, and the server's `used_memory` for the total.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from benchmarks.redis_server import NoServer, client, redis_server, version
from benchmarks.report import publish, surroundings, table
from common.agents.model import to_document
from common.agents.reading import load_agents
from common.bus import Bus
from common.bus.redis import BusOptions
from common.bus.shards import connect_bus
from common.call.log_compaction import compacted
from common.protocol.messages import (
    CallEnded,
    CallStarted,
    Clause,
    ClausePlayed,
    ClauseSynthesized,
    EagerUserTurn,
    Interrupted,
    Message,
    OwnerChanged,
    PlaybackStarted,
    ReplyEnded,
    ReplyPlayed,
    ReplyReleased,
    ReplyStarted,
    SpeechEnded,
    SpeechStarted,
    UsageReported,
    UserTurn,
)
from common.protocol.redis_keys import POOLS, call_events
from common.store import CallRecord, CallStore
from common.store.shards import connect_store

ROOT = Path(__file__).resolve().parents[1]
RETENTION_S = 86_400
NOW_MS = 1_700_000_000_000
STAMPS = tuple(NOW_MS + 137 * stage for stage in range(7))
ASKED = (
    "hello are you open on saturday",
    "and what does a cleaning cost",
    "can i come tomorrow at three in the afternoon",
    "my name is asha and it is for my son",
    "no he has never been with you before",
    "thank you that is all",
)
ANSWERED = (
    ("Yes, on Saturday we are open from ten to two.", "Would you like an appointment?"),
    ("A cleaning costs twelve hundred rupees.", "The dentist prices everything else after a check-up."),
    ("Tomorrow at three in the afternoon is free.", "What is your name, please?"),
    ("Thank you, Asha.", "Has your son been with us before?"),
    ("Then please come ten minutes early, for the form.", "Can I help you with anything else?"),
    ("You are welcome.", "Goodbye, and see you tomorrow."),
)
FACTS = {
    "StartApp": ("From", "To", "Direction", "CallStatus", "CallUUID", "ParentAuthID", "SessionStart", "RequestUUID"),
    "StartStream": ("StreamID", "From", "To", "CallUUID", "ServiceURL"),
    "Hangup": ("From", "To", "HangupCause", "HangupCauseCode", "HangupSource", "Duration", "BillDuration", "StartTime",
               "AnswerTime", "EndTime", "BillRate", "TotalCost", "CallUUID", "Direction", "CallStatus"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes of one call: by kind of key, and as the growth of the whole server."""

    keys: Counter[str]
    entries: float
    server: float


def conversation(call_id: str) -> list[Message]:
    """Return the messages of a one-minute call."""
    messages: list[Message] = [CallStarted(1, "edge-voice-7d9f-0a1b2c3d", NOW_MS)]
    messages += [OwnerChanged(pool, 1, f"{pool}-voice-7d9f-0a1b2c3d", NOW_MS) for pool in POOLS]
    messages += _reply(1, 0, ("Hello, this is Sunrise Dental Clinic.", "How can I help you?"), call_id)
    for number, (asked, answered) in enumerate(zip(ASKED, ANSWERED, strict=True), start=1):
        messages.append(SpeechStarted(call_id, 1, number, 8000 * number, NOW_MS))
        if number == 4:
            messages.append(Interrupted(number, 1, 700, 0))
        messages += [
            SpeechEnded(call_id, 1, number, 8000 * number + 2100),
            EagerUserTurn(number, asked, STAMPS[:3]),
            UserTurn(number, asked, STAMPS[:3]),
            UsageReported("stt", "deepgram/nova-3", (("audio_ms", 9000),)),
        ]
        messages += _reply(number + 1, number, answered, call_id, asked)
    return [*messages, CallEnded(1, "caller hung up", NOW_MS + 60_000)]


def _reply(turn: int, utterance: int, clauses: tuple[str, ...], call_id: str, asked: str = "") -> list[Message]:
    written: list[Message] = [ReplyStarted(turn, utterance, asked)]
    written += [Clause(turn, at, text, STAMPS[:5] if at == 0 else ()) for at, text in enumerate(clauses)]
    written += [ReplyReleased(call_id, 1, turn, STAMPS[:3])] if asked else []
    written += [ReplyEnded(turn, len(clauses)), PlaybackStarted(turn, NOW_MS, STAMPS)]
    for at, text in enumerate(clauses):
        marks = tuple((char, 64 * char) for char in range(len(text)))
        written += [ClauseSynthesized(turn, at, 64 * len(text), marks, 1), ClausePlayed(turn, at)]
        written += [UsageReported("tts", "elevenlabs/eleven_flash_v2_5", (("characters", len(text)),))]
    tokens = (("tokens_in", 900), ("tokens_cached", 700), ("tokens_out", 30))
    return [*written, UsageReported("llm", "openai/gpt-4o-mini", tokens), ReplyPlayed(turn)]


async def write(numbers: range, bus: Bus, store: CallStore) -> list[str]:
    """Write these calls and end them."""
    agents = load_agents(ROOT / "agents", ())
    document = to_document(next(iter(agents.by_name.values())))
    ids = [f"{number:08x}-0000-4000-8000-000000000000" for number in numbers]
    for call_id in ids:
        await store.create(CallRecord(call_id, document, "911234567890", "911234567891"))
        await store.start(call_id, "edge-voice-7d9f-0a1b2c3d")
        for pool in POOLS:
            claim = await store.claim(pool, call_id, f"{pool}-voice-7d9f-0a1b2c3d")
            assert claim is not None
            if pool == "stt":
                await store.save_checkpoint(claim, '{"utterance": 6, "position_ms": 59000}')
        for message in conversation(call_id):
            bus.publish(call_events(call_id), message)
        for event, names in FACTS.items():
            await store.add_webhook_fields(call_id, {f"{event}.{name}": "2026-01-31 10:00:00+05:30" for name in names})
        await store.end(call_id, "caller hung up")
        await store.note_end(call_id, 1)
    while len(await bus.read(call_events(ids[-1]))) < len(conversation(ids[-1])):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.05)
    await asyncio.sleep(2)  # leases and recorded ends expire
    return ids


def kept(server: redis.Redis, calls: int, empty: int) -> Kept:
    """Measure the present bytes per call."""
    keys: Counter[str] = Counter()
    entries = 0
    for key in server.scan_iter("*", count=1000):
        parts = key.decode().split(":")
        kind = parts[3] if parts[0] == "call" else "indexes"
        keys[kind] += int(server.memory_usage(key, samples=0) or 0)  # type: ignore[arg-type]
        entries += int(server.xlen(key)) if kind == "events" else 0  # type: ignore[arg-type]
    used = int(server.info("memory")["used_memory"]) - empty  # type: ignore[index]
    return Kept(Counter({kind: round(size / calls) for kind, size in keys.items()}), entries / calls, used / calls)


async def run(calls: int, url: str) -> tuple[Kept, Kept]:
    """Write the calls, and measure them before and after the compaction."""
    with client(url) as server:
        async with (
            connect_bus(BusOptions(url, "bench")) as bus,
            connect_store(url, "bench", RETENTION_S) as store,
        ):
            while not bus.connected:  # noqa: ASYNC110 - the bus has no event for it
                await asyncio.sleep(0.01)
            await write(range(1), bus, store)  # connections and scripts belong to no call
            empty = int(server.info("memory")["used_memory"])  # type: ignore[index]
            ids = await write(range(1, calls + 1), bus, store)
            before = await asyncio.to_thread(kept, server, calls, empty)
            for call_id in ids:
                entries = await bus.read(call_events(call_id))
                assert await store.ended_calls.compact(call_id, "receptionist", entries, compacted(entries))
            after = await asyncio.to_thread(kept, server, calls, empty)
    return before, after


def main() -> int:
    """Print the table and write it to out/bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000, help="how many calls to write (%(default)s)")
    calls: int = parser.parse_args().calls
    try:
        with redis_server(aof=False) as url:
            around: dict[str, Any] = surroundings("benchmarks.retained", version(url))
            before, after = asyncio.run(run(calls, url))
    except NoServer as error:
        print(error, file=sys.stderr)
        return 2
    rows = [
        [f"`{kind}`", str(before.keys[kind]), str(after.keys[kind])]
        for kind in sorted(before.keys, key=lambda kind: -before.keys[kind])
    ]
    rows.append(["entries of the event log", f"{before.entries:.0f}", f"{after.entries:.0f}"])
    rows.append(["**the server, per call**", f"**{before.server:.0f}**", f"**{after.server:.0f}**"])
    page = table(["bytes of one ended call", "whole", "shortened"], rows)
    numbers = {"before": before.server, "after": after.server, "calls": calls}
    publish("retained", around, [page], numbers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
