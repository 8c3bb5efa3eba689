"""A worker dies or is told to go, in the middle of a call."""

import pytest

from common.protocol.messages import Clause, OwnerChanged, UserTurn
from tests.calls.phone import answered_call

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

ANSWER = "We are open from Monday to Friday from nine to six, and on Saturday from ten to two in the afternoon."
POOLS = ("stt", "llm", "tts")


@pytest.mark.parametrize("pool", POOLS)
async def test_a_member_is_killed_while_nobody_speaks(pool: str):
    async with answered_call({"hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        dead = phone.worker(pool)
        phone.hire(pool)
        await dead.kill()
        await phone.after(3)
        await phone.says("hours")
        await phone.hears("Nine to six.")
        assert phone.heard == "Hello.Nine to six."


@pytest.mark.parametrize("pool", POOLS)
async def test_a_member_is_killed_while_the_agent_speaks(pool: str):
    async with answered_call({"hours": ANSWER}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Monday")
        dead = phone.worker(pool)
        phone.hire(pool)
        await dead.kill()
        await phone.hears("in the afternoon.")
        await phone.silence()
        assert phone.heard.replace(" ", "") == f"Hello.{ANSWER}".replace(" ", "")  # nothing lost, nothing repeated
        clauses = [(message.turn, message.clause) for message in phone.events if isinstance(message, Clause)]
        assert len(clauses) == len(set(clauses))


async def test_the_ears_die_while_the_caller_speaks_and_nothing_is_lost():
    async with answered_call({"i would like to know your opening hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        phone.starts_saying("i would like to know your opening hours")
        await phone.after(1)
        dead = phone.worker("stt")
        phone.hire("stt")
        await dead.kill()
        await phone.hears("Nine to six.")
        turns = [message for message in phone.events if isinstance(message, UserTurn)]
        assert [turn.text for turn in turns] == ["i would like to know your opening hours"]


async def test_the_mind_dies_while_it_thinks_and_the_caller_is_answered():
    async with answered_call({"hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        phone.mind.word_seconds = 1.0
        await phone.says("hours")
        await phone.after(0.9)
        assert phone.mind.open == 1
        dead = phone.worker("llm")
        phone.hire("llm")
        await dead.kill()
        await phone.hears("Nine to six.")
        assert phone.heard == "Hello.Nine to six."


async def test_the_mind_dies_in_the_middle_of_its_answer_and_no_clause_is_said_twice():
    async with answered_call({"hours": "Nine to six on weekdays. Ten to two on Saturday. Closed on Sunday."}) as phone:
        await phone.hears("Hello.")
        phone.mind.word_seconds = 0.3
        await phone.says("hours")
        await phone.hears("weekdays.")
        dead = phone.worker("llm")
        phone.hire("llm")
        await dead.kill()
        await phone.hears("Closed on Sunday.")
        assert phone.heard.count("Nine to six") == 1
        clauses = [(message.turn, message.clause) for message in phone.events if isinstance(message, Clause)]
        assert len(clauses) == len(set(clauses))


@pytest.mark.parametrize("pool", POOLS)
async def test_a_member_that_is_told_to_go_hands_over_within_milliseconds(pool: str):
    async with answered_call({"hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        leaving = phone.worker(pool)
        phone.hire(pool)
        now = phone.call._ticker.now_ms()
        await leaving.stop()
        while not _owners(phone, pool)[1:]:
            await phone.after(0.01)
        assert phone.call._ticker.now_ms() - now < 200
        await phone.says("hours")
        await phone.hears("Nine to six.")


async def test_a_member_whose_lease_ran_out_and_was_replaced_drops_the_call():
    async with answered_call({"hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        slow = phone.worker("llm")
        phone.store.leases.until_ms.clear()  # as if it had been stopped (SIGSTOP) for two seconds
        phone.hire("llm")
        assert await phone.store.claim("llm", "call-1", "somebody else") is not None
        await phone.after(0.6)  # less than the lease of somebody else
        assert slow.runner._held == {}


def _owners(phone, pool: str) -> list[str]:
    return [message.owner for message in phone.events if isinstance(message, OwnerChanged) and message.pool == pool]
