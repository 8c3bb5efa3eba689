"""One trace per turn: which part of it took the time, whoever did it, also when somebody else goes on with it."""

from collections.abc import Iterator

import pytest

from common.protocol.fields import STAGES
from common.telemetry import traces
from tests.calls.phone import CALL, answered_call

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

WATERFALL = {"turn", "endpoint", "transcript", "model", "first_token", "first_clause", "voice", "first_audio"}
WATERFALL |= {"first_frame", "playing"}


@pytest.fixture
def spans() -> Iterator[list[traces.Span]]:
    """What a collector would get of all processes."""
    recorded: list[traces.Span] = []
    traces.begin(recorded.append)
    yield recorded
    traces.begin(None)


def of(spans: list[traces.Span], utterance: int) -> dict[str, traces.Span]:
    return {span.name: span for span in spans if span.turn.utterance == utterance}


async def test_a_turn_is_one_trace_of_all_its_stages(spans: list[traces.Span]) -> None:
    async with answered_call(answers={"hello": "Hi there."}) as phone:
        await phone.silence()
        await phone.says("hello")
        await phone.hears("Hi there.")
        await phone.silence()
    greeting, turn = of(spans, 0), of(spans, 1)
    assert set(greeting) == {"turn", "playing"}, "nobody waited for it"
    assert set(turn) == WATERFALL
    assert len({span.turn.trace_id for span in turn.values()}) == 1
    assert greeting["turn"].turn.trace_id != turn["turn"].turn.trace_id
    assert turn["turn"].attributes["outcome"] == greeting["turn"].attributes["outcome"] == "heard"
    assert turn["model"].attributes == {"provider": "test/llm-0", "outcome": "first word"}
    assert turn["voice"].attributes == {"provider": "test/tts-0", "outcome": "spoken"}
    assert turn["transcript"].attributes == {"provider": "test/stt-0"}
    begun = [turn[stage].begun_ms for stage in STAGES[1:]]
    assert begun[0] == turn["turn"].begun_ms
    assert all(span.begun_ms >= turn["turn"].begun_ms for span in turn.values())


async def test_an_interrupted_turn_says_so(spans: list[traces.Span]) -> None:
    answers = {"hello": "This is a long story that goes on for a while.", "stop it now": "Of course."}
    async with answered_call(answers=answers) as phone:
        await phone.silence()
        await phone.says("hello")
        await phone.hears("This is a long")
        await phone.says("stop it now")
        await phone.hears("Of course.")
        await phone.silence()
    assert of(spans, 1)["turn"].attributes["outcome"] == "interrupted"
    assert of(spans, 2)["turn"].attributes["outcome"] == "heard"


async def test_a_caller_who_hangs_up_ends_the_turn(spans: list[traces.Span]) -> None:
    async with answered_call(answers={"hello": "This is a long story."}) as phone:
        await phone.silence()
        await phone.says("hello")
        await phone.hears("This is")
        phone.hangs_up()
        await phone.ended()
    assert of(spans, 1)["turn"].attributes["outcome"] == "call over"


@pytest.mark.parametrize("pool", ["stt", "llm", "tts"])
async def test_a_trace_survives_a_takeover(pool: str, spans: list[traces.Span]) -> None:
    async with answered_call(answers={"hello": "First I say this. Then I say that."}) as phone:
        phone.mind.word_seconds = 0.1
        phone.mouth.first_chunk_seconds = 0.3
        await phone.silence()
        phone.hire(pool)
        phone.starts_saying("hello")
        await phone.after(0.3 + 0.35)
        await phone.worker(pool).kill()
        await phone.hears("Then I say that.")
        await phone.silence()
    turn = [span for span in spans if span.turn.utterance == 1]
    assert {span.name for span in turn} == WATERFALL
    assert {(span.turn.trace_id, span.turn.root_id) for span in turn} == {
        (traces.TurnTrace(CALL, 1).trace_id, traces.TurnTrace(CALL, 1).root_id)
    }
    if pool == "llm":
        assert [span.attributes["outcome"] for span in turn if span.name == "model"].count("first word") >= 1


async def test_a_model_that_fails_is_in_the_trace_of_its_turn(spans: list[traces.Span]) -> None:
    async with answered_call(answers={"hello": "Hi there."}) as phone:
        await phone.silence()
        phone.mind.fails = 1
        await phone.says("hello")
        await phone.hears("say that again, please?")
        await phone.silence()
    assert of(spans, 1)["model"].attributes["outcome"] == "down"


async def test_no_words_and_no_numbers_are_in_a_trace(spans: list[traces.Span]) -> None:
    async with answered_call(answers={"my secret": "Your secret is safe."}) as phone:
        await phone.silence()
        await phone.says("my secret")
        await phone.hears("is safe.")
        await phone.silence()
    assert spans
    told = " ".join(str(value) for span in spans for value in (span.name, *span.attributes.values()))
    assert "secret" not in told
    assert "91123" not in told


async def test_without_a_collector_nothing_is_recorded(spans: list[traces.Span]) -> None:
    traces.begin(None)
    async with answered_call(answers={"hello": "Hi there."}) as phone:
        await phone.silence()
        await phone.says("hello")
        await phone.hears("Hi there.")
    assert spans == []


def test_ids_are_of_the_turn_and_of_nothing_else() -> None:
    ears, mouth = traces.TurnTrace("call-1", 3), traces.TurnTrace("call-1", 3, reply=4)
    assert (ears.trace_id, ears.root_id) == (mouth.trace_id, mouth.root_id)
    others = [traces.TurnTrace("call-1", 2), traces.TurnTrace("call-2", 3), traces.TurnTrace("call-1", 33)]
    assert len({turn.trace_id for turn in [ears, *others]}) == len({turn.root_id for turn in [ears, *others]}) == 4
    assert 0 < ears.root_id < 1 << 64
    assert 0 < ears.trace_id < 1 << 128
    known = 0x457DB83911C990CFEF8E9C712107CAAC
    assert traces.TurnTrace("call-1", 3).trace_id == known, "the same in every release: a trace crosses a rollout"
