"""Implements the call store without a server, for tests, on the event loop's clock, which may be a virtual one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from common.bus.memory import MemoryStreams
from common.call.end_reasons import EndReason
from common.call.transfer import TransferChange
from common.process.clock import wall_ms
from common.protocol import redis_keys
from common.protocol.messages import CallOffered, Message
from common.store import (
    MAY_GO_ON,
    NO_EPOCHS,
    READY_STALE_MS,
    REOPEN_SECONDS,
    UNKNOWN_WEBHOOK_FIELDS_SECONDS,
    WEBHOOK_FIELDS_BYTES_MAX,
    WEBHOOK_FIELDS_MAX,
    CallLookup,
    CallRecord,
    Claim,
)
from common.store.agent_versions_memory import MemoryAgentVersions
from common.store.effects import Effect, Known
from common.store.effects_memory import MemoryEffects
from common.store.ended_calls_memory import MemoryEndedCalls
from common.store.fixed_speech_memory import MemoryFixedSpeech
from common.store.leases_memory import MemoryLeases
from common.store.leases_redis import LEASE_MS
from common.store.members import QUARANTINE_MAX, MemberReport, Members, Quarantined, Renewal
from common.store.memory_call import MemoryCall
from common.store.offers import OFFER_IDLE_MS
from common.store.redis import LIVE_STALE_MS, LOST_MS
from common.store.secret_keys import SecretKey
from common.store.secret_keys_memory import MemorySecrets
from common.store.suspicion import Left, Take

OFFER_POLL_SECONDS = 0.05


class MemoryCallStore:
    """See `common.store.CallStore`.  One object takes the part of the server; all simulated processes share it."""

    def __init__(self, streams_: MemoryStreams, lease_ms: int = LEASE_MS) -> None:
        self._streams = streams_
        self._calls: dict[str, MemoryCall] = {}
        self._unix_ms: float | None = None  # Unix ms at the loop's time 0
        self.touched_ms: dict[str, int] = {}
        """call -> loop time in ms of its edge's last heartbeat for it"""
        self._taken: dict[tuple[str, int], float] = {}
        self._settled: set[tuple[str, int]] = set()
        self._webhook_fields: dict[str, dict[str, str]] = {}
        self._webhook_fields_until: dict[str, float] = {}
        """Calls without a record -> loop time until which their webhook fields are kept."""
        self._nonces: dict[str, tuple[str, float]] = {}
        self._noted_ends: dict[str, float] = {}  # call -> loop time until which its end is remembered
        self.leases = MemoryLeases(self._calls, lease_ms)
        self.quarantined: list[Quarantined] = []
        self._effects, self._secrets = MemoryEffects(self._calls), MemorySecrets(self._calls)
        self.ended_calls = MemoryEndedCalls(self._calls, streams_)
        self.fixed_speech = MemoryFixedSpeech()
        self.agent_versions = MemoryAgentVersions()

    async def create(self, record: CallRecord) -> CallLookup:
        self._calls.setdefault(record.call_id, MemoryCall(record))
        return await self.look_up(record.call_id)

    async def look_up(self, call_id: str) -> CallLookup:
        return CallLookup(await self.read(call_id), self._noted_ends.get(call_id, 0.0) > _now(), self._unix_now_ms())

    async def read(self, call_id: str) -> CallRecord | None:
        call = self._calls.get(call_id)
        return call.record if call else None

    async def start(self, call_id: str, edge: str) -> CallRecord | None:
        call = self._calls.get(call_id)
        now_ms = round(_now() * 1000)
        if call is None or (call.record.status == "ended" and call.record.reopens_ms < now_ms):
            return None
        record = call.record
        started_ms, active_ms = record.started_ms or now_ms, record.active_ms or now_ms
        if record.status == "ended":
            started_ms, active_ms = started_ms + now_ms - record.ended_ms, now_ms
        call.record = replace(
            record,
            status="live",
            edge=edge,
            epoch=record.epoch + 1,
            ended_because="",
            reopens_ms=0,
            started_ms=started_ms,
            active_ms=active_ms,
            age_ms=now_ms - started_ms,
            silent_ms=now_ms - active_ms,
        )
        self.touched_ms[call_id] = now_ms
        return call.record

    async def end(self, call_id: str, reason: str, epoch: int | None = None) -> bool:
        call = self._calls.get(call_id)
        if call is None or call.record.status == "ended" or epoch not in (None, call.record.epoch):
            return False
        now_ms = round(_now() * 1000)
        call.record = replace(call.record, status="ended", ended_because=reason, ended_ms=now_ms, reopens_ms=0)
        self.ended_calls.add(call_id)
        self._secrets.forget(call_id)
        return True

    async def note_end(self, call_id: str, seconds: int) -> CallRecord | None:
        self._noted_ends[call_id] = _now() + seconds
        if call_id in self._calls:
            self._calls[call_id].sealed = True
        return await self.read(call_id)

    async def reopen(self, call_id: str) -> bool:
        call = self._calls.get(call_id)
        if call is None or call.sealed:
            return False
        if call.record.status != "ended":
            return True
        if call.record.ended_because not in MAY_GO_ON:
            return False
        call.record = replace(call.record, reopens_ms=round(1000 * (_now() + REOPEN_SECONDS)))
        return True

    async def change_transfer(
        self,
        call_id: str,
        was: str,
        now: str,
        change: TransferChange,
        events: Sequence[Message],
        epoch: int = 0,
    ) -> bool:
        """See `common.store.transfers.CallTransfers`."""
        call = self._calls.get(call_id)
        if call is None or call.record.transfer != was:
            return False
        needs_connection = change in (TransferChange.STAY, TransferChange.LEAVE)
        if needs_connection and (call.record.status, call.record.epoch) != ("live", epoch):
            return False
        call.record = replace(call.record, transfer=now)
        if change is TransferChange.LEAVE:
            await self.end(call_id, EndReason.TRANSFERRED, epoch)
        over = call.record.status == "ended" and call.record.ended_because == EndReason.TRANSFERRED
        if change is TransferChange.COME_BACK and over and not call.sealed:
            call.record = replace(call.record, reopens_ms=round(1000 * (_now() + REOPEN_SECONDS)))
        for message in events:
            self._streams.append(redis_keys.call_events(call_id), message)
        return True

    async def note_silence(self, silent_ms: Mapping[str, int], epochs: Mapping[str, int] = NO_EPOCHS) -> None:
        for call_id, ms in silent_ms.items():
            call = self._calls.get(call_id)
            if call is not None and epochs.get(call_id, call.record.epoch) == call.record.epoch:
                call.record = replace(call.record, active_ms=round(_now() * 1000) - ms)

    async def heartbeat_calls(self, call_ids: Iterable[str]) -> None:
        self.touched_ms.update(dict.fromkeys(call_ids, round(_now() * 1000)))

    async def ended(self, call_ids: Sequence[str]) -> set[str]:
        known = {call_id: self._calls[call_id] for call_id in call_ids if call_id in self._calls}
        return {call_id for call_id, call in known.items() if call.record.status == "ended"}

    def _unix_now_ms(self) -> int:
        """Unix time at the first call, advanced by the loop's clock."""
        if self._unix_ms is None:
            self._unix_ms = wall_ms() - _now() * 1000
        return round(self._unix_ms + _now() * 1000)

    async def live(self) -> list[str]:
        fresh_ms = _now() * 1000 - LIVE_STALE_MS
        return [call_id for call_id, touched_ms in self._touched() if touched_ms >= fresh_ms]

    async def abandoned(self) -> dict[str, int]:
        now_ms = _now() * 1000
        return {call_id: ms for call_id, ms in self._touched() if abs(now_ms - ms) >= LOST_MS}

    def _touched(self) -> list[tuple[str, int]]:
        live = (call_id for call_id, call in self._calls.items() if call.record.status == "live")
        return [(call_id, self.touched_ms.get(call_id, 0)) for call_id in live]

    async def state_fields(self, call_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        return {call_id: self._notes(self._calls[call_id]) for call_id in call_ids if call_id in self._calls}

    def _notes(self, call: MemoryCall) -> dict[str, str]:
        tokens = {f"token:{pool}": str(token) for pool, token in call.tokens.items()}
        checkpoints = {f"checkpoint:{pool}": checkpoint for pool, checkpoint in call.checkpoints.items()}
        return {"epoch": str(call.record.epoch), **tokens, **checkpoints}

    async def restore(self, record: CallRecord, state_fields: Mapping[str, str], events: Sequence[Message]) -> bool:
        known = self._calls.get(record.call_id, MemoryCall(CallRecord(record.call_id)))
        if known.record.status == "ended" or known.record.epoch >= record.epoch:
            return False
        call = self._calls[record.call_id] = MemoryCall(replace(record, status="live"))
        await self.heartbeat_calls([record.call_id])
        for pool in redis_keys.ALL_POOLS:
            if f"token:{pool}" in state_fields:
                call.tokens[pool] = max(int(state_fields[f"token:{pool}"]), known.tokens.get(pool, 0)) + 1
            if f"checkpoint:{pool}" in state_fields:
                call.checkpoints[pool] = state_fields[f"checkpoint:{pool}"]
        for message in events:
            self._streams.append(redis_keys.call_events(record.call_id), message)
        return True

    async def pools_with_room(self) -> set[str]:
        return {pool for pool in redis_keys.ALL_POOLS if self.leases.members(pool, READY_STALE_MS).with_room}

    async def unheld(self, call_ids: Sequence[str]) -> dict[str, set[str]]:
        known = [(call_id, self._calls.get(call_id)) for call_id in call_ids]
        missing = {call_id: self._unheld_pools(call) for call_id, call in known}
        return {call_id: pools for call_id, pools in missing.items() if pools}

    def _unheld_pools(self, call: MemoryCall | None) -> set[str]:
        if call is None:
            return set(redis_keys.POOLS)
        return {pool for pool in call.record.pools if not self.leases.owns(call, pool)}

    async def add_webhook_fields(self, call_id: str, fields: Mapping[str, str], unknown: bool = True) -> bool:
        if call_id not in self._calls and not unknown:
            return False
        known = self._webhook_fields_of(call_id)
        if call_id in self._calls:
            self._webhook_fields_until.pop(call_id, None)
        elif not known:
            self._webhook_fields_until[call_id] = _now() + UNKNOWN_WEBHOOK_FIELDS_SECONDS
        self._webhook_fields[call_id] = known
        size = sum(len(name.encode()) + len(value.encode()) for name, value in known.items())
        for name, value in fields.items():
            before = len(name.encode()) + len(known[name].encode()) if name in known else 0
            larger = size - before + len(name.encode()) + len(value.encode())
            if len(known) + (name not in known) <= WEBHOOK_FIELDS_MAX and larger <= WEBHOOK_FIELDS_BYTES_MAX:
                known[name], size = value, larger
        return call_id in self._calls

    def _webhook_fields_of(self, call_id: str) -> dict[str, str]:
        if self._webhook_fields_until.get(call_id, _now() + 1) <= _now():
            self._webhook_fields.pop(call_id, None)
            del self._webhook_fields_until[call_id]
        return self._webhook_fields.get(call_id, {})

    async def webhook_fields(self, call_id: str) -> dict[str, str]:
        return dict(sorted(self._webhook_fields_of(call_id).items()))

    async def add_secret_key(self, key: SecretKey) -> bool:
        """See `Secrets.add_secret_key`."""
        return self._secrets.add(key)

    async def read_secret(self, call_id: str, name: str) -> str:
        """See `Secrets.read_secret`."""
        return self._secrets.read(call_id, name)

    async def begin_effect(self, effect: Effect, claim: Claim | None = None) -> Known:
        return self._effects.begin(effect, claim)

    async def finish_effect(self, effect: Effect, result: str, claim: Claim | None = None) -> Known:
        return self._effects.finish(effect, result, claim)

    async def remember_nonce(self, nonce: str, digest: str, seconds: int) -> bool:
        known, until = self._nonces.get(nonce, (digest, 0.0))
        if until <= _now():
            self._nonces[nonce] = (digest, _now() + seconds)
            return True
        return known == digest

    async def shared_secret(self) -> bytes:
        return b"a secret in memory"

    async def check_write(self, edge: str) -> None:
        """Memory always accepts writes."""

    async def keep_secret(self, secret: bytes) -> None:
        """Memory never loses the secret."""

    async def take_offers(self, pool: str, owner: str, count: int, block_ms: int) -> list[tuple[str, str]]:
        until = _now() + block_ms / 1000
        while True:
            found = self._open_offers(pool)[:count]
            if found or _now() >= until:
                for number, _ in found:
                    self._taken[pool, number] = _now()
                return [(f"{number}-0", call_id) for number, call_id in found]
            await asyncio.sleep(OFFER_POLL_SECONDS)

    async def ack_offer(self, pool: str, offer_id: str) -> None:
        self._settled.add((pool, int(offer_id.partition("-")[0])))

    async def claim(self, pool: str, call_id: str, owner: str, take: Take = Take.TRUSTED) -> Claim | None:
        call = self._calls.get(call_id)
        return self.leases.claim(pool, call, owner, take) if call else None

    async def renew(self, report: MemberReport) -> Renewal:
        return self.leases.renew(report)

    async def confirm(self, claims: Sequence[Claim]) -> list[Claim]:
        return self.leases.confirm(claims)

    async def release(self, claim: Claim, left: Left = Left.CLEAN) -> None:
        if call := self._calls.get(claim.call_id):
            self.leases.release(claim, call, left)

    async def offer(self, pool: str, call_ids: Sequence[str], all_that_wait: bool = False) -> None:
        known = {
            message.call_id
            for number, message in self._streams.after(redis_keys.pool_calls(pool), 0)
            if isinstance(message, CallOffered) and (pool, number) not in self._settled
        }
        for call_id in dict.fromkeys(call_ids):
            if call_id not in known:
                self._streams.append(redis_keys.pool_calls(pool), CallOffered(call_id))

    async def quarantine(self, call: Quarantined) -> None:
        self.quarantined = [call, *self.quarantined][:QUARANTINE_MAX]

    async def append(self, claim: Claim, messages: Sequence[Message]) -> bool:
        call = self._calls.get(claim.call_id)
        if call is None or not call.is_held_by(claim):
            return False
        for message in messages:
            self._streams.append(redis_keys.call_events(claim.call_id), message)
        return True

    async def save_checkpoint(self, claim: Claim, checkpoint: str) -> bool:
        call = self._calls.get(claim.call_id)
        if call is None or not call.is_held_by(claim):
            return False
        call.checkpoints[claim.pool] = checkpoint
        return True

    def overwrite_checkpoint(self, call_id: str, pool: str, checkpoint: str) -> None:
        """Write a checkpoint without a claim, as any program may on a server."""
        self._calls[call_id].checkpoints[pool] = checkpoint

    async def orphans(self, pool: str) -> list[str]:
        return [call_id for call_id in await self.live() if pool in self._unheld_pools(self._calls[call_id])]

    async def members(self, pool: str, within_ms: int = READY_STALE_MS) -> Members:
        return self.leases.members(pool, within_ms)

    async def mend(self, edge: str, call_ids: Sequence[str]) -> int:
        """Only this store writes to its memory, so there is nothing to mend."""
        return 0

    async def heartbeat(self, kind: str, node: str) -> None:
        """No test reads heartbeats."""

    def _open_offers(self, pool: str) -> list[tuple[int, str]]:
        stale = _now() - OFFER_IDLE_MS / 1000
        return [
            (number, message.call_id)
            for number, message in self._streams.after(redis_keys.pool_calls(pool), 0)
            if isinstance(message, CallOffered)
            and (pool, number) not in self._settled
            and self._taken.get((pool, number), -1e9) <= stale
        ]


def _now() -> float:
    return asyncio.get_running_loop().time()
