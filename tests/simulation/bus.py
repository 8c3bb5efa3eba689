"""One process' way to the simulated Redis: its bus and its ledger, with the faults of a network.

Two lanes, each with a writer that gathers and a reader that pauses, as in common/bus/redis.py.  Order holds within a
stream, and between streams only by chance.  What may go wrong:

  cut        nothing leaves or arrives; what is published waits.  Afterwards the last batch may be written once more,
             as by the real writer, which cannot know whether the server had it
  stall      one lane's reader stands still
  echo       an entry is delivered twice, or older entries once more
  doubt      a call of the ledger raises TimeoutError, before or after it took effect
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

from common.bus import START, Failed, Receive
from common.protocol.messages import Message
from common.protocol.redis_keys import is_priority
from tests.simulation.processes import Process
from tests.simulation.server import SimulatedLedger, SimulatedStreams

OUTBOX_MAX = 100_000
"""As PENDING_MAX of the real writer."""
ECHO_ENTRIES_MAX = 30
"""How far back old entries may come again."""
CUT_ANSWER_SECONDS = 0.05
"""How soon a ledger that cannot be reached says so."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How the network is for one process."""

    media_s: tuple[float, float] = (0.0005, 0.003)
    """Least and longest pause of the reader of all but the priority streams."""
    priority_s: tuple[float, float] = (0.0, 0.001)
    flush_s: float = 0.001
    ledger_s: tuple[float, float] = (0.0, 0.0)
    echo: float = 0.0
    """How likely an entry is delivered twice."""
    old_echo: float = 0.0
    """How likely a read brings older entries once more."""


@dataclass(slots=True, eq=False)
class _Subscription:
    lane: Lane
    stream: str
    receive: Receive
    failed: Failed
    start: int
    position: int
    closed: bool = False

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.lane.forget(self)


@dataclass(slots=True)
class Network:
    """What the process' connections share."""

    process: Process
    random: Random
    weather: Weather
    cut_since: float = 0.0
    cut_until: float = 0.0
    doubt_until: float = 0.0
    doubt: float = 0.0
    """How likely a ledger call fails while in doubt."""

    @property
    def now(self) -> float:
        return self.process.loop.time()

    @property
    def cut(self) -> bool:
        return self.cut_until > self.now


class Lane:
    """A writing and a reading connection."""

    def __init__(self, network: Network, streams: SimulatedStreams, pause_s: tuple[float, float], flush_s: float):
        self._network = network
        self._streams = streams
        self._pause_s = pause_s
        self._flush_s = flush_s
        self._pending: list[tuple[str, Message]] = []
        self._last: list[tuple[str, Message]] = []
        self._flushing = self._woken = False
        self._subscriptions: dict[str, list[_Subscription]] = {}
        self.stalled_until = 0.0
        self.delivered: Callable[[str, Message], None] | None = None
        """Told of each message before its subscriber."""

    @property
    def waiting(self) -> int:
        """Messages that have not left yet."""
        return len(self._pending)

    def publish(self, stream: str, message: Message) -> None:
        if self._network.process.dead:
            return
        self._pending.append((stream, message))
        assert len(self._pending) <= OUTBOX_MAX
        if not self._flushing:
            self._flushing = True
            self._network.process.later(self._flush_s, self._flush)

    def cut(self) -> None:
        """The connection is lost: was the last batch written?  Its writer cannot know."""
        if self._last and self._network.random.random() < 0.5:
            self._pending[:0] = self._last
            self._last = []
            if not self._flushing:
                self._flushing = True
                self._network.process.later(0, self._flush)

    def _flush(self) -> None:
        network = self._network
        if network.process.dead:
            return
        if network.cut:
            network.process.later(network.cut_until - network.now, self._flush)
            return
        self._flushing = False
        self._last, self._pending = self._pending, []
        for stream, message in self._last:
            self._streams.append(stream, message)

    def add(self, subscription: _Subscription) -> None:
        self._subscriptions.setdefault(subscription.stream, []).append(subscription)
        self._streams.follow(subscription.stream, self)
        self.wake()

    def forget(self, subscription: _Subscription) -> None:
        subscribers = self._subscriptions[subscription.stream]
        subscribers.remove(subscription)
        if not subscribers:
            del self._subscriptions[subscription.stream]
            self._streams.forget(subscription.stream, self)

    def wake(self) -> None:
        """There may be something new."""
        if self._woken or self._network.process.dead:
            return
        self._woken = True
        network = self._network
        pause = network.random.uniform(*self._pause_s)
        free = max(self.stalled_until, network.cut_until) - network.now
        network.process.later(max(pause, free), self._deliver)

    def _deliver(self) -> None:
        self._woken = False
        network = self._network
        if network.process.dead:
            return
        if max(self.stalled_until, network.cut_until) > network.now:
            self.wake()
            return
        names = list(self._subscriptions)
        if len(names) > 1:
            network.random.shuffle(names)
        for stream in names:
            for subscription in list(self._subscriptions.get(stream, ())):
                fresh = self._streams.after(stream, subscription.position)
                if fresh:
                    self._echo_old(stream, subscription)
                    self._hand_over(stream, subscription, fresh)

    def _hand_over(self, stream: str, subscription: _Subscription, entries: list[tuple[int, Message]]) -> None:
        echo, random = self._network.weather.echo, self._network.random
        for number, message in entries:
            for _ in range(2 if echo and random.random() < echo else 1):
                if subscription.closed:
                    return
                subscription.position = max(subscription.position, number)
                if self.delivered is not None:
                    self.delivered(stream, message)
                try:
                    subscription.receive(f"{number}-0", message)
                except Exception as error:  # noqa: BLE001 - as the real one: it ends this subscription only
                    subscription.close()
                    subscription.failed(error)

    def _echo_old(self, stream: str, subscription: _Subscription) -> None:
        weather, random = self._network.weather, self._network.random
        if weather.old_echo and random.random() < weather.old_echo:
            known = self._streams.after(stream, subscription.start)
            known = [entry for entry in known if entry[0] <= subscription.position][-ECHO_ENTRIES_MAX:]
            if known:
                self._hand_over(stream, subscription, known[random.randrange(len(known)) :])


