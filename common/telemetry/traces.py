"""One OpenTelemetry trace per turn, across the processes (docs/traces.md).  Ids and times; no I/O.

    turn ─┬─ endpoint, transcript                  by the ears
          ├─ model (a request), first_token, first_clause   by the mind
          ├─ voice (a request), first_audio        by the mouth
          └─ first_frame, playing                  by the edge, and the turn itself

No message carries a context.  Every process knows the call and the number of the caller's utterance, and those *are*
the context: the ids of the trace and of its root are made from them (docs/adr/0007-traces.md).  So a member that
takes a call over goes on with the same trace, and a process that is off breaks none.

Nothing is recorded unless `begin` was told where to.  A span never holds a text or a number of a caller.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import sha256

log = logging.getLogger(__name__)

TURN = "turn"
"""The root of a trace, from the caller's last word to the end of the answer."""

Value = str | int


@dataclass(frozen=True, slots=True)
class TurnTrace:
    """What a trace is about: an utterance of the caller (0: the greeting) and the reply to it (0: not known yet)."""

    call_id: str
    utterance: int
    reply: int = 0

    @property
    def trace_id(self) -> int:
        """128 bits, the same in every process."""
        return _hashed(f"trace {self.utterance} {self.call_id}", 16)

    @property
    def root_id(self) -> int:
        """64 bits: the span id of the turn, parent of all other spans."""
        return _hashed(f"root {self.utterance} {self.call_id}", 8)


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time; wall clock ms.  It never ends before it begins."""

    turn: TurnTrace
    name: str
    begun_ms: int
    done_ms: int
    attributes: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Collector:
    """Who gets the spans, by OTLP over HTTP; an empty `endpoint` is nobody."""

    endpoint: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    share: float = 1.0
    """Of the turns, chosen by their trace id: all processes choose the same."""


_sink: Callable[[Span], None] | None = None
_turn: ContextVar[TurnTrace | None] = ContextVar("turn", default=None)


def begin(sink: Callable[[Span], None] | None) -> None:
    """Where this process's spans go from now on; None: nowhere."""
    global _sink
    _sink = sink


def exporting(collector: Collector, node: str) -> AbstractContextManager[None]:
    """While the block runs, this process's spans go to the collector.  `node` is its name (common/process/node.py)."""
    if not collector.endpoint:
        return nullcontext()
    try:
        from common.telemetry import otlp
    except ImportError as error:
        log.warning("there are no traces: %s is not installed, the extra `traces` has it", error.name)
        return nullcontext()
    return otlp.exporting(collector, node)


def about(turn: TurnTrace) -> None:
    """What the current task and those that it starts are working on: `stage` takes it from here."""
    _turn.set(turn)


def stage(name: str, begun_ms: int, done_ms: int, *, turn: TurnTrace | None = None, **attributes: Value) -> None:
    """A part of a turn took this long.  `turn` is the current task's unless it is given; without one it is nothing."""
    if _sink is None or (turn := turn or _turn.get()) is None:
        return
    _sink(Span(turn, name, begun_ms, max(begun_ms, done_ms), attributes))


def _hashed(text: str, size: int) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:size]) or 1  # 0 is no id
