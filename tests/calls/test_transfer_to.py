"""The model hands the call to another agent: what that one is told, and when nothing comes of it."""

from dataclasses import replace

import pytest

from common.agents.model import Agent
from common.protocol.acts import AgentChanged
from tests.calls.phone import answered_call
from tests.calls.test_tools import agent, asked
from workers.llm.tools.due import YOURS

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

HANDED = f"[transfer_to has returned: {YOURS.format('billing')}]"


def desk_and_billing() -> Agent:
    billing = Agent("billing", "Hello.", "You know the bills.")
    return replace(agent(transfer_to=["billing"]), others={"billing": billing})


@pytest.mark.parametrize("dies", [False, True])
async def test_another_agent_takes_the_call_and_knows_what_was_said(dies: bool):
    answers = {"my bill": 'I hand you over. <transfer_to {"agent": "billing"}>', HANDED: "Billing here. It is paid."}
    async with answered_call(answers, agent=desk_and_billing()) as phone:
        await asked(phone, "my bill")
        if dies:
            dead = phone.worker("llm")
            phone.hire("llm")
            await dead.kill()
        await phone.hears("Billing here.It is paid.")
        chat = phone.mind.asked[-1]
        assert chat[0]["content"] == "You know the bills."
        assert [message["content"] for message in chat[1:4]] == ["Hello.", "my bill", "I hand you over."]
        assert phone.mind.offered[-1] == ["end_call"], "its own tools"
        assert [(event.turn, event.name) for event in phone.events if isinstance(event, AgentChanged)] == [
            (3, "billing")
        ]


async def test_a_caller_who_interrupts_the_hand_over_keeps_the_agent():
    answers = {"my bill": 'I hand you over to our billing. <transfer_to {"agent": "billing"}>', "no wait": "Yes?"}
    async with answered_call(answers, agent=desk_and_billing()) as phone:
        await asked(phone, "my bill")
        await phone.hears("I hand")
        await phone.says("no wait")
        await phone.hears("Yes?")
        assert not [event for event in phone.events if isinstance(event, AgentChanged)]
        assert phone.mind.asked[-1][0]["content"] == "x"
