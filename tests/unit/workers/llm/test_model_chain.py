"""One reply from several models: failover and hedging, on a virtual clock."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from workers.llm.model_chain import HEDGE_SAMPLES_MIN, FirstWords, ModelChain, ModelSwitched, TokenUsage
from workers.providers.failover import Failover, Source
from workers.providers.interfaces import Busy, Down, Piece, TokensUsed

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

DIALOGUE = [{"role": "user", "content": "x" * 40}]


class Model:
    """Says its words after `first_s`; breaks after `breaks_after` of them, if that is not negative."""

    def __init__(
        self, *words: str, first_s: float = 0.1, breaks_after: int = -1, error: Exception | None = None
    ) -> None:
        self.words = words
        self.first_s = first_s
        self.breaks_after = breaks_after
        self.error = error or Down("broke off")
        self.asked = 0
        self.open = 0

    async def reply(self, dialogue: object, tools: object = (), said: str = "") -> AsyncIterator[Piece]:
        self.asked += 1
        self.open += 1
        try:
            await asyncio.sleep(self.first_s)
            for number, word in enumerate(self.words):
                if number == self.breaks_after:
                    raise self.error
                yield word
            yield TokensUsed(10, 4, 2)
        finally:
            self.open -= 1

    async def warm(self) -> None: ...

    async def aclose(self) -> None: ...


def model_chain(*models: Model, hedge: FirstWords | None = None, places: int = 0) -> ModelChain:
    clock = asyncio.get_running_loop().time
    return ModelChain(
        Failover([Source("llm", f"m/{n}", model, places, clock) for n, model in enumerate(models)]), hedge
    )


def lately(seconds: float) -> FirstWords:
    known = FirstWords()
    for _ in range(HEDGE_SAMPLES_MIN):
        known.note(seconds)
    return known


async def told(asked: ModelChain) -> list[object]:
    return [event async for event in asked.reply(DIALOGUE, [], lambda: "", "call-1")]


async def test_one_model_that_works_is_all_there_is():
    model = Model("Hi", " there")
    assert await told(model_chain(model)) == ["Hi", " there", TokenUsage("m/0", TokensUsed(10, 4, 2))]
    assert model.open == 0


async def test_the_next_model_follows_one_that_broke_off():
    events = await told(model_chain(Model("Hi", " th", breaks_after=1), Model("Hello")))
    assert [type(event) for event in events] == [str, ModelSwitched, str, TokenUsage]


async def test_when_all_have_failed_the_last_error_is_told():
    with pytest.raises(Busy):
        await told(model_chain(Model("x", breaks_after=0), Model("y", breaks_after=0, error=Busy("full"))))


async def test_a_model_whose_places_are_taken_is_passed_over():
    first, second = Model("one", first_s=5), Model("two")
    asked = model_chain(first, second, places=1)
    slow = asyncio.create_task(told(asked))
    await asyncio.sleep(0.01)
    assert (await told(asked))[0] == "two"
    slow.cancel()
    await asyncio.wait([slow])
    assert first.open == 0


async def test_a_slow_first_word_is_hedged_and_the_faster_model_answers():
    slow, fast = Model("slow", first_s=9), Model("fast", first_s=0.1)
    began = asyncio.get_running_loop().time()
    events = await told(model_chain(slow, fast, hedge=lately(0.3)))
    assert asyncio.get_running_loop().time() - began == pytest.approx(0.4, abs=0.01)
    assert events == [
        TokenUsage("m/0", TokensUsed(10, 0, 0), estimated=True),
        "fast",
        TokenUsage("m/1", TokensUsed(10, 4, 2)),
    ]
    assert (slow.open, slow.asked, fast.asked) == (0, 1, 1), "the loser was closed at once"


async def test_the_first_model_may_still_win():
    first, second = Model("first", first_s=0.35), Model("second", first_s=0.4)
    events = await told(model_chain(first, second, hedge=lately(0.3)))
    assert "first" in events and second.open == 0


async def test_a_model_in_time_is_not_hedged():
    first, second = Model("first", first_s=0.2), Model("second")
    assert (await told(model_chain(first, second, hedge=lately(0.3))))[0] == "first"
    assert second.asked == 0


async def test_without_enough_experience_nobody_is_hedged():
    first, second = Model("first", first_s=3), Model("second")
    known = FirstWords()
    assert (await told(model_chain(first, second, hedge=known)))[0] == "first"
    assert second.asked == 0 and known.deadline_s is None


async def test_a_rival_that_fails_does_not_spoil_the_reply():
    first, second = Model("first", first_s=1.0), Model("second", breaks_after=0)
    assert "first" in await told(model_chain(first, second, hedge=lately(0.3)))


async def test_a_reply_that_is_not_wanted_any_more_is_closed_at_once():
    slow, fast = Model("slow", first_s=9), Model("fast", first_s=8)
    asking = asyncio.create_task(told(model_chain(slow, fast, hedge=lately(0.3))))
    await asyncio.sleep(1)
    assert (slow.open, fast.open) == (1, 1)
    asking.cancel()
    await asyncio.wait([asking])
    assert (slow.open, fast.open) == (0, 0)
    assert [task for task in asyncio.all_tasks() if "first word" in task.get_name()] == []


async def test_a_rival_that_says_nothing_does_not_win_by_being_fast():
    slow, empty = Model("slow but there", first_s=1.0), Model("👍", "…", first_s=0.01)
    assert "slow but there" in await told(model_chain(slow, empty, hedge=lately(0.3)))


async def test_nothing_is_an_answer_when_another_model_has_said_it_all():
    asked = model_chain(Model())
    assert [event async for event in asked.reply(DIALOGUE, [], lambda: "We open at nine.", "call-1")] == [
        TokenUsage("m/0", TokensUsed(10, 4, 2))
    ]


async def test_a_reply_without_words_is_no_sign_of_life_for_the_breaker():
    models = [Model("…"), Model("Hi.")]
    asked = model_chain(*models)
    for _ in range(4):
        assert "Hi." in await told(asked)
    assert models[0].asked == 3, "after three such replies it is left alone"
