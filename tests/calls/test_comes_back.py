"""A call comes back to a member that held it before, or is held by one that cannot hear it."""

import asyncio

import pytest

from common.bus import START, Failed, Receive, Subscription
from common.bus.memory import MemoryBus
from common.protocol.messages import CallOffered, OwnerChanged, UserTurn
from common.protocol.redis_keys import call_audio, pool_calls
from tests.calls.phone import CALL, Phone, answered_call

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

POOLS = ("stt", "llm", "tts")


async def goes_to_another_and_comes_back(phone: Phone, pool: str) -> None:
    """A -> B -> A: A has the lease no more and does not know it; B had the call for a moment and gave it back."""
    await phone.store.release(phone.worker(pool).runner._held[CALL].claim)  # twice in seconds, and no owner is lost
    claim = await phone.store.claim(pool, CALL, "another member")
    assert claim is not None
    await phone.until(lambda: not phone.worker(pool).runner._held, "A to notice")
    await phone.store.release(claim)
    phone.bus.publish(pool_calls(pool), CallOffered(CALL))
    await phone.until(lambda: phone.worker(pool).runner._held, "A to take it again")


@pytest.mark.parametrize("goodbye_s", [0.0, 0.2, 1.0, 3.0])
async def test_a_call_that_comes_back_is_heard_while_its_older_session_says_goodbye(goodbye_s: float):
    async with answered_call({"hours": "Nine to six.", "thanks": "Bye."}) as phone:
        phone.ears.goodbye_seconds = goodbye_s
        await phone.hears("Hello.")
        await goes_to_another_and_comes_back(phone, "stt")
        await phone.after(goodbye_s + 0.2)  # by now the older session has left
        await phone.says("hours")
        await phone.hears("Nine to six.")
        await phone.says("thanks")
        await phone.hears("Bye.")


async def test_a_call_that_comes_back_twice_is_heard():
    async with answered_call({"hours": "Nine to six."}) as phone:
        phone.ears.goodbye_seconds = 1.5
        await phone.hears("Hello.")
        for _ in range(2):
            await goes_to_another_and_comes_back(phone, "stt")
        await phone.after(2)
        await phone.says("hours")
        await phone.hears("Nine to six.")


@pytest.mark.parametrize("pool", ["llm", "tts"])
async def test_a_call_that_comes_back_is_answered(pool: str):
    async with answered_call({"hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        await goes_to_another_and_comes_back(phone, pool)
        await phone.says("hours")
        await phone.hears("Nine to six.")


class DeafBus(MemoryBus):
    """Its subscriptions to a call's audio are there, and nothing comes by them."""

    deaf = True

    def subscribe(self, stream: str, receive: Receive, failed: Failed, after: str = START) -> Subscription:
        def hear(entry_id: str, message: object) -> None:
            if not self.deaf or stream != call_audio(CALL):
                receive(entry_id, message)  # type: ignore[arg-type]

        return super().subscribe(stream, hear, failed, after)


class RedisAway(DeafBus):
    """Nothing comes by, because Redis is away."""

    def away_s(self, call_id: str = "") -> float:
        return 3.0 if self.deaf else 0.0


def owners(phone: Phone) -> list[str]:
    return [message.owner for message in phone.events if isinstance(message, OwnerChanged) and message.pool == "stt"]


async def test_a_holder_that_does_not_hear_a_live_line_gives_the_call_up():
    async with answered_call({"hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        bus = DeafBus(phone.streams)
        await phone.worker("stt").kill()
        deaf = phone.hire("stt", bus)
        await phone.until(lambda: deaf.runner._held, "the deaf member to take the call")
        took_s = asyncio.get_running_loop().time()
        await phone.after(2.2)
        assert deaf.runner._held, "less than that is no proof"
        phone.hire("stt")
        first = deaf.runner._held[CALL].claim
        await phone.until(
            lambda: CALL not in deaf.runner._held or deaf.runner._held[CALL].claim is not first, "its end"
        )
        assert asyncio.get_running_loop().time() - took_s < 4, "the caller has been in silence for long enough"
        await deaf.kill()  # whoever is well may be faster, or not
        await phone.says("hours")
        await phone.hears("Nine to six.")
        assert len(owners(phone)) >= 3, "it was taken over"


async def test_a_holder_that_is_deaf_for_a_moment_hears_again_by_itself():
    async with answered_call({"hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        bus = DeafBus(phone.streams)
        await phone.worker("stt").kill()
        deaf = phone.hire("stt", bus)
        await phone.until(lambda: deaf.runner._held, "the deaf member to take the call")
        await phone.after(3.2)
        bus.deaf = False
        await phone.says("hours")
        await phone.hears("Nine to six.")
        assert [message.text for message in phone.events if isinstance(message, UserTurn)] == ["hours"]


async def test_a_holder_keeps_a_call_of_whose_line_nothing_is_written():
    """The edge is dead, and the carrier has not come back: nobody would hear more."""
    async with answered_call({"hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        before = owners(phone)
        await phone.edge_dies(away_seconds=8)
        assert owners(phone) == before
        await phone.says("hours")
        await phone.hears("Nine to six.")
        assert owners(phone) == before


async def test_a_holder_keeps_a_call_whose_caller_is_muted():
    """The carrier sends no media; the edge writes the silence."""
    async with answered_call({"hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        phone.muted = True
        before = owners(phone)
        await phone.after(10)
        assert owners(phone) == before
        await phone.says("hours")
        await phone.hears("Nine to six.")


async def test_a_holder_keeps_its_calls_while_redis_is_away():
    async with answered_call({"hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        bus = RedisAway(phone.streams)
        await phone.worker("stt").kill()
        cut_off = phone.hire("stt", bus)
        cut_off.runner._bus = MemoryBus(phone.streams)  # it took the call before Redis went
        await phone.until(lambda: cut_off.runner._held, "the member to take the call")
        before = owners(phone)
        await phone.after(10)
        assert owners(phone) == before


class CannotRead(DeafBus):
    """The server answers nothing that it is asked."""

    async def read(self, stream: str, after: str = START) -> list:
        raise TimeoutError


async def test_a_question_that_redis_does_not_answer_proves_nothing():
    async with answered_call() as phone:
        await phone.hears("Hello.")
        await phone.silence()
        await phone.worker("stt").kill()
        member = phone.hire("stt", CannotRead(phone.streams))
        await phone.until(lambda: member.runner._held, "the member to take the call")
        before = owners(phone)
        await phone.after(10)
        assert owners(phone) == before


@pytest.mark.parametrize("leaves", ["the lease is lost", "the call ends"])
async def test_a_vendor_that_is_gone_at_the_goodbye_leaves_no_task_behind(leaves: str):
    async with answered_call() as phone:
        phone.ears.goodbye_fails = True
        await phone.hears("Hello.")
        if leaves == "the lease is lost":
            await goes_to_another_and_comes_back(phone, "stt")
            expected = 1
        else:
            phone.call.end("caller hung up")
            expected = 0
        await phone.after(3)
        watching = [task for task in asyncio.all_tasks() if task.get_name() == f"audio watch {CALL}"]
        assert len(watching) == expected
