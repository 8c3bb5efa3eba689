"""Implements the call store in Redis; its commands go over connections of its own (common/redis/client.py).

Keys (all names in common/protocol/redis_keys.py):

  call:{sNN}:<id>:state         hash    agent, numbers, status, epoch, edge; token:, owner: and checkpoint:<pool>
  pool:<name>:leases            zset    members that hold calls, by the time at which their lease runs out
  pool:<name>:ready             zset    members that take calls, by the server's time of their last report
  pool:<name>:healthy           zset    members that reach a provider, likewise
  pool:<name>:quarantine        list    calls that are not run again, for people
  pool:<name>:calls             stream  offers; its consumer group "members" delivers each to one member
  call:{sNN}:<id>:facts         hash    fields of the carrier's webhooks, by event and field
  call:{sNN}:<id>:effects       hash    side effects that must not happen twice: the attempt that began, or the result
  call:{sNN}:<id>:secrets       hash    digits that only tools may know (secret_keys_redis.py)
  call:{sNN}:<id>:ended         string  the carrier reported the call as over; expires after a minute
  calls:live, nodes:<kind>      zset    by the time of the last heartbeat
  calls:ended, calls:to-compact zset    ended calls (ended_calls_redis.py)
  speech:{fixed}:…              string  audio of fixed sentences, and a zset of their last use (fixed_speech_redis.py)
  {agents}:…                    hash    versions of agents' files, and pins (agent_versions_redis.py)
  nonce:<nonce>                 string  digest of the webhook that used this nonce; expires after a day

A decision in one step is a Lua script over the keys of one call, and over the lists of calls on its server.  Commands
that belong together leave in one write.  A claim is checked by its token *and* its owner: a failover may lose a claim,
and then the same token is given out again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from common.call.transfer import TransferChange
from common.process.clock import wall_ms
from common.protocol import redis_keys
from common.protocol.codec import encode
from common.protocol.messages import Message
from common.redis.client import Client
from common.redis.commands import Command, Word, script
from common.redis.url import RedisTarget, parse_redis_url
from common.store import (
    MAY_GO_ON,
    NO_EPOCHS,
    READY_STALE_MS,
    REOPEN_SECONDS,
    UNKNOWN_WEBHOOK_FIELDS_SECONDS,
    UNSTARTED_SECONDS,
    WEBHOOK_FIELDS_BYTES_MAX,
    WEBHOOK_FIELDS_MAX,
    CallLookup,
    CallRecord,
    Claim,
    mending,
    scripts,
)
from common.store.agent_versions_redis import RedisAgentVersions
from common.store.clock_offset import note_clock_offset
from common.store.effects import Effect, Known
from common.store.effects_redis import RedisEffects
from common.store.ended_calls import COMPACT_AFTER_SECONDS
from common.store.ended_calls_redis import RedisEndedCalls
from common.store.fixed_speech_redis import RedisFixedSpeech
from common.store.leases_redis import LEASE_MS, RedisLeases
from common.store.members import MemberReport, Members, Quarantined, Renewal
from common.store.membership import Membership
from common.store.offers import CONSUMER_IDLE_MS, Offers
from common.store.redis_values import call_ids_of, fields_of, ms_of, pairs_of, readable, state_fields_of, texts_of
from common.store.secret_keys import SecretKey
from common.store.secret_keys_redis import RedisSecrets
from common.store.suspicion import Left, Take
from common.store.transfers import AUDIO_OF_TRANSFERRED_SECONDS

LIVE_STALE_MS = 15_000
"""A call without a heartbeat of its edge for this long has no edge, in ms; edges send one every few seconds."""
LOST_MS = 75_000
"""A call without a heartbeat for this long, in ms, is over: its edge died, and the carrier connected no other one."""
PROBE_SECONDS = 10
"""Expiry of the key that an edge writes to see whether the server accepts writes."""
STATE_FIELDS = ("epoch", *(f"{what}:{pool}" for pool in redis_keys.ALL_POOLS for what in ("token", "checkpoint")))
"""The fields of a record of which an edge keeps a copy."""


class RedisCallStore:
    """See `common.store.CallStore`.  `retention_s` is how long an ended call can still be read."""

    def __init__(
        self, client: Client, retention_s: int, lease_ms: int = LEASE_MS, idle_ms: int = CONSUMER_IDLE_MS
    ) -> None:
        self.server = "0"
        """The server's number in REDIS_URL, for its metrics."""
        self._client = client
        self._retention_s = retention_s
        self.ended_calls = RedisEndedCalls(client)
        self.fixed_speech = RedisFixedSpeech(client)
        self.agent_versions = RedisAgentVersions(client)
        self._effects, self._secrets = RedisEffects(client, retention_s), RedisSecrets(client)
        self._leases, self._offers = RedisLeases(client, lease_ms), Offers(client, idle_ms)
        self._membership = Membership(client)

    @classmethod
    def connect(
        cls, url: str, name: str, retention_s: int, lease_ms: int = LEASE_MS, target: RedisTarget | None = None
    ) -> RedisCallStore:
        """Create a store that connects when it is used; `aclose` it.

        `target` is one shard of the URL (shards.py); without it the URL must name one server.  Raises BadRedisUrl.
        """
        if target is None:
            (target,) = parse_redis_url(url)
        return cls(Client(target, f"{name}:ledger"), retention_s, lease_ms)

    async def aclose(self) -> None:
        """Close the connections; the store is not used afterwards."""
        await self._client.aclose()

    async def create(self, record: CallRecord) -> CallLookup:
        flat = [part for pair in fields_of(record).items() for part in pair]
        created = script(scripts.CREATE, mending.call_keys(record.call_id), [UNSTARTED_SECONDS, *flat])
        return await self._look_up(record.call_id, created)

    async def look_up(self, call_id: str) -> CallLookup:
        return await self._look_up(call_id)

    async def _look_up(self, call_id: str, *before: Command) -> CallLookup:
        about = (("HGETALL", redis_keys.call_state(call_id)), ("EXISTS", redis_keys.call_end(call_id)), ("TIME",))
        fields, noted, time = (await self._client.all([*before, *about]))[-3:]
        return CallLookup(_record(call_id, fields), bool(noted), ms_of(time))

    async def read(self, call_id: str) -> CallRecord | None:
        return _record(call_id, await self._client.call("HGETALL", redis_keys.call_state(call_id)))

    async def start(self, call_id: str, edge: str) -> CallRecord | None:
        keys = [*_keys(call_id), redis_keys.CALLS_LIVE]
        return _record(call_id, await self._client.run(scripts.START, keys, [edge, redis_keys.LIVE_SECONDS, call_id]))

    async def end(self, call_id: str, reason: str, epoch: int | None = None) -> bool:
        newest = "" if epoch is None else epoch
        args: list[Word] = [reason, self._retention_s, newest, call_id, COMPACT_AFTER_SECONDS]
        return bool(await self._client.run(scripts.END, _ending_keys(call_id), args))

    async def note_end(self, call_id: str, seconds: int) -> CallRecord | None:
        state = redis_keys.call_state(call_id)
        noted, sealed = ("SET", redis_keys.call_end(call_id), "", "EX", seconds), script(scripts.SEAL, [state])
        _, _, fields = await self._client.each([noted, sealed, ("HGETALL", state)])
        return _record(call_id, fields)

    async def reopen(self, call_id: str) -> bool:
        args: list[Word] = [1000 * REOPEN_SECONDS, *MAY_GO_ON]
        return bool(await self._client.run(scripts.REOPEN, [redis_keys.call_state(call_id)], args))

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
        about: list[Word] = [was, now, change.value, epoch, call_id, self._retention_s, COMPACT_AFTER_SECONDS]
        about += [AUDIO_OF_TRANSFERRED_SECONDS, 1000 * REOPEN_SECONDS, *map(encode, events)]
        return bool(await self._client.run(scripts.CHANGE_TRANSFER, _ending_keys(call_id), about))

    async def note_silence(self, silent_ms: Mapping[str, int], epochs: Mapping[str, int] = NO_EPOCHS) -> None:
        await self._client.each(
            [
                script(scripts.NOTE_SILENCE, [redis_keys.call_state(call_id)], [ms, epochs.get(call_id, "")])
                for call_id, ms in silent_ms.items()
            ]
        )

    async def heartbeat_calls(self, call_ids: Iterable[str]) -> None:
        ids = list(call_ids)
        if not ids:
            return
        commands = [script(scripts.HEARTBEAT_CALLS, [redis_keys.CALLS_LIVE], ids)]
        for call_id in ids:
            kept = [redis_keys.call_state(call_id), redis_keys.call_events(call_id), redis_keys.call_effects(call_id)]
            commands.append(script(scripts.KEEP, kept, [redis_keys.LIVE_SECONDS]))
        await self._client.each(commands, needed=1)

    async def ended(self, call_ids: Sequence[str]) -> set[str]:
        found = await self._client.each([("HGET", redis_keys.call_state(call_id), "status") for call_id in call_ids])
        return {call_id for call_id, status in zip(call_ids, found, strict=True) if status == b"ended"}

    async def live(self) -> list[str]:
        fresh_ms = await self._now_ms() - LIVE_STALE_MS
        return call_ids_of(await self._client.call("ZRANGEBYSCORE", redis_keys.CALLS_LIVE, fresh_ms, "+inf"))

    async def abandoned(self) -> dict[str, int]:
        now_ms = await self._now_ms()
        scored = ("ZRANGEBYSCORE", redis_keys.CALLS_LIVE)
        old = (*scored, "-inf", now_ms - LOST_MS, "WITHSCORES")
        # A heartbeat far in the future is from before a failover to a server with a slower clock; a live edge would
        # have sent another one since.
        ahead = (*scored, now_ms + LOST_MS, "+inf", "WITHSCORES")
        found = [pair for flat in await self._client.all([old, ahead]) for pair in pairs_of(flat).items()]
        return {members[0]: int(float(ms)) for one, ms in found if (members := call_ids_of([one]))}

    async def state_fields(self, call_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        found = await self._client.each(
            [("HMGET", redis_keys.call_state(call_id), *STATE_FIELDS) for call_id in call_ids]
        )
        state_fields = {
            call_id: state_fields_of(STATE_FIELDS, values) for call_id, values in zip(call_ids, found, strict=True)
        }
        return {call_id: known for call_id, known in state_fields.items() if known is not None}

    async def restore(self, record: CallRecord, state_fields: Mapping[str, str], events: Sequence[Message]) -> bool:
        call_id = record.call_id
        fields = fields_of(replace(record, status="live")) | {
            name: state_fields[name] for name in STATE_FIELDS[1:] if name in state_fields
        }
        flat = [part for pair in fields.items() for part in pair]
        keys = [redis_keys.call_state(call_id), redis_keys.call_events(call_id)]
        args: list[Word] = [record.epoch, len(flat), *flat, *map(encode, events), redis_keys.LIVE_SECONDS]
        restored = bool(await self._client.run(scripts.RESTORE, keys, args))
        if restored:
            await self.heartbeat_calls([call_id])
        return restored

    async def pools_with_room(self) -> set[str]:
        return await self._membership.pools_with_room()

    async def unheld(self, call_ids: Sequence[str]) -> dict[str, set[str]]:
        return await self._leases.unowned(call_ids, redis_keys.ALL_POOLS)

    async def add_webhook_fields(self, call_id: str, fields: Mapping[str, str], unknown: bool = True) -> bool:
        keys = [redis_keys.call_state(call_id), redis_keys.call_webhook_fields(call_id)]
        bounds = [
            self._retention_s,
            UNKNOWN_WEBHOOK_FIELDS_SECONDS if unknown else 0,
            WEBHOOK_FIELDS_MAX,
            WEBHOOK_FIELDS_BYTES_MAX,
        ]
        flat = [part for pair in fields.items() for part in pair]
        return bool(await self._client.run(scripts.ADD_WEBHOOK_FIELDS, keys, [*bounds, *flat]))

    async def webhook_fields(self, call_id: str) -> dict[str, str]:
        found = await self._client.call("HGETALL", redis_keys.call_webhook_fields(call_id))
        return texts_of(dict(sorted(pairs_of(found).items())))

    async def begin_effect(self, effect: Effect, claim: Claim | None = None) -> Known:
        return await self._effects.begin(effect, claim)

    async def finish_effect(self, effect: Effect, result: str, claim: Claim | None = None) -> Known:
        return await self._effects.finish(effect, result, claim)

    async def add_secret_key(self, key: SecretKey) -> bool:
        """See `Secrets.add_secret_key`."""
        return await self._secrets.add(key)

    async def read_secret(self, call_id: str, name: str) -> str:
        """See `Secrets.read_secret`."""
        return await self._secrets.read(call_id, name)

    async def remember_nonce(self, nonce: str, digest: str, seconds: int) -> bool:
        known = await self._client.call("SET", redis_keys.nonce(nonce), digest, "NX", "GET", "EX", seconds)
        return known is None or bytes(known) == digest.encode()

    async def shared_secret(self) -> bytes:
        return await mending.shared_secret(self._client)

    async def check_write(self, edge: str) -> None:
        await self._client.call("SET", redis_keys.edge_probe(edge), "", "EX", PROBE_SECONDS)

    async def keep_secret(self, secret: bytes) -> None:
        await self._client.call("SET", redis_keys.STREAM_SECRET, secret, "NX")

    async def take_offers(self, pool: str, owner: str, count: int, block_ms: int) -> list[tuple[str, str]]:
        return await self._offers.take(pool, owner, count, block_ms)

    async def ack_offer(self, pool: str, offer_id: str) -> None:
        await self._offers.ack_offer(pool, offer_id)

    async def claim(self, pool: str, call_id: str, owner: str, take: Take = Take.TRUSTED) -> Claim | None:
        return await self._leases.claim(pool, call_id, owner, take)

    async def renew(self, report: MemberReport) -> Renewal:
        return await self._leases.renew(report)

    async def confirm(self, claims: Sequence[Claim]) -> list[Claim]:
        return await self._leases.confirm(claims)

    async def release(self, claim: Claim, left: Left = Left.CLEAN) -> None:
        await self._leases.release(claim, left)

    async def offer(self, pool: str, call_ids: Sequence[str], all_that_wait: bool = False) -> None:
        await self._offers.offer(pool, list(call_ids), all_that_wait)

    async def quarantine(self, call: Quarantined) -> None:
        await self._membership.quarantine(call)

    async def append(self, claim: Claim, messages: Sequence[Message]) -> bool:
        keys = [redis_keys.call_state(claim.call_id), redis_keys.call_events(claim.call_id)]
        args: list[Word] = [claim.pool, claim.token, claim.owner, redis_keys.LIVE_SECONDS, *map(encode, messages)]
        return bool(await self._client.insist(scripts.APPEND, keys, args))

    async def save_checkpoint(self, claim: Claim, checkpoint: str) -> bool:
        keys = [redis_keys.call_state(claim.call_id)]
        args: list[Word] = [claim.pool, claim.token, claim.owner, checkpoint]
        return bool(await self._client.insist(scripts.CHECKPOINT, keys, args))

    async def orphans(self, pool: str) -> list[str]:
        calls = await self.live()
        unowned = await self._leases.unowned(calls, [pool])
        return [call_id for call_id in calls if call_id in unowned]

    async def members(self, pool: str, within_ms: int = READY_STALE_MS) -> Members:
        return await self._membership.members(pool, within_ms)

    async def heartbeat(self, kind: str, node: str) -> None:
        asked_ms = wall_ms()
        server_ms = await self._membership.heartbeat(kind, node)
        if server_ms is not None:
            note_clock_offset(self.server, asked_ms, server_ms, wall_ms())
        if kind == "edge":
            await self._membership.keep_streams(node)
        else:
            await self._offers.forget_idle(kind)

    async def mend(self, edge: str, call_ids: Sequence[str]) -> int:
        return await mending.mend(self._client, edge, call_ids)

    async def _now_ms(self) -> int:
        """The server's clock, Unix time in ms.  No clock of this machine decides anything here."""
        return ms_of(await self._client.call("TIME"))


def _record(call_id: str, fields: Sequence[bytes] | None) -> CallRecord | None:
    return readable(pairs_of(fields), call_id) if fields else None


def _keys(call_id: str) -> list[str]:
    """The keys that last as long as the record of a call."""
    return [
        redis_keys.call_state(call_id),
        redis_keys.call_events(call_id),
        redis_keys.call_audio(call_id),
        redis_keys.call_effects(call_id),
    ]


def _ending_keys(call_id: str) -> list[str]:
    """The keys of a call, and the lists that its end changes."""
    lists = [redis_keys.CALLS_LIVE, redis_keys.CALLS_ENDED, redis_keys.CALLS_TO_COMPACT]
    return [*_keys(call_id), *lists, redis_keys.call_secrets(call_id)]
