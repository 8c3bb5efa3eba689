"""Holds the entries that wait to be written to Redis, in order and bounded for each call.

The bound keeps one call from crowding out another.  While Redis answers, entries wait for one or two milliseconds.
While it is away they pile up: of a caller's audio the newest 5 s are kept, because older words are too late for an
answer; the bound of everything else is so high that only a fault exceeds it.  The oldest is dropped, and counted.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable
from typing import NamedTuple

from common.telemetry import metrics

AUDIO_IN_MAX = 250
"""Most waiting frames of one caller: 5 s."""
OTHERS_MAX = 3000
"""Most other waiting entries of one call.  An entry of the agent's audio has ten frames, so this exceeds the minute of
audio that a TTS worker may be ahead (workers/tts/session.py); of events it is hours."""
ENTRIES_MAX = 100_000
"""Most waiting entries of one process: 5 s of 400 callers."""


class OutboxEntry(NamedTuple):
    """One packed command.  `owner` is the call that it is about; `is_caller_audio` selects the bound."""

    packed: bytes
    owner: str
    is_caller_audio: bool = False


class Outbox:
    """A bounded queue: `add` an entry, `take` them all to send them, `put_back` those without an acknowledgement."""

    def __init__(self) -> None:
        self._entries: OrderedDict[int, OutboxEntry] = OrderedDict()
        self._queues: defaultdict[tuple[str, bool], deque[int]] = defaultdict(deque)
        self._next = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: OutboxEntry) -> None:
        """Append; beyond a bound the oldest entry of the same kind is dropped and counted."""
        queue = self._queues[entry.owner, entry.is_caller_audio]
        if len(queue) >= (AUDIO_IN_MAX if entry.is_caller_audio else OTHERS_MAX):
            del self._entries[queue.popleft()]
            metrics.BUS_DROPPED.labels("server away").inc()
        elif len(self._entries) >= ENTRIES_MAX:
            number, oldest = self._entries.popitem(last=False)
            gone = self._queues[oldest.owner, oldest.is_caller_audio]
            assert gone[0] == number, "a queue and the order of all disagree"
            gone.popleft()
            metrics.BUS_DROPPED.labels("server away").inc()
        self._entries[self._next] = entry
        queue.append(self._next)
        self._next += 1

    def take(self) -> list[OutboxEntry]:
        """Remove and return all entries, in order."""
        entries = list(self._entries.values())
        self._entries.clear()
        self._queues.clear()
        return entries

    def put_back(self, entries: Iterable[OutboxEntry]) -> None:
        """Put entries that were taken earlier in front of the present ones, within the same bounds."""
        later = self.take()
        for entry in (*entries, *later):
            self.add(entry)
