"""Makes one call store of several Redis servers; common/bus/shards.py tells which call is on which.

An operation on one call goes to its server, and fails with it.  An operation on all calls asks every server, takes the
answers of those that are there, and fails only if none is.  What belongs to no call is on the first server: the secret
of the deployment (an edge needs none to start if STREAM_SECRET is set) and the queue of outbound calls.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import ParamSpec, TypeVar

from common.process.tasks import cancel
from common.protocol import redis_keys
from common.protocol.messages import Message
from common.redis.url import parse_redis_url
from common.store import NO_EPOCHS, READY_STALE_MS, CallRecord, CallStore, Claim
from common.store.effects import Effect, Known
from common.store.ended_calls import ShardedEndedCalls
from common.store.members import Members, Quarantined
from common.store.redis import LEASE_MS, RedisCallStore
from common.store.suspicion import Left, Take

P = ParamSpec("P")
T = TypeVar("T")


@contextlib.asynccontextmanager
async def connect_store(url: str, name: str, retention_s: int, lease_ms: int = LEASE_MS) -> AsyncIterator[CallStore]:
    """The call store of REDIS_URL, with one server or several.  Raises BadRedisUrl."""
    async with contextlib.AsyncExitStack() as stack:
        stores: list[CallStore] = []
        for number, target in enumerate(parse_redis_url(url)):
            store = RedisCallStore.connect(url, name, retention_s, lease_ms, target)
            store.server = str(number)
            stores.append(await stack.enter_async_context(contextlib.aclosing(store)))
        if len(stores) == 1:
            yield stores[0]
            return
        yield await stack.enter_async_context(contextlib.aclosing(ShardedCallStore(stores)))


class ShardedCallStore:
    """See `common.store.CallStore`.  The caller closes the shards, after this one."""

    def __init__(self, shards: list[CallStore]) -> None:
        self._shards = shards
        self._taking: dict[tuple[str, str], _Taking] = {}
        self.ended_calls = ShardedEndedCalls([shard.ended_calls for shard in shards])

    async def aclose(self) -> None:
        """End the reads that still wait for offers; an offer that one of them takes now is repeated after a second."""
        for taking in self._taking.values():
            await taking.aclose()

    async def create(self, record: CallRecord) -> None:
        await self._of(record.call_id).create(record)

    async def read(self, call_id: str) -> CallRecord | None:
        return await self._of(call_id).read(call_id)

    async def start(self, call_id: str, edge: str) -> CallRecord | None:
        return await self._of(call_id).start(call_id, edge)

    async def end(self, call_id: str, reason: str, epoch: int | None = None) -> bool:
        return await self._of(call_id).end(call_id, reason, epoch)

    async def note_end(self, call_id: str, seconds: int) -> None:
        await self._of(call_id).note_end(call_id, seconds)

    async def end_noted(self, call_id: str) -> bool:
        return await self._of(call_id).end_noted(call_id)

    async def reopen(self, call_id: str) -> bool:
        return await self._of(call_id).reopen(call_id)

    async def note_silence(self, silent_ms: Mapping[str, int], epochs: Mapping[str, int] = NO_EPOCHS) -> None:
        def note(shard: CallStore, own: list[str]) -> Awaitable[None]:
            return shard.note_silence({call_id: silent_ms[call_id] for call_id in own}, epochs)

        await self._reach(list(silent_ms), note)

    async def heartbeat_calls(self, call_ids: Iterable[str]) -> None:
        ids = list(call_ids)
        await self._reach(ids, lambda shard, own: shard.heartbeat_calls(own))

    async def live(self) -> list[str]:
        return _joined(await self._ask(lambda shard: shard.live()))

    async def abandoned(self) -> dict[str, int]:
        found = await self._ask(lambda shard: shard.abandoned())
        return {call_id: touched_ms for lost in found for call_id, touched_ms in lost.items()}

    async def ended(self, call_ids: Sequence[str]) -> set[str]:
        found = await self._reach(list(call_ids), lambda shard, own: shard.ended(own))
        return {call_id for _, ended in found for call_id in ended or ()}

    async def now_ms(self, call_id: str) -> int:
        return await self._of(call_id).now_ms(call_id)

    async def state_fields(self, call_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """See `CallStore.state_fields`; a call whose server is away has no fields, as it may not be lost."""
        found: dict[str, dict[str, str]] = {}
        for own, state_fields in await self._reach(
            list(call_ids), lambda shard, own: shard.state_fields(own), keep=True
        ):
            found |= state_fields if state_fields is not None else {call_id: {} for call_id in own}
        return found

    async def restore(self, record: CallRecord, state_fields: Mapping[str, str], events: Sequence[Message]) -> bool:
        return await self._of(record.call_id).restore(record, state_fields, events)

    async def pools_with_room(self) -> set[str]:
        return set().union(*await self._ask(lambda shard: shard.pools_with_room()))

    async def unheld(self, call_ids: Sequence[str]) -> dict[str, set[str]]:
        """See `CallStore.unheld`; a call whose server is away is left out, as its owners are not known."""
        found = await self._reach(list(call_ids), lambda shard, own: shard.unheld(own))
        return {call_id: pools for _, unheld in found for call_id, pools in (unheld or {}).items()}

    async def add_webhook_fields(self, call_id: str, fields: Mapping[str, str], unknown: bool = True) -> bool:
        return await self._of(call_id).add_webhook_fields(call_id, fields, unknown)

    async def webhook_fields(self, call_id: str) -> dict[str, str]:
        return await self._of(call_id).webhook_fields(call_id)

    async def begin_effect(self, effect: Effect, claim: Claim | None = None) -> Known:
        return await self._of(effect.call_id).begin_effect(effect, claim)

    async def finish_effect(self, effect: Effect, result: str, claim: Claim | None = None) -> Known:
        return await self._of(effect.call_id).finish_effect(effect, result, claim)

    async def remember_nonce(self, nonce: str, digest: str, seconds: int) -> bool:
        return await self._of(nonce).remember_nonce(nonce, digest, seconds)

    async def shared_secret(self) -> bytes:
        return await self._shards[0].shared_secret()

    async def check_write(self, edge: str) -> None:
        """Raises if no server accepts writes: calls of the others are still answered."""
        await self._ask(lambda shard: shard.check_write(edge))

    async def keep_secret(self, secret: bytes) -> None:
        await self._shards[0].keep_secret(secret)

    async def take_offers(self, pool: str, owner: str, count: int, block_ms: int) -> list[tuple[str, str]]:
        taking = self._taking.setdefault((pool, owner), _Taking(self._shards, pool, owner))
        return await taking.next(count, block_ms)

    async def ack_offer(self, pool: str, offer_id: str) -> None:
        number, _, own_id = offer_id.partition("/")
        await self._shards[int(number)].ack_offer(pool, own_id)

    async def claim(self, pool: str, call_id: str, owner: str, take: Take = Take.TRUSTED) -> Claim | None:
        return await self._of(call_id).claim(pool, call_id, owner, take)

    async def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        def renew(shard: CallStore, call_ids: list[str]) -> Awaitable[list[Claim]]:
            own = set(call_ids)
            return shard.renew([claim for claim in claims if claim.call_id in own])

        calls = list(dict.fromkeys(claim.call_id for claim in claims))
        return _joined([lost or [] for _, lost in await self._reach(calls, renew)])

    async def release(self, claim: Claim, left: Left = Left.CLEAN) -> None:
        await self._of(claim.call_id).release(claim, left)

    async def offer(self, pool: str, call_ids: Sequence[str], all_that_wait: bool = False) -> None:
        def of(shard: CallStore) -> list[str]:
            return [call_id for call_id in call_ids if self._of(call_id) is shard]

        await self._ask(lambda shard: shard.offer(pool, of(shard), all_that_wait))

    async def quarantine(self, call: Quarantined) -> None:
        await self._of(call.call_id).quarantine(call)

    async def append(self, claim: Claim, messages: Sequence[Message]) -> bool:
        return await self._of(claim.call_id).append(claim, messages)

    async def save_checkpoint(self, claim: Claim, checkpoint: str) -> bool:
        return await self._of(claim.call_id).save_checkpoint(claim, checkpoint)

    async def try_scan_lock(self, pool: str, owner: str, ms: int) -> bool:
        return any(await self._ask(lambda shard: shard.try_scan_lock(pool, owner, ms)))

    async def orphans(self, pool: str) -> list[str]:
        return _joined(await self._ask(lambda shard: shard.orphans(pool)))

    async def report_room(self, pool: str, owner: str, has_room: bool) -> None:
        await self._ask(lambda shard: shard.report_room(pool, owner, has_room))

    async def report_health(self, pool: str, owner: str, healthy: bool) -> None:
        await self._ask(lambda shard: shard.report_health(pool, owner, healthy))

    async def members(self, pool: str, within_ms: int = READY_STALE_MS) -> Members:
        found = Members()
        for members in await self._ask(lambda shard: shard.members(pool, within_ms)):
            found |= members
        return found

    async def mend(self, edge: str, call_ids: Sequence[str]) -> int:
        groups: dict[CallStore, list[str]] = {shard: [] for shard in self._shards}
        for call_id in call_ids:
            groups[self._of(call_id)].append(call_id)
        return sum(await self._ask(lambda shard: shard.mend(edge, groups[shard])))

    async def heartbeat(self, kind: str, node: str) -> None:
        await self._ask(lambda shard: shard.heartbeat(kind, node))

    def _of(self, call_id: str) -> CallStore:
        return self._shards[redis_keys.shard_index(call_id, len(self._shards))]

    async def _ask(self, question: Callable[[CallStore], Awaitable[T]]) -> list[T]:
        """The answers of the servers that are there.  Raises an error of one if none is."""
        answers = await asyncio.gather(*(_tried(question, shard) for shard in self._shards))
        return _those_there(answers)

    async def _reach(
        self, call_ids: list[str], about: Callable[[CallStore, list[str]], Awaitable[T]], keep: bool = False
    ) -> list[tuple[list[str], T | None]]:
        """(calls, answer) for each server of the calls; with `keep` a server that is away has the answer None."""
        groups: dict[int, list[str]] = {}
        for call_id in call_ids:
            groups.setdefault(redis_keys.shard_index(call_id, len(self._shards)), []).append(call_id)
        tried = await asyncio.gather(*(_tried(about, self._shards[index], own) for index, own in groups.items()))
        if tried:
            _those_there(tried)
        answers: list[tuple[list[str], T | None]] = []
        for own, answer in zip(groups.values(), tried, strict=True):
            if not isinstance(answer, Exception):
                answers.append((own, answer))
            elif keep:
                answers.append((own, None))
        return answers


class _Taking:
    """Reads offers from all servers at once.  An unfinished read is kept for the next call, so no offer is dropped."""

    def __init__(self, shards: list[CallStore], pool: str, owner: str) -> None:
        self._shards = shards
        self._pool = pool
        self._owner = owner
        self._waiting: dict[int, tuple[int, asyncio.Task[list[tuple[str, str]]]]] = {}  # shard -> (count, read)
        self._first = 0

    async def aclose(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for _, read in waiting.values():
            with contextlib.suppress(ConnectionError, TimeoutError):
                await cancel(read)

    async def next(self, count: int, block_ms: int) -> list[tuple[str, str]]:
        """The offers of the first servers that answer; with reads still waiting, at most `count`."""
        self._spread(count, block_ms)
        done, _ = await asyncio.wait(
            [read for _, read in self._waiting.values()], return_when=asyncio.FIRST_COMPLETED, timeout=block_ms / 1000
        )
        offers: list[tuple[str, str]] = []
        failed: list[Exception] = []
        for index, (_, read) in list(self._waiting.items()):
            if read not in done:
                continue
            del self._waiting[index]
            try:
                offers += [(f"{index}/{offer_id}", call_id) for offer_id, call_id in read.result()]
            except (ConnectionError, TimeoutError) as error:
                failed.append(error)
        if failed and not offers:
            if len(failed) == len(self._shards):
                raise failed[0]
            if len(failed) == len(done):
                await asyncio.sleep(min(block_ms / 1000, AWAY_PAUSE_SECONDS))
        return offers

    def _spread(self, count: int, block_ms: int) -> None:
        """Ask every server without a read for its share of the free capacity; if that is small, servers take turns."""
        free = count - sum(share for share, _ in self._waiting.values())
        idle = [index for index in range(len(self._shards)) if index not in self._waiting]
        self._first += 1
        idle = idle[self._first % len(idle) :] + idle[: self._first % len(idle)] if idle else []
        short = len(idle) > free  # some servers must wait for their turn, so each turn is short
        for position, index in enumerate(idle):
            share = (free + len(idle) - 1 - position) // len(idle)
            if share <= 0:
                continue
            wait_ms = min(block_ms, TURN_MS) if short else block_ms
            reading = _read(self._shards[index].take_offers, self._pool, self._owner, share, wait_ms)
            name = f"{self._pool} offers of shard {index}"
            self._waiting[index] = (share, asyncio.create_task(reading, name=name))


AWAY_PAUSE_SECONDS = 0.1
"""Pause before the other servers are asked for offers again, when one is away."""
TURN_MS = 20
"""How long one server is waited for, in ms, while others wait for their turn."""


async def _read(read: Callable[P, Awaitable[T]], *about: P.args, **more: P.kwargs) -> T:
    return await read(*about, **more)  # called here: a task cancelled before its start leaves no coroutine unawaited


async def _tried(ask: Callable[P, Awaitable[T]], *about: P.args, **more: P.kwargs) -> T | Exception:
    try:
        return await ask(*about, **more)
    except (ConnectionError, TimeoutError) as error:
        return error


def _those_there(answers: Sequence[T | Exception]) -> list[T]:
    there = [answer for answer in answers if not isinstance(answer, Exception)]
    if not there:
        raise next(answer for answer in answers if isinstance(answer, Exception))
    return there


def _joined(lists: Iterable[list[T]]) -> list[T]:
    return [item for items in lists for item in items]
