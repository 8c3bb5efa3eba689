"""Makes one OpenTelemetry trace per turn, across the processes (docs/traces.md).  Ids and times; no I/O.

    turn ─┬─ endpoint, transcript                            by the STT worker
          ├─ model (a request), first_token, first_clause    by the LLM worker
          ├─ voice (a request), first_audio                  by the TTS worker
          └─ first_frame, playing                            by the edge, and the turn itself

No message carries a context.  Every process knows the call and the number of the caller's utterance, and these *are*
the context: the ids of the trace and of its root are derived from them (docs/adr/0007-traces.md).  So a member that
takes a call over continues the same trace, and a process that does not trace breaks none.

Nothing is recorded before `begin` sets a sink.  A span never has a text or a phone number of a caller.
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
"""The root of a trace, from the caller's last word to the end of the reply."""

Value = str | int


@dataclass(frozen=True, slots=True)
class TurnTrace:
    """The subject of a trace: an utterance of the caller (0: the greeting) and the reply (0: not known yet)."""

    call_id: str
    utterance: int
    reply: int = 0

    @property
    def trace_id(self) -> int:
        """The id of the trace, 128 bits, the same in every process."""
        return _hashed(f"trace {self.utterance} {self.call_id}", 16)

    @property
    def root_id(self) -> int:
        """The span id of the turn, 64 bits, the parent of all other spans."""
        return _hashed(f"root {self.utterance} {self.call_id}", 8)


@dataclass(frozen=True, slots=True)
class Span:
    """A stage that took time, in Unix ms; it never ends before it begins."""

    turn: TurnTrace
    name: str
    begun_ms: int
    done_ms: int
    attributes: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Collector:
    """The receiver of the spans, by OTLP over HTTP; an empty `endpoint` means none."""

    endpoint: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    share: float = 1.0
    """Share of the turns, chosen by their trace id, so that all processes choose the same."""


_sink: Callable[[Span], None] | None = None
_turn: ContextVar[TurnTrace | None] = ContextVar("turn", default=None)


def begin(sink: Callable[[Span], None] | None) -> None:
    """Send this process's spans to `sink` from now on; None: nowhere."""
    global _sink
    _sink = sink


def exporting(collector: Collector, node: str) -> AbstractContextManager[None]:
    """Send this process's spans to the collector while the block runs.  `node` is its name (common/process/node.py)."""
    if not collector.endpoint:
        return nullcontext()
    try:
        from common.telemetry import otlp
    except ImportError as error:
        log.warning("there are no traces: %s is not installed, the extra `traces` has it", error.name)
        return nullcontext()
    return otlp.exporting(collector, node)


def about(turn: TurnTrace) -> None:
    """Set the turn of the current task and of tasks that it starts; `stage` uses it."""
    _turn.set(turn)


def stage(name: str, begun_ms: int, done_ms: int, *, turn: TurnTrace | None = None, **attributes: Value) -> None:
    """Record a stage of a turn.  Without `turn` it is the current task's; without that, nothing is recorded."""
    if _sink is None or (turn := turn or _turn.get()) is None:
        return
    _sink(Span(turn, name, begun_ms, max(begun_ms, done_ms), attributes))


def _hashed(text: str, size: int) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:size]) or 1  # 0 is no id
