"""The agent uses tools in a call: what the model is told, what the caller hears meanwhile, and who dies."""

import json

import pytest

from common.agents.model import Agent, parse
from common.protocol.acts import ToolSays, ToolsCalled, ToolsOffered, TransferCall
from common.protocol.messages import Clause
from common.protocol.redis_keys import call_events, edge_priority
from tests.calls.phone import Phone, answered_call, folded_replies
from workers.llm.chat import PENDING
from workers.llm.reply_run import GIVE_UP_SECONDS, NO_ANSWER
from workers.llm.tools.builtin import function
from workers.llm.tools.calls import FIRST_THE_OTHERS, ROUNDS_MAX, SAME_CALL
from workers.llm.tools.due import INTERRUPTED

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

ORDER = '<order_status {"order_id": "7"}>'
BOOK = '<book {"day": "Monday"}>'


def agent(**more: object) -> Agent:
    request = {"url": "https://shop.example.com/x"}
    order = {"http": request, "parameters": {"order_id": {}}, "meanwhile": ["One moment.", "Still looking."]}
    book = {"http": request, "parameters": {"day": {}}, "timeout_s": 3, "filler_after_ms": 0}
    document = {
        "name": "shop",
        "greeting": "Hello.",
        "instructions": "x",
        "tools": {"order_status": order, "book": book},
    }
    found, problems = parse(document | more)
    assert found is not None, problems
    return found


def results(phone: Phone) -> list[tuple[str, str]]:
    """Outcome and text of the results, those that count."""
    replies = folded_replies(phone.events).values()
    return [(str(each.outcome), each.result) for reply in replies for _, each in sorted(reply.tools.results.items())]


def calls(phone: Phone) -> list[str]:
    return [name for event in phone.events if isinstance(event, ToolsCalled) for _, name, _ in event.calls]


async def asked(phone: Phone, question: str = "my order") -> None:
    """The caller asks, and the tool is called."""
    await phone.hears("Hello.")
    await phone.silence()
    before = len(calls(phone))
    await phone.says(question)
    await phone.until(lambda: len(calls(phone)) > before, "a tool to be called")


async def test_the_answer_uses_what_the_tool_returned():
    answers = {"my order": f"Let me see. {ORDER}", "on its way": "It is on its way."}
    async with answered_call(answers, agent=agent()) as phone:
        await asked(phone)
        await phone.hears("Let me see.")
        phone.tool_returns("on its way")
        await phone.hears("It is on its way.")
        assert phone.heard == "Hello.Let me see.It is on its way."
        *_, chat = phone.mind.asked
        assert [message["role"] for message in chat] == ["system", "assistant", "user", "assistant", "tool"]
        assert chat[3]["content"] == "Let me see."
        (called,) = chat[3]["tool_calls"]
        assert called["function"] == {"name": "order_status", "arguments": '{"order_id": "7"}'}
        assert chat[4] == {"role": "tool", "tool_call_id": called["id"], "content": "on its way"}
        assert phone.mind.offered[-1] == ["end_call", "order_status", "book"]


async def test_the_next_question_is_asked_with_the_tool_and_its_result_in_the_history():
    answers = {"my order": f"Let me see. {ORDER}", "on its way": "It is on its way.", "thanks": "Bye."}
    async with answered_call(answers, agent=agent()) as phone:
        await asked(phone)
        phone.tool_returns("on its way")
        await phone.hears("It is on its way.")
        await phone.silence()
        await phone.asks("thanks", "Bye.")
        roles = [message["role"] for message in phone.mind.asked[-1]]
        assert roles == ["system", "assistant", "user", "assistant", "tool", "assistant", "user"]
        assert phone.mind.asked[-1][5]["content"] == "It is on its way."


async def test_a_slow_tool_is_bridged_by_sentences_in_turn():
    async with answered_call({"my order": ORDER, "found": "Here it is."}, agent=agent()) as phone:
        await asked(phone)
        await phone.hears("One moment.")
        await phone.after(4)
        assert phone.heard == "Hello.One moment."
        await phone.hears("Still looking.")
        phone.tool_returns("found")
        await phone.hears("Here it is.")
        assert [message["role"] for message in phone.mind.asked[-1]][-2:] == ["assistant", "tool"]
        assert phone.mind.asked[-1][-2]["content"] == "One moment. Still looking."


