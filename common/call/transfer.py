"""Defines the transfer of a call to a person, as the call's record keeps it, and what changes with it.  Pure.

Every change is one step of the call store (`CallRecords.change_transfer`): the document is replaced if it is still the
one that was read, and the record and the event log change with it.  So of two processes that act on one state, one
wins, and whoever dies, the next one finds the state and the events of it together.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from common.call.acts import TransferState

TRANSFER_BYTES_MAX = 8_192
"""Longest document of a transfer; a longer one is unreadable."""
TRANSFERS_MAX = 20
"""Most transfers of one call; one more is refused, because an agent that asks for so many is out of control."""

UNDER_WAY = frozenset(
    {
        TransferState.ASKED,
        TransferState.DIALLED,
        TransferState.RINGING,
        TransferState.ANSWERED,
        TransferState.JOINED,
    }
)
"""States in which no other transfer of the call may begin."""

_Number = Annotated[int, Meta(ge=0, le=2**53)]


class Transfer(Struct, frozen=True, omit_defaults=True):
    """The newest transfer of a call.  Times are Unix ms of the store's clock, 0 while they are not known."""

    turn: _Number
    n: _Number
    """The call of the tool that asked for it: call `n` of reply `turn`."""
    target: str
    """The name of the target in the agent's file."""
    number: str
    mode: Literal["cold", "warm"] = "cold"
    ring_s: Annotated[int, Meta(ge=1, le=600)] = 30
    whisper: str = ""
    """What the person hears: cold, before they are connected; warm, in the briefing."""
    language: str = "en"
    """The language of the agent, a BCP 47 tag."""
    state: TransferState = TransferState.ASKED
    attempt: _Number = 1
    """Number of this transfer in its call, from 1."""
    room: str = ""
    """The conference of a warm transfer that was accepted; empty before."""
    dial_id: str = ""
    """The outbound call to the person, in a warm transfer."""
    asked_ms: _Number = 0
    left_ms: _Number = 0
    """When the carrier first asked what follows the stream: since then it rings the person, or joins the two."""
    rings_ms: _Number = 0
    """When the person's telephone began to ring, as far as it is known."""
    joined_ms: _Number = 0
    """When caller and person first heard each other."""
    settled_ms: _Number = 0
    """When it was over or had failed."""

    @property
    def under_way(self) -> bool:
        """Whether it is not over and has not failed."""
        return self.state in UNDER_WAY

    @property
    def left(self) -> bool:
        """Whether the caller leaves the stream, or has left it: a cold transfer, or one that the person accepted."""
        return self.mode == "cold" or bool(self.room)

    @property
    def name(self) -> str:
        """The name of the transfer in its call, for URLs."""
        return f"{self.turn}.{self.n}"

    def is_of(self, turn: int, n: int) -> bool:
        """Whether call `n` of reply `turn` asked for it."""
        return (self.turn, self.n) == (turn, n)

    def to_text(self) -> str:
        """The document as JSON."""
        return msgspec.json.encode(self).decode()


def read_transfer(text: str) -> Transfer | None:
    """The transfer in a call's record; None if there is none, or if it cannot be read."""
    if not text or len(text) > TRANSFER_BYTES_MAX:
        return None
    try:
        return msgspec.json.decode(text, type=Transfer)
    except msgspec.DecodeError:  # of a value of the wrong type, too
        return None


class TransferChange(StrEnum):
    """What changes in the call's record with the document of its transfer."""

    NOTE = "note"
    """Nothing else."""
    STAY = "stay"
    """Nothing else, and only if the call is live at the epoch that is given."""
    LEAVE = "leave"
    """The call ends with the reason "transferred", if it is live at the epoch that is given."""
    COME_BACK = "come back"
    """The call may be started again, if it ended with that reason and the carrier has not ended it."""
