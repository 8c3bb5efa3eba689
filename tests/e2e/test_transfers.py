"""Transfers over real sockets: the simulated carrier with its own XML, conferences and signatures, and a real edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from common.agents.acts import TransferTarget
from common.agents.model import Agent, Agents, GreetingAfter
from common.protocol.acts import SendKeys, ToolReturned, TransferCall, TransferUpdated
from common.protocol.messages import CallEnded, CallStarted
from common.protocol.redis_keys import call_events, edge_priority
from common.store.outbound_memory import MemoryOutboundQueue
from edge.outbound.dialer import Dialer, DialerOptions
from edge.vobiz.rest.client import VobizClient
from edge.vobiz.rest.transport import CarrierOptions as RestOptions
from simulators.carrier import Callee, Carrier, CarrierOptions
from simulators.carrier.hooks import HookHabits
from simulators.carrier.record import CallRecord
from tests.e2e.loopback_edge import EDGE, SECRET, Edge, Reader, running_edge
from tools.ports import free_port

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

PERSON, OURS = "+911234567892", "+911234567890"
SCALE = 0.1
"""Of the carrier's waits; the talk that counts as one is measured in real time by the edge."""
TALKS = Callee(ring_ms=2_000, talk_ms=33_000, digits="1", hangs_up_after_ms=600_000)


@dataclass
class Deployment:
    """The carrier, the edge, and one caller who is with the agent."""

    carrier: Carrier
    edge: Edge
    call: CallRecord
    log: Reader

    def orders(self, order: TransferCall | SendKeys) -> None:
        self.edge.workers.publish(edge_priority(EDGE), order)

    def transfer(self, **more: str) -> None:
        self.orders(TransferCall(self.call.call_id, 1, 1, 3, 1, "sales", **more))

    async def result(self) -> tuple[str, str]:
        (returned,) = await self.log.until(ToolReturned)
        return returned.outcome, returned.result

    @property
    def states(self) -> list[str]:
        return [message.state for message in self.log.got if isinstance(message, TransferUpdated)]

    def hangs_up(self) -> None:
        self.carrier.live[self.call.call_id].hang_up(4000, "Caller")


@asynccontextmanager
async def deployment(person: Callee, target: TransferTarget, **more: object) -> AsyncIterator[Deployment]:
    agent = Agent(
        "desk", "Hello.", "Be brief.", numbers=("*",), greeting_after_ms=GreetingAfter(0, 0), transfer={"sales": target}
    )
    hooks = HookHabits(doubled=frozenset({"dial", "conference", "hangup", "ring"}))
    options = CarrierOptions(
        callees={PERSON: person}, numbers=(OURS,), time_scale=SCALE, hangup_delay_ms=200, hooks=hooks, **more
    )  # type: ignore[arg-type]
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with Carrier(options) as carrier:
        account = RestOptions(options.auth_id, options.auth_token, carrier.api_url)
        async with VobizClient(account) as client, VobizClient(replace(account, attempts_max=1)) as placing:
            settings = DialerOptions(url, calls_per_second=20.0, secret=SECRET, poll_s=0.02)
            dialer = Dialer(EDGE, MemoryOutboundQueue(3600), (client, placing), settings)
            dialing = asyncio.create_task(dialer.run())
            try:
                async with running_edge(
                    Agents({"desk": agent}), port=port, public_url=url, tokens=(options.auth_token,), dialer=dialer
                ) as edge:
                    caller = Callee(talk_ms=600_000, hangs_up_after_ms=600_000)
                    call = carrier.phone(f"{url}/answer", hangup_url=f"{url}/hangup", to_number=OURS, callee=caller)
                    log = edge.follow(call_events(call.call_id))
                    await log.until(CallStarted)
                    yield Deployment(carrier, edge, call, log)
            finally:
                dialing.cancel()
                await asyncio.wait([dialing])