async def test_a_tool_says_how_far_it_is():
    async with answered_call({"my order": ORDER, "found": "Here it is."}, agent=agent()) as phone:
        await asked(phone)
        phone.bus.publish(call_events("call-1"), ToolSays(2, 0, "I have found the shop."))
        await phone.hears("I have found the shop.")
        phone.bus.publish(call_events("call-1"), ToolSays(2, 0, "👍"))
        phone.bus.publish(call_events("call-1"), ToolSays(2, 0, "Now I look for the order."))
        await phone.hears("Now I look for the order.")
        phone.tool_returns("found")
        await phone.hears("Here it is.")
        phone.bus.publish(call_events("call-1"), ToolSays(2, 0, "Too late."))
        await phone.after(3)
        assert phone.heard.replace(" ", "") == "Hello.Ihavefoundtheshop.NowIlookfortheorder.Hereitis."


async def test_what_a_tools_worker_offers_is_offered_to_the_model_with_its_options():
    python = [function("cancel", "Cancels an order.", {"order": {"type": "string"}}, "order")]
    options = {"cancel": {"meanwhile": ["I am cancelling it."], "filler_after_ms": 100, "timeout_s": 30}}
    answers = {"cancel it": '<cancel {"order": "7"}>', "done": "It is cancelled."}
    async with answered_call(answers, agent=agent()) as phone:
        phone.bus.publish(call_events("call-1"), ToolsOffered("python", json.dumps(python), json.dumps(options)))
        await asked(phone, "cancel it")
        assert phone.mind.offered[-1] == ["end_call", "order_status", "book", "cancel"]
        await phone.hears("I am cancelling it.")
        await phone.after(20)
        phone.tool_returns("done")
        await phone.hears("It is cancelled.")


async def test_the_result_survives_an_interruption_and_the_agent_says_it_by_itself():
    answers = {"my order": f"Let me look that up for you. {ORDER}", "how is it": "Fine, thank you."}
    async with answered_call(answers, agent=agent()) as phone:
        phone.mind.answers["[order_status has returned: on its way]"] = "Your order is on its way."
        await asked(phone)
        await phone.hears("Let me")
        await phone.says("how is it")
        await phone.hears("Fine, thank you.")
        phone.tool_returns("on its way")
        await phone.hears("Your order is on its way.")
        first, second = phone.mind.asked[-2:]
        assert first[-2]["content"] == PENDING
        assert second[: len(first)] == first, "earlier messages never change: the vendor's cache applies"
        assert calls(phone) == ["order_status"], "once"


async def test_a_result_that_comes_while_the_agent_speaks_of_something_else_waits_for_its_end():
    answers = {"my order": f"Let me look that up for you. {ORDER}", "how is it": "Fine, thank you for asking."}
    async with answered_call(answers, agent=agent()) as phone:
        phone.mind.answers["[order_status has returned: on its way]"] = "Your order is on its way."
        await asked(phone)
        await phone.hears("Let me")
        await phone.says("how is it")
        await phone.hears("Fine,")
        phone.tool_returns("on its way")
        await phone.hears("for asking.")
        await phone.hears("Your order is on its way.")
        assert phone.heard.endswith("Fine, thank you for asking.Your order is on its way.")


async def test_only_what_all_calls_share_is_kept_with_the_fixed_sentences():
    answers = {"my order": ORDER, "found": "Mister Rao, it is here."}
    async with answered_call(answers, agent=agent()) as phone:
        await asked(phone)
        await phone.hears("One moment.")
        phone.tool_returns("found")
        await phone.hears("it is here.")
        kept = [message.text for message in phone.events if isinstance(message, Clause) and message.fixed]
        assert kept == ["Hello.", "One moment."]


async def test_a_result_that_comes_while_the_caller_speaks_is_not_said_into_their_words():
    answers = {"my order": f"Let me look that up for you. {ORDER}", "how is it": "Fine, thank you."}
    async with answered_call(answers, agent=agent()) as phone:
        note = "[order_status has returned: on its way]"
        phone.mind.answers[f"{note} and when will it come"] = "It is on its way, and comes on Monday."
        await asked(phone)
        await phone.hears("Let me")
        await phone.says("how is it")
        await phone.hears("Fine, thank you.")
        await phone.silence()
        phone.starts_saying("and when will it come")
        await phone.after(0.5)
        phone.tool_returns("on its way")
        await phone.hears("comes on Monday.")
        assert phone.heard.count("on its way") == 1
        assert phone.mind.asked[-2][-1]["content"] == "how is it", "nothing was asked in between"


