"""What must hold of the transfers of one call, whatever breaks, by its event log.  Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from common.call.acts import ToolOutcome, TransferState
from common.call.end_reasons import EndReason
from common.protocol.acts import ToolReturned, TransferUpdated
from common.protocol.messages import Message

ORDER = (*("asked", "dialled", "ringing", "answered", "joined"), "over", "failed")
"""A state never goes back, and is reached once."""
SETTLED = (TransferState.OVER, TransferState.FAILED)


@dataclass(slots=True)
class TransferTrial:
    """The transfers of one call before the judge."""

    call_id: str
    wrong: Callable[[str], None]
    _states: dict[tuple[int, int], str] = field(default_factory=dict)
    """(turn, n) -> the newest state."""
    _results: dict[tuple[int, int], int] = field(default_factory=dict)

    def event(self, message: Message) -> None:
        """An entry of the event log."""
        match message:
            case TransferUpdated(turn, n, state):
                before = self._states.get((turn, n))
                if before is not None and (before in SETTLED or ORDER.index(before) >= ORDER.index(state)):
                    self._breach(f"transfer {turn}.{n} is {state} after it was {before}")
                self._states[turn, n] = state
            case ToolReturned(turn, n, outcome) if (turn, n) in self._states and outcome != ToolOutcome.REFUSED:
                self._results[turn, n] = self._results.get((turn, n), 0) + 1
                if self._results[turn, n] > 1:
                    self._breach(f"transfer {turn}.{n} has two results")
            case _:
                pass

    def finish(self, ended_because: str) -> None:
        """The call is over: every transfer is settled, and its result is in the log.

        One whose caller was gone while no edge was there for the report of it stays as it was.
        """
        for (turn, n), state in self._states.items():
            if state not in SETTLED:
                if ended_because == EndReason.CARRIER:
                    continue
                self._breach(f"transfer {turn}.{n} is {state} for ever")
            elif (turn, n) not in self._results:
                self._breach(f"transfer {turn}.{n} is {state} without a result")

    def _breach(self, text: str) -> None:
        self.wrong(f"{self.call_id}: {text}")
