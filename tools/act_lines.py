"""Tells in one line each what an agent does beside speaking: tools, transfers, keys, hand-offs.  Pure.

Arguments, results and digits are personal data.  They are told only with `details`, for a call that is a demonstration.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from common.call.acts import ToolOutcome, TransferState
from common.protocol.acts import AgentChanged, KeysEntered, ToolReturned, ToolsCalled, TransferUpdated
from common.protocol.messages import Message

HAVE_OWN_LINES = frozenset({"transfer_call", "transfer_to", "collect_digits"})
"""Built-in tools of which a line of their own tells what came of them."""
DETAIL_CHARS_MAX = 300
"""Longest part of arguments or of a result that is told."""


@dataclass(slots=True)
class ActLines:
    """The lines of one call; pass `receive` the call's events in order."""

    details: bool = False
    transfer: str = ""
    """The state of the newest transfer, a value of `TransferState`; empty: there was none."""
    _called: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)
    _returned: set[tuple[int, int]] = field(default_factory=set)
    _entries: int = 0

    @property
    def is_away(self) -> bool:
        """Whether the caller is with a person, or on the way to one or back, so that the call is not over."""
        return self.transfer not in ("", TransferState.OVER)

    def receive(self, message: Message) -> list[str]:
        """Return the lines of an event; a repeated event has none."""
        match message:
            case ToolsCalled():
                return self._calls(message)
            case ToolReturned():
                return self._result(message)
            case TransferUpdated(state=state) if state != self.transfer:
                self.transfer = state
                return [_line("transfer", state)]
            case KeysEntered(entry, keys, count) if entry > self._entries:
                self._entries = entry
                return [_line("keys", keys if self.details and keys else f"{count} entered")]
            case AgentChanged(_, name):
                return [_line("hand-off", f"to {name}")]
            case _:
                return []

    def _calls(self, message: ToolsCalled) -> list[str]:
        new = {
            (message.turn, n): (name, arguments)
            for n, (_, name, arguments) in enumerate(message.calls, message.first)
            if (message.turn, n) not in self._called
        }
        self._called |= new
        return [_line("tool", f"{name} {_short(arguments)}") for name, arguments in new.values() if self.details]

    def _result(self, message: ToolReturned) -> list[str]:
        call = (message.turn, message.n)
        name, _ = self._called.get(call, ("", ""))
        if not name or call in self._returned:
            return []
        self._returned.add(call)
        outcome = ToolOutcome.of(message.outcome)
        if name in HAVE_OWN_LINES and (outcome is not ToolOutcome.REFUSED) and not self.details:
            return []
        summary = f"{name} {message.took_ms / 1000:.1f} s {outcome}"
        return [_line("tool", f"{summary}: {_short(message.result)}" if self.details else summary)]


def _line(kind: str, text: str) -> str:
    return f"{kind:<11} {text}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= DETAIL_CHARS_MAX else f"{text[:DETAIL_CHARS_MAX]} …"