@pytest.mark.parametrize("state", ["asked", "returned"])
async def test_the_llm_worker_dies_while_a_tool_runs(state: str):
    answers = {"my order": f"Let me see. {ORDER}", "on its way": "It is on its way."}
    async with answered_call(answers, agent=agent()) as phone:
        await asked(phone)
        dead = phone.worker("llm")
        if state == "returned":
            phone.tool_returns("on its way")
        phone.hire("llm")
        await dead.kill()
        if state == "asked":
            await phone.after(3)
            phone.tool_returns("on its way")
        await phone.hears("It is on its way.")
        assert phone.heard.replace(" ", "").count("Letmesee.") == 1
        assert calls(phone) == ["order_status"], "called once"


async def test_the_llm_worker_dies_while_it_speaks_of_the_result():
    long = "Your order left the shop this morning. It is on its way, and it will be with you on Monday."
    answers = {"my order": f"Let me see. {ORDER}", "on its way": long}
    async with answered_call(answers, agent=agent()) as phone:
        phone.mind.word_seconds = 0.4
        await asked(phone)
        phone.tool_returns("on its way")
        await phone.hears("this morning.")
        dead = phone.worker("llm")
        phone.hire("llm")
        await dead.kill()
        await phone.hears("on Monday.")
        assert phone.heard.replace(" ", "") == f"Hello.Let me see.{long}".replace(" ", ""), "nothing lost or repeated"


async def test_a_tool_that_nobody_runs_is_given_up_and_the_model_says_so():
    answers = {"a table": f"I will try. {BOOK}", NO_ANSWER: "I do not know whether it worked."}
    async with answered_call(answers, agent=agent()) as phone:
        await asked(phone, "a table")
        await phone.after(3 + GIVE_UP_SECONDS)
        await phone.hears("I do not know whether it worked.")
        assert results(phone) == [("unknown", NO_ANSWER)]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("<fly_away>", "There is no tool of this name. The tools are: end_call, order_status, book."),
        ('<order_status {"order": "7"}>', "The argument order_id is missing."),
        ('<order_status {"order_id": 7}>', "The argument order_id must be of type string."),
        ("<order_status [1]>", "The arguments are no JSON object."),
        ('<order_status {"order_id>', "The arguments are no JSON object."),
    ],
)
async def test_a_call_that_cannot_be_run_is_told_to_the_model(call: str, words: str):
    async with answered_call({"my order": call, words: "I cannot do that."}, agent=agent()) as phone:
        await asked(phone)
        await phone.hears("I cannot do that.")
        assert results(phone) == [("refused", words)]


async def test_the_same_call_twice_is_done_once():
    """A model repeats itself; an order must not be placed twice."""
    again = '<book {"people": 2, "day": "Monday"}>'
    answers = {
        "a table": f'<book {{"day": "Monday", "people": 2}}>{again}',
        SAME_CALL: "You have a table.",
        "booked": "no",
    }
    async with answered_call(answers, agent=agent()) as phone:
        await asked(phone, "a table")
        phone.tool_returns("booked")
        await phone.hears("You have a table.")
        assert results(phone) == [("done", "booked"), ("refused", SAME_CALL)]


async def test_a_model_that_calls_tools_for_ever_is_stopped():
    async with answered_call({"my order": ORDER, SAME_CALL: ORDER, "found": ORDER}, agent=agent()) as phone:
        await asked(phone)
        phone.tool_returns("found")
        await phone.hears("say that again, please?")
        assert phone.mind.offered[-1] == [], "in the end it is offered none"
        assert len(calls(phone)) == ROUNDS_MAX


