"""Makes one call store of several Redis servers; common/bus/shards.py tells which call is on which.

An operation on one call goes to its server, and fails with it.  An operation on all calls asks every server, takes the
answers of those that are there, and fails only if none is.  What belongs to no call is on the first server: the secret
of the deployment (an edge needs none to start if STREAM_SECRET is set) and the queue of outbound calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from operator import add, or_
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from common.process.tasks import cancel
from common.protocol import redis_keys
from common.redis.url import parse_redis_url
from common.store import NO_EPOCHS, CallStore, Claim
from common.store.ended_calls import ShardedEndedCalls
from common.store.fixed_speech import ShardedFixedSpeech
from common.store.leases_redis import LEASE_MS
from common.store.redis import RedisCallStore

P = ParamSpec("P")
T = TypeVar("T")
PortMethod: TypeAlias = Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]
ShardedMethod: TypeAlias = Callable[Concatenate["ShardedCallStore", P], Coroutine[Any, Any, T]]


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


def _by_call(method: PortMethod[P, T], parameter: str = "call_id") -> ShardedMethod[P, T]:
    """The method on the server of one call: `parameter` is its id, or has it as `call_id`."""
    position = list(inspect.signature(method).parameters).index(parameter) - 1  # `args` has no `self`

    @functools.wraps(method)
    async def ask_one(self: ShardedCallStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        about: Any = kwargs[parameter] if parameter in kwargs else args[position]
        shard = self._of(about if isinstance(about, str) else about.call_id)
        answer: T = await getattr(shard, method.__name__)(*args, **kwargs)
        return answer

    return ask_one


def _either(one: T, _: T) -> T:
    return one


def _everywhere(method: PortMethod[P, T], merge: Callable[[T, T], T] = _either) -> ShardedMethod[P, T]:
    """The method on every server; `merge` joins the answers of two that are there."""

    @functools.wraps(method)
    async def ask_all(self: ShardedCallStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        answers: list[T] = await self._ask(lambda shard: getattr(shard, method.__name__)(*args, **kwargs))
        return functools.reduce(merge, answers)

    return ask_all


class ShardedCallStore:
    """See `common.store.CallStore`.  The caller closes the shards, after this one."""

    def __init__(self, shards: list[CallStore]) -> None:
        self._shards = shards
        self._taking: dict[tuple[str, str], _Taking] = {}
        self.ended_calls = ShardedEndedCalls([shard.ended_calls for shard in shards])
        self.fixed_speech = ShardedFixedSpeech([shard.fixed_speech for shard in shards])
        self.agent_versions = shards[0].agent_versions

    async def aclose(self) -> None:
        """End the reads that still wait for offers; an offer that one of them takes now is repeated after a second."""
        for taking in self._taking.values():
            await taking.aclose()

    create = _by_call(CallStore.create, "record")
    look_up = _by_call(CallStore.look_up)
    read = _by_call(CallStore.read)
    start = _by_call(CallStore.start)
    end = _by_call(CallStore.end)
    note_end = _by_call(CallStore.note_end)
    reopen = _by_call(CallStore.reopen)
    change_transfer = _by_call(CallStore.change_transfer)
    live = _everywhere(CallStore.live, add)
    add_webhook_fields = _by_call(CallStore.add_webhook_fields)
    webhook_fields = _by_call(CallStore.webhook_fields)

    restore = _by_call(CallStore.restore, "record")
    abandoned = _everywhere(CallStore.abandoned, or_)

    async def note_silence(self, silent_ms: Mapping[str, int], epochs: Mapping[str, int] = NO_EPOCHS) -> None:
        def note(shard: CallStore, own: list[str]) -> Awaitable[None]:
            return shard.note_silence({call_id: silent_ms[call_id] for call_id in own}, epochs)

        await self._reach(list(silent_ms), note)

    async def heartbeat_calls(self, call_ids: Iterable[str]) -> None:
        ids = list(call_ids)
        await self._reach(ids, lambda shard, own: shard.heartbeat_calls(own))

    async def ended(self, call_ids: Sequence[str]) -> set[str]:
        found = await self._reach(list(call_ids), lambda shard, own: shard.ended(own))
        return {call_id for _, ended in found for call_id in ended or ()}

    async def state_fields(self, call_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """See `CallStore.state_fields`; a call whose server is away has no fields, as it may not be lost."""
        found: dict[str, dict[str, str]] = {}
        for own, state_fields in await self._reach(
            list(call_ids), lambda shard, own: shard.state_fields(own), keep=True
        ):
            found |= state_fields if state_fields is not None else {call_id: {} for call_id in own}
        return found

    claim = _by_call(CallStore.claim)
    release = _by_call(CallStore.release, "claim")
    quarantine = _by_call(CallStore.quarantine, "call")
    renew = _everywhere(CallStore.renew, or_)
    orphans = _everywhere(CallStore.orphans, add)

    async def offer(self, pool: str, call_ids: Sequence[str], all_that_wait: bool = False) -> None:
        def of(shard: CallStore) -> list[str]:
            return [call_id for call_id in call_ids if self._of(call_id) is shard]

        await self._ask(lambda shard: shard.offer(pool, of(shard), all_that_wait))

    async def take_offers(self, pool: str, owner: str, count: int, block_ms: int) -> list[tuple[str, str]]:
        taking = self._taking.setdefault((pool, owner), _Taking(self._shards, pool, owner))
        return await taking.next(count, block_ms)

    async def ack_offer(self, pool: str, offer_id: str) -> None:
        number, _, own_id = offer_id.partition("/")
        await self._shards[int(number)].ack_offer(pool, own_id)

    async def confirm(self, claims: Sequence[Claim]) -> list[Claim]:
        def confirm(shard: CallStore, call_ids: list[str]) -> Awaitable[list[Claim]]:
            own = set(call_ids)
            return shard.confirm([claim for claim in claims if claim.call_id in own])

        calls = list(dict.fromkeys(claim.call_id for claim in claims))
        return _joined([lost or [] for _, lost in await self._reach(calls, confirm)])

    append = _by_call(CallStore.append, "claim")
    save_checkpoint = _by_call(CallStore.save_checkpoint, "claim")

    begin_effect = _by_call(CallStore.begin_effect, "effect")
    finish_effect = _by_call(CallStore.finish_effect, "effect")

    add_secret_key = _by_call(CallStore.add_secret_key, "key")
    read_secret = _by_call(CallStore.read_secret)

    heartbeat = _everywhere(CallStore.heartbeat)
    members = _everywhere(CallStore.members, or_)
    pools_with_room = _everywhere(CallStore.pools_with_room, or_)

    async def unheld(self, call_ids: Sequence[str]) -> dict[str, set[str]]:
        """See `CallStore.unheld`; a call whose server is away is left out, as its owners are not known."""
        found = await self._reach(list(call_ids), lambda shard, own: shard.unheld(own))
        return {call_id: pools for _, unheld in found for call_id, pools in (unheld or {}).items()}

    remember_nonce = _by_call(CallStore.remember_nonce, "nonce")

    async def shared_secret(self) -> bytes:
        return await self._shards[0].shared_secret()

    async def keep_secret(self, secret: bytes) -> None:
        await self._shards[0].keep_secret(secret)

    check_write = _everywhere(CallStore.check_write)
    """Raises if no server accepts writes: calls of the others are still answered."""

    async def mend(self, edge: str, call_ids: Sequence[str]) -> int:
        groups: dict[CallStore, list[str]] = {shard: [] for shard in self._shards}
        for call_id in call_ids:
            groups[self._of(call_id)].append(call_id)
        return sum(await self._ask(lambda shard: shard.mend(edge, groups[shard])))

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
