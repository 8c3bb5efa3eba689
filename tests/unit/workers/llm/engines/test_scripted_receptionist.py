"""The scripted receptionist on the phone: what callers say, as recognisers write it, and what they are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.agents.reading import load_agents
from workers.llm.engines.appointment_words import find_day, find_name, find_time, plain, say_time
from workers.llm.engines.scripted_receptionist import FACTS, OF_COURSE, Receptionist, ScriptedAnswer, answer
from workers.providers.interfaces import ToolCall

pytestmark = pytest.mark.fast

AGENTS = Path(__file__).parents[5] / "agents"
END_CALL = {"type": "function", "function": {"name": "end_call", "description": "Hang up.", "parameters": {}}}


class Caller:
    """Someone who calls the receptionist, and remembers the last answer."""

    def __init__(self) -> None:
        self.dialogue: list[dict[str, Any]] = [{"role": "system", "content": "You are a receptionist."}]
        self.heard = ScriptedAnswer("")

    def says(self, *lines: str) -> str:
        for line in lines:
            self.dialogue.append({"role": "user", "content": line})
            self.heard = answer(self.dialogue)
            self.dialogue.append({"role": "assistant", "content": self.heard.text})
        return self.heard.text


def test_the_demo_call() -> None:
    caller = Caller()
    hours = caller.says("Hello, what are your opening hours?")
    assert "nine in the morning to six in the evening" in hours
    assert hours.count(". ") == 2 and len(hours.split()) > 30  # three sentences, well over 6 s: time to interrupt
    assert caller.says("Wait, stop please.") == OF_COURSE
    assert "Which day and what time" in caller.says("I would like to book an appointment.")
    assert "your name" in caller.says("Tomorrow at three in the afternoon.")
    noted = caller.says("My name is Sarah.")
    assert "Sarah" in noted and "noted" in noted and "tomorrow at three in the afternoon" in noted
    assert "12 Lake Road" in caller.says("Where are you located?")
    assert "12 Lake Road" in caller.says("What is your address?")
    assert not caller.heard.ends_call
    assert "Goodbye" in caller.says("Thank you, goodbye.")
    assert caller.heard.ends_call


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("hello what are your opening ours", FACTS.hours_answer),
        ("When do you close?", FACTS.hours_answer),
        ("What's your adress, please?", FACTS.address_answer),
        ("what is your dress", FACTS.address_answer),
        ("How do I get there? How can I find you?", FACTS.address_answer),
        ("How much does a check-up cost?", FACTS.prices_answer),
        ("Am I talking to a robot?", FACTS.honest_answer),
        ("Weight, stop, please.", OF_COURSE),
        ("Stop!", OF_COURSE),
        ("Hold on a second.", OF_COURSE),
        ("Hello?", "Hello! How can I help you?"),
    ],
)
def test_misheard_and_reworded_lines(line: str, told: str) -> None:
    assert Caller().says(line) == told


@pytest.mark.parametrize("line", ["Thank you. Good-bye.", "OK, bye!", "Goodbye", "No, that's all, thanks.", "Good by."])
def test_every_goodbye_ends_the_call(line: str) -> None:
    caller = Caller()
    caller.says(line)
    assert caller.heard.ends_call


@pytest.mark.parametrize("line", ["Thank you.", "Thanks!", "By the way, where are you?", "That's all right.", "Okay."])
def test_politeness_does_not_end_the_call(line: str) -> None:
    caller = Caller()
    caller.says("What are your prices?", "Thank you.", line)
    assert not caller.heard.ends_call


@pytest.mark.parametrize(
    "lines",
    [
        ["Can I book a pointment for tomorrow, 3 PM? My name is Sara."],
        ["I'd like an appointment.", "my name is sara", "tomorrow", "At tree."],
        ["I'd like an appointment.", "At 3 o'clock.", "What are your opening hours?", "To morrow.", "Sara."],
        ["I'd like an appointment.", "Tomorrow.", "Wait, stop please.", "3:00 p.m.", "It's Sara."],
        ["Hello, this is Sara.", "Can I come tomorrow at half past three?", "Sorry, change it.", "Tomorrow at 15:00."],
        ["I'd like an appointment.", "On Sunday at three.", "Then tomorrow.", "Yes, Sara."],
        ["I'd like an appointment.", "Tomorrow", "at nine in the evening", "Okay, three.", "My name's Sara, please."],
    ],
)
def test_an_appointment_is_collected_in_any_order_across_questions_and_interruptions(lines: list[str]) -> None:
    noted = Caller().says(*lines)
    assert noted.startswith("Thank you, Sara. I have noted your appointment for tomorrow at three in the afternoon.")


def test_a_side_question_is_answered_and_the_appointment_goes_on() -> None:
    caller = Caller()
    caller.says("I want to book an appointment.", "Tomorrow.")
    told = caller.says("How much is a cleaning?")
    assert told.startswith(FACTS.prices_answer) and told.endswith("At what time would you like to come tomorrow?")


def test_an_appointment_can_be_changed_and_dropped() -> None:
    caller = Caller()
    caller.says("Book me for Friday at ten, my name is Ravi Kumar and I have a car.")
    assert "Ravi Kumar. I have noted your appointment for Friday at ten in the morning" in caller.heard.text
    assert "Friday at four in the afternoon" in caller.says("No, make it four.")
    assert "noted no appointment" in caller.says("Please cancel it.")
    assert caller.says("No.") == FACTS.farewell


def test_closed_hours_are_not_promised() -> None:
    caller = Caller()
    assert "closed on Sundays" in caller.says("I need an appointment on Sunday.")
    assert "ten in the morning to two in the afternoon" in caller.says("Saturday at four then.")
    assert "May I have your name" in caller.says("Noon.")


def test_a_stop_before_the_answer_was_heard_comes_in_the_same_line_as_the_question() -> None:
    caller = Caller()
    assert caller.says("What are your opening hours? Wait, stop please.") == OF_COURSE
    assert caller.says("I want an appointment tomorrow. Hold on.") == OF_COURSE
    assert "three in the afternoon" in caller.says("At three.")
    assert "12 Lake Road" in caller.says("Wait, where are you?")


def test_what_was_said_before_a_stop_can_be_repeated() -> None:
    assert Caller().says("Where are you?", "Wait, stop.", "Sorry, can you repeat that?") == FACTS.address_answer


def test_it_says_honestly_that_it_did_not_understand() -> None:
    assert "did not understand" in Caller().says("Colourless green ideas sleep furiously.")


def test_another_worker_gives_the_same_answer_whatever_was_heard_of_the_earlier_ones() -> None:
    caller = Caller()
    caller.says("I'd like an appointment.", "Tomorrow at three.", "Sarah")
    cut = [
        {**line, "content": line["content"][:5]} if line["role"] == "assistant" else line for line in caller.dialogue
    ]
    assert answer(cut) == caller.heard


@pytest.mark.parametrize(
    ("said", "minutes"),
    [
        ("three in the afternoon", 900), ("at 3", 900), ("3 p.m.", 900), ("3pm", 900), ("15:00", 900), ("at 330", 930),
        ("half past three", 930), ("3.30", 930), ("three thirty", 930), ("quarter to four", 945), ("at noon", 720),
        ("ten o'clock", 600), ("9:15 a.m.", 555), ("eleven forty-five", 705), ("at 12", 720), ("at eight", 480),
    ],
)  # fmt: skip
def test_times(said: str, minutes: int) -> None:
    assert find_time(plain(said), loose=True) == minutes


@pytest.mark.parametrize(
    "said", ["I have two children", "one of my teeth", "this afternoon", "room 5", "", "12345 67890"]
)
def test_a_number_is_not_always_a_time(said: str) -> None:
    assert find_time(plain(said), loose=False) is None


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("To morrow", "tomorrow"),
        ("the day after tomorrow", "the day after tomorrow"),
        ("Next monday?", "next Monday"),
        ("on Fridays", "on Friday"),
        ("May 5th", "on May 5"),
        ("the 5th of May", "on May 5"),
        ("the 15th", "on the 15th"),
        ("some time", ""),
    ],
)
def test_days(said: str, day: str) -> None:
    assert find_day(plain(said))[0] == day


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("My name is Sarah.", "Sarah"), ("my name's sara khan and I am late", "Sara Khan"), ("I'm Priya.", "Priya"),
        ("This is John speaking", "John"), ("I'm sorry.", ""), ("It's Friday", ""), ("Sarah", ""), ("I am in pain", ""),
    ],
)  # fmt: skip
def test_names(said: str, name: str) -> None:
    assert find_name(said, awaited=False) == name


def test_times_are_said_as_people_do() -> None:
    assert [say_time(minutes) for minutes in (540, 720, 735, 930, 1105)] == [
        "nine in the morning", "noon", "a quarter past twelve in the afternoon", "half past three in the afternoon",
        "six 25 in the evening",
    ]  # fmt: skip


def test_the_agent_file_tells_a_real_model_the_same_facts() -> None:
    told = " ".join(load_agents(AGENTS).by_name["receptionist"].instructions.split())
    spans = [f"from {say_time(opens)} to {say_time(closes)}" for opens, closes in (FACTS.weekdays, FACTS.saturday)]
    for fact in (FACTS.clinic, FACTS.address, FACTS.parking, FACTS.checkup, FACTS.cleaning, *spans):
        assert fact in told


async def replied(dialogue: list[dict[str, Any]], *tools: dict[str, Any]) -> list[str | ToolCall]:
    return [piece async for piece in Receptionist().reply(dialogue, tools)]


@pytest.mark.anyio
async def test_the_farewell_streams_by_word_and_then_hangs_up() -> None:
    goodbye = [{"role": "user", "content": "Goodbye."}]
    *words, hang_up = await replied(goodbye, END_CALL)
    assert "".join(map(str, words)) == FACTS.farewell and len(words) == len(FACTS.farewell.split())
    assert hang_up == ToolCall("end_call-1", "end_call", "{}")


@pytest.mark.anyio
async def test_it_hangs_up_only_with_the_tool_and_says_nothing_after_it() -> None:
    goodbye = [{"role": "user", "content": "Goodbye."}]
    assert not [piece for piece in await replied(goodbye) if isinstance(piece, ToolCall)]
    assert await replied([*goodbye, {"role": "tool", "tool_call_id": "end_call-1", "content": "ok"}], END_CALL) == []