async def test_a_hang_up_waits_for_the_tools_that_were_called_with_it():
    answers = {"a table": f"{BOOK}<end_call>", FIRST_THE_OTHERS: "You have a table."}
    async with answered_call(answers, agent=agent()) as phone:
        await asked(phone, "a table")
        phone.tool_returns("booked")
        await phone.until(lambda: ("done", "booked") in results(phone), "the booking to be done")
        await phone.after(2)
        assert not phone.line.stopped


async def test_no_tool_is_called_before_the_turn_is_over():
    """The caller pauses, and goes on: the reply that was begun in the pause may not act."""
    answers = {"my order": f"Let me see. {ORDER}", "my order is late": "I am sorry."}
    async with answered_call(answers, agent=agent()) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        await phone.says("my order", pause_ms=400, more=" is late")
        await phone.hears("I am sorry.")
        assert phone.mind.asked[-2][-1]["content"] == "my order", "a reply was begun in the pause"
        assert calls(phone) == []


# --- transfer ------------------------------------------------------------------------------------------------------

DESK = {"desk": {"number": "+91 12345 67890"}}


def orders(phone: Phone, edge: str = "edge-1") -> list[TransferCall]:
    stream = phone.streams.after(edge_priority(edge), 0)
    return [message for _, message in stream if isinstance(message, TransferCall)]


async def test_a_transfer_is_ordered_once_the_caller_has_heard_of_it():
    answers = {"a person": 'I put you through. <transfer_call {"target": "desk"}>'}
    async with answered_call(answers, agent=agent(transfer=DESK)) as phone:
        await asked(phone, "a person")
        assert orders(phone) == []
        await phone.hears("I put you through.")
        await phone.until(lambda: orders(phone), "the order")
        (order,) = orders(phone)
        assert (order.turn, order.n, order.target, order.epoch) == (2, 0, "desk", 1)


async def test_a_model_that_transfers_without_a_word_still_announces_it():
    async with answered_call({"a person": '<transfer_call {"target": "desk"}>'}, agent=agent(transfer=DESK)) as phone:
        await asked(phone, "a person")
        await phone.hears("I will put you through.")
        await phone.until(lambda: orders(phone), "the order")
        assert [order.target for order in orders(phone)] == ["desk"]


async def test_a_caller_who_interrupts_the_announcement_stays():
    answers = {"a person": 'I put you through to a person. <transfer_call {"target": "desk"}>', "no wait": "Yes?"}
    async with answered_call(answers, agent=agent(transfer=DESK)) as phone:
        await asked(phone, "a person")
        await phone.hears("I put")
        await phone.says("no wait")
        await phone.hears("Yes?")
        await phone.after(2)
        assert orders(phone) == []
        assert results(phone) == [("cancelled", INTERRUPTED)]


async def test_the_person_cannot_be_reached_and_the_agent_says_so():
    failed = "[transfer_call has returned: Nobody answered.]"
    answers = {"a person": 'I put you through. <transfer_call {"target": "desk"}>', failed: "Nobody is there."}
    async with answered_call(answers, agent=agent(transfer=DESK)) as phone:
        await asked(phone, "a person")
        await phone.until(lambda: orders(phone), "the order")
        phone.tool_returns("Nobody answered.", "failed")
        await phone.hears("Nobody is there.")


async def test_the_order_is_repeated_to_the_next_connection():
    answers = {"a person": 'I put you through. <transfer_call {"target": "desk"}>'}
    async with answered_call(answers, agent=agent(transfer=DESK)) as phone:
        await asked(phone, "a person")
        await phone.until(lambda: orders(phone), "the order")
        await phone.edge_dies()
        await phone.until(lambda: orders(phone, "edge-2"), "the order again")
        assert [order.epoch for order in orders(phone, "edge-2")] == [2]


async def test_the_order_is_repeated_by_the_next_owner():
    answers = {"a person": 'I put you through. <transfer_call {"target": "desk"}>'}
    async with answered_call(answers, agent=agent(transfer=DESK)) as phone:
        await asked(phone, "a person")
        await phone.until(lambda: orders(phone), "the order")
        dead = phone.worker("llm")
        phone.hire("llm")
        await dead.kill()
        await phone.until(lambda: len(orders(phone)) == 2, "the next owner's order")
        first, second = orders(phone)
        assert (first.turn, first.n, first.epoch) == (second.turn, second.n, second.epoch)
        assert second.token > first.token
        assert results(phone) == []
