"""What waits to be written to Redis: in order, and bounded for each call, so that none can crowd out another.

While Redis answers, messages stay here for a millisecond or two.  While it is away they pile up: of a caller's audio
the newest 5 s are kept (older words are too late for an answer), of everything else of a call so much that only a
fault can exceed it.  What goes is the oldest, and is counted.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable
from typing import NamedTuple

from common.telemetry import metrics

AUDIO_IN_MAX = 250
"""Frames of one caller that wait: 5 s."""
OTHERS_MAX = 3000
"""Everything else of one call that waits.  An entry of the agent's audio has ten frames: this is beyond the minute
that a mouth may be ahead (workers/tts/session.py); of events it is hours."""
ENTRIES_MAX = 100_000
"""What waits in one process altogether: 5 s of 400 callers."""


class OutboxEntry(NamedTuple):
    """One packed command.  `owner` is the call that it is about; `is_caller_audio` chooses its bound."""

    packed: bytes
    owner: str
    is_caller_audio: bool = False


class Outbox:
    """`add` what is to be written, `take` it all when it can be, `put_back` what was taken and not acknowledged."""

    def __init__(self) -> None:
        self._entries: OrderedDict[int, OutboxEntry] = OrderedDict()
        self._queues: defaultdict[tuple[str, bool], deque[int]] = defaultdict(deque)
        self._next = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: OutboxEntry) -> None:
        """Append; beyond a bound the oldest of its kind goes."""
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
        """Everything, in order; the outbox is empty then."""
        entries = list(self._entries.values())
        self._entries.clear()
        self._queues.clear()
        return entries

    def put_back(self, entries: Iterable[OutboxEntry]) -> None:
        """These were taken before what is here now: they come first again, within the same bounds."""
        later = self.take()
        for entry in (*entries, *later):
            self.add(entry)
