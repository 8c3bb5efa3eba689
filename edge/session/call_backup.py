"""Keeps a backup of each call at its edge, and restores the call in Redis if Redis loses it.

The edge holds the caller's socket, so it knows which calls exist.  Of each call it keeps the record, a copy of the
event log as it grows, and the pools' notes (fencing tokens, checkpoints).  Once a second it checks that the store still
has its calls.  A call that is gone, or that fell back to an older epoch, is written again under its next epoch: to the
workers it looks like a caller who was reconnected (docs/adr/0004-when-redis-loses-everything.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from common.bus import Bus, Subscription
from common.call.resume import ListeningPosition
from common.process.clock import wall_ms
from common.process.skipped import skip
from common.protocol.messages import CallStarted, Message, OwnerChanged, ReplyPlayed, ReplyStarted, UserTurn
from common.protocol.redis_keys import EVENTS_MAXLEN, call_events
from common.redis.refusals import KeyRefused
from common.store import CallStore
from common.telemetry import metrics
from edge.session.call import Call
from edge.session.calls import Calls
from edge.session.fences import Fences

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
SECRET_EVERY = 5
"""Number of looks after which the deployment's secret is written back, should Redis have lost it."""
BACKUP_PAUSE_MS = 100.0
"""Pause between two reads of the event logs: what Redis loses within it is not in the backup either."""


@dataclass(slots=True)
class _CallBackup:
    """The backup of one call.  `transcript` is keyed by entry id: an event read twice after a failover is kept once."""

    epoch: int
    fences: Fences
    transcript: dict[str, Message] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    subscription: Subscription | None = None

    def receive(self, entry_id: str, message: Message) -> None:
        if isinstance(message, OwnerChanged):
            self.fences.admits(message.pool, message.token)
        if len(self.transcript) < EVENTS_MAXLEN:
            self.transcript[entry_id] = message

    def unknown_reply(self, call: Call) -> list[Message]:
        """Events for a reply that the caller hears but that was lost before it was copied, without its text.

        Without them the LLM worker would reuse the reply's number, and the edge would take the next reply for this one.
        """
        turn, utterance = call.turn.turn, call.turn.answers
        known = max(
            (message.turn for message in self.transcript.values() if isinstance(message, ReplyStarted)), default=0
        )
        return [ReplyStarted(turn, utterance), ReplyPlayed(turn)] if turn > known else []


class CallBackups:
    """Backups of all calls of an edge; `run` it as a task."""

    def __init__(self, calls: Calls, store: CallStore, buses: tuple[Bus, Bus], secret: bytes | None = None) -> None:
        """`buses` are the edge's own, and one whose reader may be slow, for the event logs.

        `secret` is the one that the deployment shares through Redis, or None if it has a secret of its own.
        """
        self._calls = calls
        self._store = store
        self._bus, self._slow = buses
        self._secret = secret
        self._backups: dict[str, _CallBackup] = {}
        calls.added = self._follow

    async def run(self) -> None:
        """Look every LOOK_SECONDS for as long as the process runs; errors are logged and counted."""
        looks = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
                if self._secret and looks % SECRET_EVERY == 0:
                    await self._store.keep_secret(self._secret)
            except (ConnectionError, TimeoutError):
                continue  # other code counts that Redis is away; it may have lost something when it is back
            except Exception as error:  # noqa: BLE001 - the loop is of all calls
                skip("call backups", error)
                looks += 1

    async def look(self) -> None:
        """Follow new calls, and restore lost ones.  Raises ConnectionError or TimeoutError."""
        live = {call.call_id: call for call in self._calls.live() if call.lifecycle.goes_on}
        for call_id in self._backups.keys() - live.keys():
            self._forget(call_id)
        for call_id, call in live.items():
            if call_id not in self._backups or self._backups[call_id].epoch != call.epoch:
                self._follow(call)
        if not live:
            return
        noted = await self._store.state_fields(list(live))
        for call_id, call in live.items():
            try:
                await self._compare(call, noted.get(call_id))
            except KeyRefused as error:  # of this call's keys, and no other's
                skip("call backups", error, call_id)

    async def _compare(self, call: Call, notes: Mapping[str, str] | None) -> None:
        if notes is None:
            await self._restore(call, _notes_after_loss(self._backups[call.call_id]))
        elif (epoch := int(notes.get("epoch", call.epoch))) < call.epoch:
            await self._restore(call, self._backups[call.call_id].notes)
        elif epoch > call.epoch:
            call.replaced()  # the carrier has reconnected to another edge, and this one did not notice
        elif notes:  # empty if the call's server is away
            self._backups[call.call_id].notes = notes
            call.fences.settle(notes)

    async def _restore(self, call: Call, notes: Mapping[str, str]) -> None:
        backup = self._backups[call.call_id]
        epoch = call.epoch + 1
        since = await self._bus.read(call_events(call.call_id))  # our own events, written since Redis is back
        ours = [message for entry_id, message in since if entry_id not in backup.transcript]
        record = replace(call.record, epoch=epoch)
        started = CallStarted(epoch, record.edge, wall_ms())
        transcript = [*backup.transcript.values(), *backup.unknown_reply(call), *ours, started]
        if call.lifecycle.over or not await self._store.restore(record, notes, transcript):
            return  # it has ended, or another edge has it by now
        log.warning("Redis had lost a call; it is written again", extra={"call_id": call.call_id})
        metrics.CALLS_RESTORED.inc()
        call.continue_as(epoch)
        self._follow(call)
        for pool in call.record.pools:
            await self._store.offer(pool, [call.call_id])

    def _follow(self, call: Call) -> None:
        self._forget(call.call_id)
        backup = self._backups[call.call_id] = _CallBackup(call.epoch, call.fences)
        backup.subscription = self._slow.subscribe(call_events(call.call_id), backup.receive, _unexpected)

    def _forget(self, call_id: str) -> None:
        backup = self._backups.pop(call_id, None)
        if backup is not None and backup.subscription is not None:
            backup.subscription.close()


def _notes_after_loss(backup: _CallBackup) -> dict[str, str]:
    """The notes to restore, with a new checkpoint for the STT worker: its audio stream begins anew.

    The old checkpoint may be up to one look older than the event log; its utterance number would then be used twice.
    """
    understood = max((turn.utterance for turn in backup.transcript.values() if isinstance(turn, UserTurn)), default=0)
    return {**backup.notes, "checkpoint:stt": ListeningPosition(understood).checkpoint()}


def _unexpected(error: Exception) -> None:
    skip("call backups", error)  # cannot happen: `receive` only stores the message