async def test_cold_the_person_hears_the_whisper_and_talks_with_the_caller() -> None:
    target = TransferTarget(PERSON, whisper="A caller from the web site.")
    async with deployment(TALKS, target) as at:
        at.transfer()
        assert (await at.result())[0] == "done"
        await at.call.over(30)
        assert at.states == ["asked", "dialled", "answered", "joined", "over"]
        assert at.call.verbs == ["Stream", "Redirect", "Dial", "Hangup"]
        assert [(leg["status"], leg["heard"]) for leg in at.call.dialled] == [("completed", [target.whisper])]
        assert [ended.reason for ended in await at.log.until(CallEnded)] == ["transferred"]
        assert not [request for request in at.carrier.requests if request.method == "POST"]  # no REST was needed


@pytest.mark.parametrize(
    ("person", "words"),
    [
        (Callee("busy"), "The line is busy."),
        (Callee("no-answer"), "Nobody answered."),
        (Callee("rejects"), "The person did not take the call."),
        (Callee(talk_ms=500), "The person hung up at once, or a mailbox answered."),
        (Callee("machine", talk_ms=8_000), "The person hung up at once, or a mailbox answered."),
    ],
    ids=["busy", "no answer", "rejects", "hangs up at once", "a short mailbox"],
)
async def test_cold_the_caller_is_back_with_the_agent(person: Callee, words: str) -> None:
    async with deployment(person, TransferTarget(PERSON, ring_s=5)) as at:
        at.transfer()
        assert await at.result() == ("failed", words)
        again = (await at.log.until(CallStarted, 2))[1]
        assert again.epoch == 2
        at.hangs_up()
        await at.call.over(30)
        assert at.states[-1] == "failed"
        assert len(at.call.dialled) == 1


async def test_warm_the_person_accepts_and_both_meet_in_one_room() -> None:
    async with deployment(TALKS, TransferTarget(PERSON, mode="warm")) as at:
        at.transfer(reason="The caller has lost a parcel.")
        assert (await at.result())[0] == "done"
        await at.call.over(30)
        assert at.states[:2] == ["asked", "dialled"]
        assert at.states[-3:] == ["answered", "joined", "over"]
        person = next(call for call in at.carrier.calls.values() if call.direction == "outbound")
        await person.over(30)
        assert person.spoken[0] == "The caller has lost a parcel."
        assert {frozenset(pair) for pair in at.carrier.rooms.meetings} == {frozenset({at.call.call_id, person.call_id})}
        assert not at.carrier.rooms.rooms


@pytest.mark.parametrize(
    "person", [Callee("busy"), Callee(digits="2"), Callee(says=("no thanks",)), Callee(hangs_up_after_ms=100)]
)
async def test_warm_the_caller_never_left(person: Callee) -> None:
    async with deployment(person, TransferTarget(PERSON, mode="warm")) as at:
        at.transfer()
        assert (await at.result())[0] == "failed"
        assert at.call.verbs == ["Stream"]
        at.hangs_up()
        await at.call.over(30)
        assert len(at.carrier.calls) == 2


async def test_warm_a_person_who_hangs_up_in_the_room_gives_the_caller_back() -> None:
    async with deployment(replace(TALKS, talk_ms=2_000), TransferTarget(PERSON, mode="warm")) as at:
        at.transfer()
        assert (await at.result())[0] == "failed"
        assert (await at.log.until(CallStarted, 2))[1].epoch == 2
        at.hangs_up()
        await at.call.over(30)


async def test_keys_are_sent_once_although_the_order_comes_twice() -> None:
    async with deployment(TALKS, TransferTarget(PERSON)) as at:
        for _ in range(2):
            at.orders(SendKeys(at.call.call_id, 1, 1, 3, 1, "12w#"))
        assert await at.result() == ("done", "The keys were sent.")
        at.orders(SendKeys(at.call.call_id, 1, 1, 3, 1, "12w#"))
        await at.log.until(ToolReturned, 2)  # the same result again
        assert at.call.digits == ["12w#"]
        at.hangs_up()
        await at.call.over(30)
