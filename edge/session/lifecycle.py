"""The states of one call at its edge.  Pure.

LIVE ──▶ STOPPING ──▶ ENDED           we end it: the carrier is told, and closes the stream
  │  ╲       ▲    ╲
  │   ▶ BROKEN ──▶ ENDED              the connection is gone without word that the call is over: it may come back
  │          ╲
  ▼           ▶ REPLACED              another connection continues the call
HANDED_OVER                           this edge stops, and the carrier connects to another one
"""

from __future__ import annotations

from enum import Enum

from common.call.end_reasons import EndReason


class State(Enum):
    """Where a call stands at its edge."""

    LIVE = "live"
    BROKEN = "broken"
    STOPPING = "stopping"
    ENDED = "ended"
    REPLACED = "replaced"
    HANDED_OVER = "handed over"


OVER = frozenset({State.ENDED, State.REPLACED, State.HANDED_OVER})
"""States that are never left: this edge does nothing more for the call."""
_NEXT: dict[State, frozenset[State]] = {
    State.LIVE: frozenset({State.BROKEN, State.STOPPING}) | OVER,
    State.BROKEN: frozenset({State.STOPPING}) | OVER,
    State.STOPPING: frozenset({State.ENDED, State.REPLACED}),
    **dict.fromkeys(OVER, frozenset[State]()),
}


class Lifecycle:
    """The state of one call; each method returns whether it changed the state."""

    def __init__(self) -> None:
        self.state = State.LIVE
        self.reason = ""
        """Why the call is to end, or has ended (a value of `EndReason`); else empty."""
        self.stopped = False
        """Whether we asked for the end, even if the call is over by now."""
        self.disconnected = False
        """Whether the connection was lost, even if the call is being stopped or is over by now."""
        self.closed_cleanly = False
        """Whether the lost connection ended with a closing handshake."""

    @property
    def over(self) -> bool:
        """Whether this edge does nothing more for the call."""
        return self.state in OVER

    @property
    def goes_on(self) -> bool:
        """Whether nobody has ended the call: it has a connection, or may get its next one here."""
        return self.state in (State.LIVE, State.BROKEN)

    @property
    def handed_over(self) -> bool:
        """Whether this edge gave the call up for another one."""
        return self.state is State.HANDED_OVER

    def stop(self, reason: str) -> bool:
        """We want the call to end."""
        changed = self._enter(State.STOPPING, reason)
        self.stopped = self.stopped or changed
        return changed

    def disconnect(self, clean: bool) -> bool:
        """The connection is gone, with a closing handshake (`clean`) or without; the call may come back."""
        changed = self._enter(State.BROKEN)
        if changed:
            self.disconnected, self.closed_cleanly = True, clean
        return changed

    def end(self, reason: str) -> bool:
        """The call is over."""
        return self._enter(State.ENDED, reason)

    def replace(self) -> bool:
        """Another connection continues the call."""
        return self._enter(State.REPLACED)

    def hand_over(self) -> bool:
        """Another edge will continue the call."""
        return self._enter(State.HANDED_OVER)

    def _enter(self, state: State, reason: str = "") -> bool:
        if state not in _NEXT[self.state]:
            return False
        self.state = state
        if reason:
            self.reason = EndReason.of(reason).value
        return True
