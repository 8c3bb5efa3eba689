"""The words of an answer are over: nothing waits for what a vendor has still to say of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from common.protocol.messages import Clause
from tests.calls.doubles import Mind
from tests.calls.phone import answered_call
from workers.providers.interfaces import ChatMessage, Piece, TextComplete, TokensUsed, ToolCall

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

BILL_SECONDS = 1.0


class SlowToBill(Mind):
    """Says its words at once, and what they cost a second later."""

    def __init__(self, *words: str, tool: str = "") -> None:
        super().__init__()
        self.words = words
        self.tool = tool

    async def reply(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict] = (), said: str = ""
    ) -> AsyncIterator[Piece]:
        for word in self.words:
            yield word
        yield TextComplete("stop")
        if self.tool:
            yield ToolCall("call_1", self.tool, "{}")
        await asyncio.sleep(BILL_SECONDS)
        yield TokensUsed(9, 0, 3)


@pytest.mark.parametrize("words", [("We open at nine.",), ("We", " open", " at nine."), ("At nine",)])
async def test_the_only_clause_leaves_with_the_last_word_and_not_with_the_bill(words: tuple[str, ...]):
    async with answered_call(mind=SlowToBill(*words)) as phone:
        await phone.silence()
        before = len([event for event in phone.events if isinstance(event, Clause)])
        await phone.says("hello")
        asked_at = asyncio.get_running_loop().time()
        await phone.until(lambda: sum(isinstance(event, Clause) for event in phone.events) > before, "the clause")
        assert asyncio.get_running_loop().time() - asked_at < BILL_SECONDS, (
            "the silence that ends the turn, and no more"
        )
        await phone.hears("".join(words))
        await phone.silence()
        assert phone.transcript.usage[("llm", "test/llm-0", "tokens_in")] == 9


async def test_the_farewell_of_an_agent_that_hangs_up_in_silence_is_said():
    async with answered_call(mind=SlowToBill(tool="end_call")) as phone:
        await phone.silence()
        await phone.says("bye")
        await phone.hears("Bye for now.")
        await phone.after(1)
        assert phone.line.stopped
