"""Applies events to the transfer in a call's record: reads it, asks the state machine, and writes what changes.

The write is one step of the store and fails if the transfer has changed since it was read; then the event is applied to
what is there now.  So any edge may serve every webhook, twice and late, and the log has one result of each transfer.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from common.call.acts import TransferState
from common.call.transfer import Transfer, TransferChange, read_transfer
from common.process.clock import wall_ms
from common.store import CallRecord, CallRecords
from common.telemetry import metrics
from edge.transfer.state import Failure, OrderStanding, Step, TransferAsked, TransferEvent, advance, standing

log = logging.getLogger(__name__)

CHANGES_MAX = 10
"""Attempts to write a transfer that other processes change at the same time."""
CONNECTED = "connected"
"""The outcome of a transfer that did not fail, as a label of a metric."""
_ANSWERED = (TransferState.ANSWERED, TransferState.JOINED)


@dataclass(frozen=True, slots=True)
class Applied:
    """A call and its transfer after an event."""

    record: CallRecord
    """As it was read: the change of the call with the transfer is not in it."""
    transfer: Transfer
    changed: bool = False
    failure: Failure | None = None
    """Why the transfer failed with this event."""


@dataclass(frozen=True, slots=True)
class TransferRecords:
    """The transfers of all calls.  Every method raises ConnectionError or TimeoutError while the store is away."""

    store: CallRecords

    async def begin(self, call_id: str, epoch: int, wanted: Transfer) -> OrderStanding | None:
        """Begin a transfer for the caller on connection `epoch`; None if that is not the call's connection any more.

        Anything but `OrderStanding.NEW` began nothing.
        """
        for _ in range(CHANGES_MAX):
            known = await self.store.look_up(call_id)
            if known.record is None:
                return None
            transfer = read_transfer(known.record.transfer)
            found = standing(transfer, wanted.turn, wanted.n)
            if found is not OrderStanding.NEW:
                return found
            if (known.record.status, known.record.epoch) != ("live", epoch):
                return None
            step = advance(transfer, TransferAsked(wanted), known.now_ms, wall_ms())
            if step is not None and await self._write(call_id, known.record, step):
                return OrderStanding.NEW
        raise TimeoutError("a transfer changes faster than it can be written")

    async def apply(self, call_id: str, event: TransferEvent, name: str = "") -> Applied | None:
        """Apply an event to the call's transfer; None if the call has none, or one of another `name`."""
        for _ in range(CHANGES_MAX):
            known = await self.store.look_up(call_id)
            record = known.record
            transfer = read_transfer(record.transfer) if record is not None else None
            if record is None or transfer is None or name not in ("", transfer.name):
                return None
            step = advance(transfer, event, known.now_ms, wall_ms())
            if step is None or (step.change is TransferChange.LEAVE and record.status != "live"):
                return Applied(record, transfer)
            if await self._write(call_id, record, step):
                _observe(transfer, step, known.now_ms)
                return Applied(record, step.transfer, True, step.failure)
        raise TimeoutError("a transfer changes faster than it can be written")

    async def find(self, call_id: str, name: str = "") -> Transfer | None:
        """The call's transfer; None if it has none, or one of another `name`."""
        record = await self.store.read(call_id)
        transfer = read_transfer(record.transfer) if record is not None else None
        return transfer if transfer is not None and name in ("", transfer.name) else None

    async def _write(self, call_id: str, record: CallRecord, step: Step) -> bool:
        text = step.transfer.to_text()
        written = await self.store.change_transfer(
            call_id, record.transfer, text, step.change, step.events, record.epoch
        )
        if written:
            about = {"call_id": call_id, "mode": step.transfer.mode, "state": step.transfer.state.value}
            log.info("a transfer goes on", extra=about | ({"reason": step.failure.value} if step.failure else {}))
        return written


def count(mode: str, failure: Failure | None) -> None:
    """Count a transfer that is settled; None: caller and person were connected."""
    metrics.TRANSFERS.labels(mode, failure.value if failure else CONNECTED).inc()


def _observe(before: Transfer, step: Step, now_ms: int) -> None:
    after = step.transfer
    if not after.under_way:
        count(after.mode, step.failure)
    elif after.state in _ANSWERED and before.state not in _ANSWERED and after.rings_ms:
        metrics.TRANSFER_RING_SECONDS.observe(max(0, now_ms - after.rings_ms) / 1000)
