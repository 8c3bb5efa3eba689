"""Prints the calls of a running stack turn by turn on its terminal, in the format of the demo.

Transcripts are personal data: they are printed on the terminal only and never logged.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from common.bus import START, Bus
from common.bus.redis import BusOptions
from common.bus.shards import connect_bus
from common.call.transcript import CallTranscript, TranscriptTurn
from common.protocol.messages import CallEnded, Message
from common.protocol.redis_keys import call_events
from common.store import CallRecord, CallStore
from common.store.shards import connect_store
from edge.vobiz.hangup_causes import named_cause
from tools.terminal import paint, say
from tools.turn_lines import print_live

LOOK_SECONDS = 0.5
CALLS_MAX = 20
"""A person cannot follow more calls than this at once."""
RETENTION_S = 60


@dataclass(slots=True)
class LiveCall:
    """The turns of one call that were already printed.  Pure: messages in, turns out."""

    transcript: CallTranscript = field(default_factory=CallTranscript)
    after: str = START
    printed: set[int] = field(default_factory=set)

    def receive(self, message: Message) -> list[TranscriptTurn]:
        """Return the turns that are complete now: heard to their end, interrupted, or followed by another turn."""
        self.transcript.receive(message)
        over = isinstance(message, CallEnded)
        exchanges = self.transcript.exchanges
        done = []
        for position, exchange in enumerate(exchanges):
            later = any(other.understood for other in exchanges[position + 1 :])
            spoken = exchange.understood or exchange.answered
            if spoken and exchange.utterance not in self.printed and (later or over or _complete(exchange)):
                done.append(exchange)
                self.printed.add(exchange.utterance)
        return done


def _complete(exchange: TranscriptTurn) -> bool:
    reply = exchange.reply
    return reply is not None and reply.closed


async def print_calls(redis_url: str, ours: Callable[[CallRecord], bool]) -> None:
    """Print every call for which `ours` is true, until the task is cancelled; if Redis is away, wait for it."""
    options = BusOptions(redis_url, "terminal")
    async with connect_bus(options) as bus, connect_store(redis_url, "terminal", RETENTION_S) as store:
        calls: dict[str, LiveCall | None] = {}
        while True:
            with contextlib.suppress(ConnectionError, TimeoutError):
                await look(bus, store, calls, ours)
            await asyncio.sleep(LOOK_SECONDS)


async def look(
    bus: Bus, store: CallStore, calls: dict[str, LiveCall | None], ours: Callable[[CallRecord], bool]
) -> None:
    """Print the new turns of every call; `calls` holds what was printed and is empty at first."""
    live = await store.live()
    for call_id in live:
        if call_id in calls or sum(call is not None for call in calls.values()) >= CALLS_MAX:
            continue
        record = await store.read(call_id)
        if record is None or record.status != "live":
            continue
        calls[call_id] = LiveCall() if ours(record) else None
        if calls[call_id] is not None:
            say(paint("bold", f"{record.direction} call, answered by {record.agent.get('name', '')}"))
    for call_id, call in list(calls.items()):
        over = call_id not in live
        if call is not None:
            for entry, message in await bus.read(call_events(call_id), call.after):
                call.after = entry
                for exchange in call.receive(message):
                    print_live(exchange)
            if over:
                await _print_end(store, call_id)
        if over:
            del calls[call_id]


async def _print_end(store: CallStore, call_id: str) -> None:
    """Print the reason for the end of a call, and the carrier's cause if its webhook arrives in time."""
    record = await store.read(call_id)
    facts = await store.webhook_fields(call_id)
    codes = [value for name, value in facts.items() if name.endswith((".HangupCauseCode", ".HangupCause"))]
    cause = f"; the carrier's cause: {named_cause(max(codes, key=str.isdigit))}" if codes else ""
    say(paint("bold", f"the call has ended: {record.ended_because if record else ''}{cause}"))
