"""Defines how the transfer in a call's record changes (common/call/transfer.py): a part of the port `CallRecords`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from common.call.end_reasons import EndReason
from common.call.transfer import TransferChange
from common.protocol.messages import Message

MAY_COME_BACK = ("carrier", "caller hung up", EndReason.TRANSFERRED.value)
"""End reasons of a call that may be started again, until the carrier ends it: `MAY_GO_ON`, and the transfer."""
TRANSFERRED_SECONDS = 900
"""Shortest time for which a call that was transferred is kept: the person may ring for minutes before it comes back."""
AUDIO_OF_TRANSFERRED_SECONDS = 300
"""How long its audio stays: if it comes back, its positions continue there."""


class CallTransfers(Protocol):
    """The transfers in the records of calls."""

    async def change_transfer(
        self,
        call_id: str,
        was: str,
        now: str,
        change: TransferChange,
        events: Sequence[Message],
        epoch: int = 0,
    ) -> bool:
        """Replace the call's transfer `was` by `now`, and append `events` to the event log, in one step.

        `change` says what becomes of the call; `epoch` is the connection that some changes need.  False: the transfer
        is no longer `was`, the call is unknown, or the change needs another state of it; then nothing was written.
        """