class ProcessBus:
    """See `common.bus.Bus`."""

    def __init__(self, network: Network, streams: SimulatedStreams) -> None:
        self._network = network
        self._streams = streams
        weather = network.weather
        self.media = Lane(network, streams, weather.media_s, weather.flush_s)
        self.priority = Lane(network, streams, weather.priority_s, 0.0)
        self.told: Callable[[str, Message], None] | None = None
        """Told of each message that is published."""

    @property
    def connected(self) -> bool:
        return not self._network.cut

    def away_s(self, call_id: str = "") -> float:
        """For how long nothing got through."""
        network = self._network
        return network.now - network.cut_since if network.cut else 0.0

    def publish(self, stream: str, message: Message) -> None:
        if self.told is not None and not self._network.process.dead:
            self.told(stream, message)
        self._lane(stream).publish(stream, message)

    def subscribe(self, stream: str, receive: Receive, failed: Failed, after: str = START) -> _Subscription:
        position = int(after.partition("-")[0])
        lane = self._lane(stream)
        subscription = _Subscription(lane, stream, receive, failed, position, position)
        lane.add(subscription)
        return subscription

    async def read(self, stream: str, after: str = START) -> list[tuple[str, Message]]:
        await asyncio.sleep(0)
        if self._network.cut or self._network.process.dead:
            raise ConnectionError("cut off")
        position = int(after.partition("-")[0])
        return [(f"{number}-0", message) for number, message in self._streams.after(stream, position)]

    def cut(self, seconds: float) -> None:
        """Nothing leaves or arrives for so long."""
        if not self._network.cut:
            self._network.cut_since = self._network.now
        self._network.cut_until = max(self._network.cut_until, self._network.now + seconds)
        for lane in (self.media, self.priority):
            lane.cut()

    def _lane(self, stream: str) -> Lane:
        return self.priority if is_priority(stream) else self.media


@dataclass(slots=True)
class ProcessLedger:
    """See `common.store.Ledger`: every method of the shared one, over this process' network."""

    network: Network
    store: SimulatedLedger
    answered: Callable[[str, Any], None] | None = None
    """Told of each answer that arrives."""

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.store, name)
        if not callable(operation):
            return replace(self, store=operation)  # a port of its own, over the same network

        async def call(*arguments: Any, **named: Any) -> Any:
            return await self._ask(name, partial(operation, **named) if named else operation, arguments)

        return call

    async def _ask(self, name: str, operation: Callable[..., Awaitable[Any]], arguments: Sequence[Any]) -> Any:
        network = self.network
        await asyncio.sleep(network.random.uniform(*network.weather.ledger_s))
        if network.cut or network.process.dead:
            await asyncio.sleep(CUT_ANSWER_SECONDS)
            raise ConnectionError("cut off")
        doubt = network.doubt_until > network.now and network.random.random() < network.doubt
        if doubt and network.random.random() < 0.5:
            await asyncio.sleep(network.random.uniform(0.1, 3.0))
            raise TimeoutError("the ledger did not answer")
        answer = await operation(*arguments)
        if network.process.dead:
            raise ConnectionError("killed")
        if doubt:
            await asyncio.sleep(network.random.uniform(0.1, 3.0))
            raise TimeoutError("the ledger did not answer, but did it")
        if self.answered is not None:
            self.answered(name, answer)
        return answer
