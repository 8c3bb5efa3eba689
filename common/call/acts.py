"""Names how calls of tools and transfers end or stand: closed sets for events, metrics and logs.

The text of another release may be anything; `of` turns what is unknown into the value that promises least.
"""

from __future__ import annotations

from enum import StrEnum

BUILT_IN_TOOLS = frozenset({"end_call", "transfer_call", "send_digits", "collect_digits", "hold", "transfer_to"})
"""Names of the tools that act on the call itself (workers/llm/tools/builtin.py); no other tool may have one."""


class ToolOutcome(StrEnum):
    """How a call of a tool ended.  The values appear on the bus and in metrics, and are never changed."""

    DONE = "done"
    FAILED = "failed"
    """It ran and reported an error."""
    TIMEOUT = "timeout"
    UNKNOWN = "unknown"
    """It was begun and has no result: a worker died, and the tool may not be run again."""
    REFUSED = "refused"
    """It did not run: no such tool, wrong arguments, an address that is not allowed, too many calls."""
    CANCELLED = "cancelled"
    """It did not run: the caller interrupted the agent before."""

    @classmethod
    def of(cls, text: object) -> ToolOutcome:
        """The outcome that `text` names; `UNKNOWN` for anything else."""
        return _OUTCOMES.get(text, cls.UNKNOWN) if isinstance(text, str) else cls.UNKNOWN


_OUTCOMES: dict[str, ToolOutcome] = {outcome.value: outcome for outcome in ToolOutcome}


class TransferState(StrEnum):
    """Where a transfer stands.  The values appear on the bus and in metrics, and are never changed.

    asked ──▶ dialled ──▶ ringing ──▶ answered ──▶ joined ──▶ over
                 └───────────┴───────────┴──▶ failed: the caller is with the agent again
    """

    ASKED = "asked"
    """The edge has the order, and it is in the call's record."""
    DIALLED = "dialled"
    """The carrier has the XML, or the request, that rings the person."""
    RINGING = "ringing"
    ANSWERED = "answered"
    """The person answered; in a warm transfer they are being told what it is about."""
    JOINED = "joined"
    """Caller and person hear each other."""
    OVER = "over"
    """They have finished."""
    FAILED = "failed"
    """Nobody answered, it was busy or declined, or the time was over."""
