"""The caller presses keys: menus, a PIN, digits that are dictated instead, bursts, and workers that die meanwhile."""

from __future__ import annotations

import pytest

from common.protocol.acts import KeysEntered, ToolsCalled, TransferCall
from common.protocol.messages import Clause, Interrupted, ReplyStarted, UserTurn
from common.protocol.redis_keys import call_events, edge_priority
from common.telemetry import metrics
from edge.media.stream_pace import KEYS_AT_ONCE, StreamPace
from edge.session.call_options import CallOptions
from tests.calls.keypad import NUMBER, agent, collecting, entered, results
from tests.calls.phone import CALL, answered_call

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

# --- keys that nobody asked for -------------------------------------------------------------------------------------


async def test_a_key_interrupts_a_sentence_at_once_and_nothing_of_it_resumes():
    answers = {"hello": "There is a lot to be told about this.", "[The caller pressed the keys 7 4]": "I see, thanks."}
    async with answered_call(answers, agent=agent()) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        await phone.says("hello")
        await phone.hears("There is")
        phone.presses("7")
        assert phone.line.clears, "before anything else happens"
        phone.presses("4")
        await phone.hears("I see, thanks.")
        assert "about" not in phone.heard
        assert len(phone.line.clears) == 1
        assert [event.utterance for event in phone.events if isinstance(event, Interrupted)] == [0]
        assert entered(phone) == ["74"]


async def test_an_agent_that_cannot_be_interrupted_finishes_its_sentence_and_answers_the_keys_then():
    answers = {"hello": "This has to be heard.", "[The caller pressed the keys 7]": "Seven it is."}
    options = CallOptions(interruptible=False)
    async with answered_call(answers, agent=agent(), options=options) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        await phone.says("hello")
        await phone.hears("This has")
        phone.presses("7")
        await phone.hears("to be heard.")
        await phone.hears("Seven it is.")
        assert not phone.line.clears


async def test_the_finish_key_ends_an_entry_and_is_no_part_of_it():
    answers = {"[The caller pressed the keys 7 4]": "I see."}
    async with answered_call(answers, agent=agent()) as phone:
        await phone.hears("Hello.")
        phone.presses("74#")
        await phone.hears("I see.")
        assert entered(phone) == ["74"]


async def test_a_key_of_the_menu_acts_at_once_without_the_model():
    async with answered_call({}, agent=agent()) as phone:
        await phone.hears("Hello.")
        phone.presses("1")
        await phone.after(0.5)
        assert entered(phone) == ["1"], "no time is waited for a further key"
        await phone.hears("We open at nine.")
        assert not phone.mind.asked


async def test_a_key_that_stands_for_a_question_is_answered_like_one():
    async with answered_call({"my order": "It is on its way."}, agent=agent()) as phone:
        await phone.hears("Hello.")
        phone.presses("2")
        await phone.hears("It is on its way.")
        assert [message["content"] for message in phone.mind.asked[-1]][-1] == "my order"


async def test_a_key_calls_a_tool_and_the_model_says_what_it_returned():
    async with answered_call({"on its way": "It is on its way."}, agent=agent()) as phone:
        await phone.hears("Hello.")
        phone.presses("3")
        await phone.until(lambda: any(isinstance(event, ToolsCalled) for event in phone.events), "the tool")
        assert not phone.mind.asked
        phone.tool_returns("on its way")
        await phone.hears("It is on its way.")
        (call,) = phone.mind.asked[-1][-2]["tool_calls"]
        assert call["function"] == {"name": "order_status", "arguments": '{"order_id": "7"}'}


async def test_a_key_transfers_the_caller():
    async with answered_call({}, agent=agent()) as phone:
        await phone.hears("Hello.")
        phone.presses("0")
        await phone.hears("I put you through.")
        await phone.until(
            lambda: any(
                isinstance(order, TransferCall) for _, order in phone.streams.after(edge_priority("edge-1"), 0)
            ),
            "the order",
        )
        assert not phone.mind.asked


async def test_an_impatient_caller_who_presses_a_key_three_times_hears_the_answer_once():
    async with answered_call({}, agent=agent()) as phone:
        await phone.hears("Hello.")
        phone.presses("111")
        await phone.hears("We open at nine.")
        await phone.silence()
        assert phone.heard.count("We open at nine.") == 1


async def test_keys_while_a_tool_runs_are_answered_and_its_result_is_told_all_the_same():
    answers = {"my order": 'Let me see. <order_status {"order_id": "7"}>', "[The caller pressed the keys 9]": "Nine?"}
    async with answered_call(answers, agent=agent()) as phone:
        phone.mind.answers["[order_status has returned: on its way]"] = "It is on its way."
        await collecting(phone, "my order")
        await phone.hears("Let me see.")
        phone.presses("9")
        await phone.hears("Nine?")
        phone.tool_returns("on its way")
        await phone.hears("It is on its way.")
        assert entered(phone) == ["9"]
        assert phone.heard == "Hello.Let me see.Nine?It is on its way."


async def test_fifty_keys_in_one_moment_clear_once_and_what_no_finger_can_press_is_dropped():
    options = CallOptions(pace=StreamPace(0.0))
    dropped = metrics.BAD_INPUT.labels("too many keys")._value.get()
    async with answered_call(
        {"hello": "There is a lot to be told about this."}, agent=agent(), options=options
    ) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        await phone.says("hello")
        await phone.hears("There is")
        phone.presses("5" * 50)
        assert len(phone.line.clears) == 1
        await phone.until(lambda: entered(phone), "the keys")
        assert entered(phone) == ["5" * KEYS_AT_ONCE]
        assert metrics.BAD_INPUT.labels("too many keys")._value.get() - dropped == 50 - KEYS_AT_ONCE
        assert phone.still_running


