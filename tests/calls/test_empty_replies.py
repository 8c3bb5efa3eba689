"""A model says nothing that can be spoken: the caller is never left in silence because of it."""

from collections.abc import AsyncIterator, Sequence

import pytest

from common.protocol.messages import Clause
from common.telemetry import metrics
from tests.calls.doubles import Mind
from tests.calls.phone import Phone, answered_call
from workers.providers.interfaces import ChatMessage, Down, Piece, Retracted, TextComplete, TokensUsed, ToolCall

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


class Scripted(Mind):
    """Says the same pieces in every reply; an exception among them is raised."""

    def __init__(self, *pieces: Piece | Exception) -> None:
        super().__init__()
        self.pieces = pieces

    async def reply(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict] = (), said: str = ""
    ) -> AsyncIterator[Piece]:
        self.asked.append(list(dialogue))
        self.said.append(said)
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


END_CALL = ToolCall("call_1", "end_call", "{}")
EMPTY = {
    "nothing at all": (),
    "an empty text": ("", TextComplete("stop")),
    "too long for its bound": (TextComplete("length"),),
    "a filtered answer": (TextComplete("content_filter"), TokensUsed(9, 0, 0)),
    "spaces and lines": (" ", "\n\n"),
    "dots": ("…", "..."),
    "an emoji": ("👍", "🏽"),
    "a digit that is a picture": ("1\ufe0f\u20e3",),
    "markdown": ("**", "---\n", "```\n```"),
    "tags": ("<br", "/>", "<speak></speak>"),
    "a stage direction": ("*nods ", "quietly*"),
    "reasoning that was taken back": ("I will say nothing", Retracted()),
}
every_empty = pytest.mark.parametrize("pieces", EMPTY.values(), ids=EMPTY)


async def asks(phone: Phone, text: str = "hello") -> None:
    await phone.silence()
    await phone.says(text)


@every_empty
async def test_the_second_model_answers_when_the_first_says_nothing(pieces):
    second = Mind({"hello": "Hi there."})
    async with answered_call(mind=Scripted(*pieces), more={"llm": [second]}) as phone:
        await asks(phone)
        await phone.hears("Hi there.")
        assert second.said == [], "nothing had been said before it"
        assert [clause.text for clause in phone.events if isinstance(clause, Clause)] == ["Hello.", "Hi there."]


@every_empty
async def test_without_a_second_model_the_caller_hears_an_apology_and_it_is_counted(pieces):
    failed = metrics.ANSWERS_FAILED.labels("no model")
    errors = metrics.PROVIDER_ERRORS.labels("test/llm-0", "empty")
    before = failed._value.get(), errors._value.get()
    async with answered_call(mind=Scripted(*pieces)) as phone:
        await asks(phone)
        await phone.hears("say that again, please?")
        assert (failed._value.get(), errors._value.get()) == (before[0] + 1, before[1] + 1)
        await asks(phone, "hello again")
        assert await phone.ended() == "error", "nothing is said for ever"


async def test_what_an_empty_reply_cost_is_counted_too():
    mind = Scripted(TextComplete("content_filter"), TokensUsed(90, 0, 1))
    async with answered_call(mind=mind, more={"llm": [Mind({"hello": "Hi there."})]}) as phone:
        await asks(phone)
        await phone.hears("Hi there.")
        assert phone.transcript.usage[("llm", "test/llm-0", "tokens_in")] == 90


@pytest.mark.parametrize(
    "pieces",
    [(END_CALL,), ("👋", END_CALL), (TextComplete("tool_calls"), END_CALL), (ToolCall("c", "functions.end_call", ""),)],
    ids=["alone", "with a hand that waves", "with nothing", "by its longer name"],
)  # fmt: skip
async def test_an_agent_that_hangs_up_without_a_word_says_its_farewell(pieces):
    async with answered_call(mind=Scripted(*pieces), more={"llm": [Mind()]}) as phone:
        await asks(phone)
        await phone.hears("Bye for now.")
        await phone.after(1)
        assert phone.line.stopped
        assert phone.workers and not phone.more["llm"][0].asked, "to hang up is an answer"


async def test_words_before_the_hang_up_are_the_farewell():
    async with answered_call(mind=Scripted("So long!", TextComplete("tool_calls"), END_CALL)) as phone:
        await asks(phone)
        await phone.hears("So long!")
        await phone.after(1)
        assert phone.line.stopped and "Bye" not in phone.heard


async def test_words_that_came_before_a_fault_are_spoken_when_nobody_can_go_on():
    async with answered_call(mind=Scripted("We open", " at nine", Down("broke off"))) as phone:
        await asks(phone)
        await phone.hears("We open at nine")
        await phone.silence()
        assert "sorry" not in phone.heard


async def test_words_of_the_first_model_are_spoken_when_the_second_has_none():
    second = Scripted(Down("is away, too"))
    async with answered_call(mind=Scripted("We open", Down("broke off")), more={"llm": [second]}) as phone:
        await asks(phone)
        await phone.hears("We open")
        await phone.silence()
        assert "sorry" not in phone.heard


async def test_words_of_the_first_model_are_not_spoken_twice_when_the_second_can_go_on():
    second = Scripted("We open at nine.")
    async with answered_call(mind=Scripted("We open", Down("broke off")), more={"llm": [second]}) as phone:
        await asks(phone)
        await phone.hears("We open at nine.")
        await phone.silence()
        assert phone.heard.count("We open") == 1


async def test_an_emoji_behind_the_words_is_no_clause():
    async with answered_call(mind=Scripted("We open at nine. ", "👍")) as phone:
        await asks(phone)
        await phone.hears("We open at nine.")
        await phone.silence()
        assert [clause.text for clause in phone.events if isinstance(clause, Clause)] == ["Hello.", "We open at nine."]


async def test_reasoning_that_was_taken_back_is_not_in_the_history():
    async with answered_call(mind=Scripted("The caller greets me", Retracted(), "Hi there.")) as phone:
        await asks(phone)
        await phone.hears("Hi there.")
        await asks(phone, "and now")
        await phone.silence()
        assert phone.mind.asked[-1][-2] == {"role": "assistant", "content": "Hi there."}
        assert "greets" not in phone.heard
