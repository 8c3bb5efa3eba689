"""Prints the calls of a running stack turn by turn on its terminal, in the format of the demo.

Tools, transfers, keys and hand-offs are printed as they happen.  Transcripts are personal data: they are printed on the
terminal only and never logged.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from common.bus import START, Bus
from common.bus.redis import BusOptions
from common.bus.shards import connect_bus
from common.call.acts import TransferState
from common.call.transcript import CallTranscript, TranscriptTurn
from common.protocol.acts import ToolsCalled
from common.protocol.messages import CallEnded, Message
from common.protocol.redis_keys import call_events
from common.store import CallRecord, CallStore
from common.store.shards import connect_store
from edge.vobiz.hangup_causes import named_cause
from tools.act_lines import ActLines
from tools.terminal import paint, say
from tools.turn_lines import print_live, print_words

LOOK_SECONDS = 0.5
CALLS_MAX = 20
"""A person cannot follow more calls than this at once."""
RETENTION_S = 60
LOOKS_AWAY_MAX = 8 * 3_600
"""A call that was transferred is looked at for so long: 4 hours, the longest call there is."""
LOOKS_BACK_MAX = 20
"""Likewise a call whose transfer failed: the caller comes back within seconds, or has hung up."""


@dataclass(slots=True)
class LiveCall:
    """The turns of one call that were already printed.  Pure: messages in, turns and lines out."""

    transcript: CallTranscript = field(default_factory=CallTranscript)
    after: str = START
    acts: ActLines = field(default_factory=ActLines)
    looks_away: int = 0
    """How often the call was looked for, and was not live, since its transfer began."""
    printed: set[int] = field(default_factory=set)
    """The turns, by `id`: the transcript keeps each in one object."""
    worded: set[int] = field(default_factory=set)
    """Turns of which the caller's words were printed before the agent's."""

    def receive(self, message: Message) -> list[TranscriptTurn]:
        """Return the turns that are complete now: heard to their end, interrupted, or followed by another turn."""
        self.transcript.receive(message)
        over = isinstance(message, CallEnded)
        exchanges = self.transcript.exchanges
        done = []
        for position, exchange in enumerate(exchanges):
            later = any(other.understood for other in exchanges[position + 1 :])
            spoken = exchange.understood or exchange.answered
            if spoken and id(exchange) not in self.printed and (later or over or _complete(exchange)):
                done.append(exchange)
                self.printed.add(id(exchange))
        return done

    def asked(self, message: Message) -> TranscriptTurn | None:
        """Return the turn whose reply calls tools by this event, if the caller's words were not printed yet."""
        if not isinstance(message, ToolsCalled):
            return None
        for exchange in self.transcript.exchanges:
            new = id(exchange) not in self.printed | self.worded
            if new and exchange.understood and exchange.reply is not None and exchange.reply.turn == message.turn:
                self.worded.add(id(exchange))
                return exchange
        return None

    def is_back(self) -> None:
        """Take note that the call is live: one whose transfer has failed is with the agent again."""
        self.looks_away = 0
        if self.acts.transfer == TransferState.FAILED:
            self.acts.transfer = TransferState.OVER

    def is_away(self) -> bool:
        """Whether a call that is not live may come back from a transfer; counts how often it is asked."""
        self.looks_away += 1
        looks_max = LOOKS_BACK_MAX if self.acts.transfer == TransferState.FAILED else LOOKS_AWAY_MAX
        return self.acts.is_away and self.looks_away < looks_max


def _complete(exchange: TranscriptTurn) -> bool:
    reply = exchange.reply
    return reply is not None and reply.closed


async def print_calls(redis_url: str, ours: Callable[[CallRecord], bool], *, details: bool = False) -> None:
    """Print every call for which `ours` is true, until the task is cancelled; if Redis is away, wait for it.

    `details`: also the arguments and results of tools.
    """
    options = BusOptions(redis_url, "terminal")
    async with connect_bus(options) as bus, connect_store(redis_url, "terminal", RETENTION_S) as store:
        calls: dict[str, LiveCall | None] = {}
        while True:
            with contextlib.suppress(ConnectionError, TimeoutError):
                await look(bus, store, calls, ours, details=details)
            await asyncio.sleep(LOOK_SECONDS)


async def look(
    bus: Bus,
    store: CallStore,
    calls: dict[str, LiveCall | None],
    ours: Callable[[CallRecord], bool],
    *,
    details: bool = False,
) -> None:
    """Print what is new of every call; `calls` holds what was printed and is empty at first."""
    live = await store.live()
    for call_id in live:
        if call_id in calls or sum(call is not None for call in calls.values()) >= CALLS_MAX:
            continue
        record = await store.read(call_id)
        if record is None or record.status != "live":
            continue
        calls[call_id] = LiveCall(acts=ActLines(details)) if ours(record) else None
        if calls[call_id] is not None:
            say(paint("bold", f"{record.direction} call, answered by {record.agent.get('name', '')}"))
    for call_id, call in list(calls.items()):
        over = call_id not in live
        if call is not None:
            for entry, message in await bus.read(call_events(call_id), call.after):
                call.after = entry
                _print_event(call, message)
            if not over:
                call.is_back()
            elif call.is_away():
                continue
            else:
                await _print_end(store, call_id)
        if over:
            del calls[call_id]


def _print_event(call: LiveCall, message: Message) -> None:
    for exchange in call.receive(message):
        print_live(exchange, words=id(exchange) not in call.worded)
    if (asked := call.asked(message)) is not None:
        say()
        print_words(asked)
    for line in call.acts.receive(message):
        say(paint("warn", line))


async def _print_end(store: CallStore, call_id: str) -> None:
    """Print the reason for the end of a call, and the carrier's cause if its webhook arrives in time."""
    record = await store.read(call_id)
    facts = await store.webhook_fields(call_id)
    codes = [value for name, value in facts.items() if name.endswith((".HangupCauseCode", ".HangupCause"))]
    cause = f"; the carrier's cause: {named_cause(max(codes, key=str.isdigit))}" if codes else ""
    say(paint("bold", f"the call has ended: {record.ended_because if record else ''}{cause}"))