async def test_keys_after_the_llm_worker_died_are_no_key_less_and_none_twice():
    answers = {"[The caller pressed the keys 7 4 9]": "I see."}
    async with answered_call(answers, agent=agent()) as phone:
        await phone.hears("Hello.")
        phone.presses("74")
        await phone.after(1)
        dead = phone.worker("llm")
        phone.hire("llm")
        await dead.kill()
        phone.presses("9")
        await phone.hears("I see.")
        await phone.silence()
        assert entered(phone) == ["749"]


# --- digits that were asked for -------------------------------------------------------------------------------------


async def test_digits_are_collected_and_told_to_the_model():
    answers = {"my account": f"Your customer number, please. {NUMBER}"}
    async with answered_call(answers, agent=agent()) as phone:
        words = "The digits are 4711. Read them back one by one and ask whether they are right."
        phone.mind.answers[f"[collect_digits has returned: {words}]"] = "Is that right?"
        await collecting(phone)
        await phone.hears("please.")
        await phone.silence()
        phone.presses("4711#")
        await phone.hears("Is that right?")
        assert results(phone) == [("done", words)]


async def test_the_caller_need_not_wait_for_the_end_of_the_question_and_a_key_too_many_is_swallowed():
    answers = {"my account": "Your number with four digits, please, and take your time. " + NUMBER.replace("6", "4")}
    async with answered_call(answers, agent=agent()) as phone:
        await collecting(phone)
        await phone.hears("Your number")
        phone.presses("47")
        await phone.after(1)
        assert "take" not in phone.heard
        phone.presses("11#")
        await phone.until(lambda: results(phone), "the result")
        await phone.silence()
        assert results(phone)[0][0] == "done"
        assert [event.keys for event in phone.events if isinstance(event, KeysEntered)] == ["4711"]


async def test_an_agent_that_cannot_be_interrupted_is_told_digits_that_were_entered_too_soon():
    answers = {"my account": f"Your number with four digits, please. {NUMBER.replace('6', '4')}"}
    async with answered_call(answers, agent=agent(), options=CallOptions(interruptible=False)) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        await phone.says("my account")
        await phone.hears("Your")
        phone.presses("4711")
        await phone.until(lambda: len(phone.mind.asked) == 2, "the model to be told")
        assert "The digits are 4711." in phone.mind.asked[-1][-1]["content"]
        assert phone.heard.endswith("please.")


@pytest.mark.parametrize(
    ("keys", "outcome", "words"),
    [
        ("", "timeout", "entered nothing"),
        ("47", "failed", "Too few digits: 2 (47)"),
        ("#", "timeout", "nothing"),
    ],
)
async def test_what_is_not_enough_is_told_in_plain_words(keys: str, outcome: str, words: str):
    async with answered_call({"my account": f"Your number, please. {NUMBER}"}, agent=agent()) as phone:
        await collecting(phone)
        await phone.hears("please.")
        await phone.silence()
        phone.presses(keys)
        await phone.until(lambda: results(phone), "the result")
        assert results(phone)[0][0] == outcome
        assert words in results(phone)[0][1]


async def test_digits_may_be_spoken_instead_of_keyed():
    answers = {"my account": f"Your number, please. {NUMBER}"}
    async with answered_call(answers, agent=agent()) as phone:
        words = "The digits are 4498. Read them back one by one and ask whether they are right."
        phone.mind.answers[f"double four nine eight [collect_digits has returned: {words}]"] = "Is that right?"
        await collecting(phone)
        await phone.hears("please.")
        await phone.silence()
        await phone.says("double four nine eight")
        await phone.hears("Is that right?")
        assert len(phone.mind.asked) == 2, "the words alone were no question"


async def test_a_number_that_is_dictated_in_two_parts_is_one():
    answers = {"my account": f"Your number, please. {NUMBER.replace('4', '6')}"}
    async with answered_call(answers, agent=agent()) as phone:
        await collecting(phone)
        await phone.hears("please.")
        await phone.silence()
        await phone.says("nine eight seven")
        await phone.after(2)
        assert (results(phone), len(phone.mind.asked)) == ([], 1), "the caller is not done"
        await phone.says("six five four")
        await phone.until(lambda: results(phone), "the result")
        assert "The digits are 987654." in results(phone)[0][1]


async def test_a_caller_who_says_something_else_is_answered_and_the_entry_is_over():
    answers = {"my account": f"Your number, please. {NUMBER}", "where is it": "On your card."}
    async with answered_call(answers, agent=agent()) as phone:
        await collecting(phone)
        await phone.hears("please.")
        await phone.silence()
        await phone.says("where is it")
        await phone.hears("On your card.")
        assert [outcome for outcome, _ in results(phone)] == ["cancelled"]
        await phone.silence()
        assert phone.heard.endswith("On your card."), "and the agent says nothing more by itself"


async def test_a_worker_that_dies_right_after_it_asked_for_digits_leaves_no_second_question():
    async with answered_call({}, agent=agent()) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        await phone.worker("llm").kill()
        for event in (
            UserTurn(1, "my account", ()),
            ReplyStarted(2, 1),
            Clause(2, 0, "Your number, please."),
            ToolsCalled(2, 0, (("", "collect_digits", '{"name": "customer", "length": 4}'),), 1),
        ):
            phone.bus.publish(call_events(CALL), event)
        await phone.hears("please.")
        phone.hire("llm")
        await phone.after(3)
        phone.presses("4711")
        await phone.until(lambda: results(phone), "the result")
        assert "The digits are 4711." in results(phone)[0][1]
        await phone.until(lambda: phone.mind.asked, "the model to be told")
        assert len(phone.mind.asked) == 1
