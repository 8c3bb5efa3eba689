"""Nobody of a pool is there: the caller hears so, instead of silence."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from common.process.tasks import cancel
from common.store.memory import MemoryCallStore
from common.telemetry import metrics
from edge.session.admission.pool_watch import PoolWatch
from edge.session.admission.unserved import Waits
from edge.session.lifecycle import State
from tests.calls.phone import Phone, answered_call

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

WAITS = Waits(offer_ms=4000, takeover_ms=15_000)
POOLS = ("stt", "llm", "tts")


class Understaffed(Phone):
    """A call whose edge finds nobody of one pool."""

    without = ""

    def hire(self, pool: str, really: bool = False):  # type: ignore[no-untyped-def]
        return super().hire(pool) if really or pool != self.without else None


@asynccontextmanager
async def watched(phone: Phone) -> AsyncIterator[PoolWatch]:
    watch = PoolWatch(phone.calls, phone.store, WAITS)
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        await cancel(task)


async def given_up(phone: Phone) -> str:
    """The reason for which the edge has the call ended."""
    async with asyncio.timeout(60):
        await phone.call.reaches(State.STOPPING)
        return phone.call.lifecycle.reason


@pytest.mark.parametrize("pool", POOLS)
async def test_a_new_call_that_nobody_takes_ends_after_four_seconds(pool: str):
    phone = Understaffed()
    phone.without = pool
    await phone.start()
    began = asyncio.get_running_loop().time()
    async with watched(phone):
        assert await given_up(phone) == "no worker"
    waited = asyncio.get_running_loop().time() - began
    assert 4 <= waited < 4.3, f"the apology is due within 5 s, and the carrier asks for it first: {waited:.1f}"
    await phone.close()


@pytest.mark.parametrize("pool", POOLS)
async def test_a_call_whose_worker_died_waits_for_the_next_and_goes_on(pool: str):
    async with answered_call({"hours": "Nine to six."}) as phone, watched(phone) as watch:
        await phone.hears("Hello.")
        await phone.silence()
        await phone.worker(pool).kill()
        await phone.after(4)
        assert watch.missing() == pool
        assert phone.calls.busy("another call") == f"no {pool}"
        assert phone.calls.refusal(phone.call.call_id) == "", "the caller who is there may come back"
        await phone.after(5)
        phone.hire(pool)
        await phone.after(2)
        assert watch.missing() == phone.calls.busy("another call") == ""
        await phone.says("hours")
        await phone.hears("Nine to six.")


@pytest.mark.parametrize("pool", POOLS)
async def test_a_call_whose_worker_has_no_successor_ends(pool: str):
    async with answered_call() as phone, watched(phone):
        await phone.hears("Hello.")
        await phone.worker(pool).kill()
        began = asyncio.get_running_loop().time()
        assert await given_up(phone) == "no worker"
        assert 15 <= asyncio.get_running_loop().time() - began < 19


async def test_a_call_with_tools_that_nobody_runs_goes_on_and_is_counted():
    """The agent still talks: the model is told that the tool did not answer."""
    before = metrics.CALLS_UNSERVED.labels("tools")._value.get()
    async with answered_call({"hours": "Nine to six."}, more_pools="tools") as phone, watched(phone):
        await phone.hears("Hello.")
        await phone.after(40)
        assert metrics.CALLS_UNSERVED.labels("tools")._value.get() == before + 1
        assert phone.calls.busy("another call") == "", "and such a call is answered"
        await phone.says("hours")
        await phone.hears("Nine to six.")


async def test_a_worker_that_got_sigterm_is_known_to_be_gone_at_once():
    async with answered_call() as phone, watched(phone) as watch:
        await phone.hears("Hello.")
        await phone.after(2)
        assert watch.missing() == ""
        await phone.worker("llm").stop()
        await phone.after(1.1)
        assert watch.missing() == "llm"


async def test_a_full_pool_takes_no_calls_and_keeps_those_it_has():
    async with answered_call({"hours": "Nine to six."}) as phone, watched(phone) as watch:
        await phone.hears("Hello.")
        phone.worker("tts").runner.draining = True  # as if its places were taken
        await phone.after(2)
        assert watch.missing() == "tts"
        await phone.after(20)
        await phone.says("hours")
        await phone.hears("Nine to six.")


class AwayLedger(MemoryCallStore):
    """Does not answer this edge's questions while `away`."""

    away = False

    async def pools_with_room(self) -> set[str]:
        if self.away:
            raise ConnectionError("away")
        return await super().pools_with_room()


async def test_while_redis_is_away_nobody_is_given_up():
    async with answered_call({"hours": "Nine to six."}) as phone:
        store = AwayLedger(phone.streams)
        store._calls, store.leases = phone.store._calls, phone.store.leases
        watch = PoolWatch(phone.calls, store, WAITS)
        task = asyncio.create_task(watch.run())
        await phone.hears("Hello.")
        store.away = True
        await phone.after(30)
        store.away = False
        await phone.says("hours")
        await phone.hears("Nine to six.")
        await cancel(task)


async def test_without_a_wait_the_edge_does_not_look():
    phone = Understaffed()
    phone.without = "llm"
    await phone.start()
    watch = PoolWatch(phone.calls, phone.store, Waits(offer_ms=0))
    await watch.run()
    await phone.after(10)
    assert watch.missing() == phone.calls.busy() == ""
    assert not phone.call.lifecycle.over
    await phone.close()
