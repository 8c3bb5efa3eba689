"""Cartesia's and Sarvam's ears against stand-ins on the real wire, on good days and on bad ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette

from common.audio import g711
from simulators.loopback_server import LoopbackServer
from simulators.providers import cartesia, sarvam
from simulators.providers.cartesia import CartesiaStandin
from simulators.providers.faults import Fault
from simulators.providers.sarvam import SarvamStandin
from tests.contract.deadlines import BRIEF_STT, PATIENT_STT
from tests.deadlines import SOON_S, WAIT_S
from workers.providers.interfaces import (
    Busy,
    Down,
    EagerEndOfTurn,
    EndOfTurn,
    ListenOptions,
    Rejected,
    SpeechEnd,
    SpeechStart,
    SpeechToText,
    SttEvent,
    SttStream,
)
from workers.stt.engines.cartesia_ink import CartesiaInk
from workers.stt.engines.sarvam import Sarvam
from workers.stt.stream.stt_core import SttStreamOptions

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

PATIENCE_S = WAIT_S
HOURS = "what are your opening hours"
BOOKING = "I would like to book a table"
Standin = CartesiaStandin | SarvamStandin

EARS: dict[str, tuple[Callable[[], Standin], Callable[[str, str, SttStreamOptions], SpeechToText], str]] = {
    "cartesia": (
        lambda: CartesiaStandin([HOURS, BOOKING]),
        lambda url, key, deadlines: CartesiaInk("ink-whisper", key, url, deadlines),
        cartesia.KEY,
    ),
    "sarvam": (
        lambda: SarvamStandin([HOURS, BOOKING]),
        lambda url, key, deadlines: Sarvam("saarika:v2.5", key, url, deadlines),
        sarvam.KEY,
    ),
}


@asynccontextmanager
async def served(standin: Standin) -> AsyncIterator[str]:
    async with LoopbackServer(Starlette(routes=standin.routes), ws="websockets-sansio") as server:
        yield server.url


@asynccontextmanager
async def opened(name: str, deadlines: SttStreamOptions) -> AsyncIterator[tuple[Standin, SpeechToText]]:
    make, adapt, key = EARS[name]
    standin = make()
    async with served(standin) as url:
        ears = adapt(url, key, deadlines)
        yield standin, ears
        await ears.aclose()


@pytest.fixture(params=EARS)
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Standin, SpeechToText]]:
    async with opened(request.param, PATIENT_STT) as both:
        yield both


@pytest.fixture(params=EARS)
async def brief_lab(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Standin, SpeechToText]]:
    """For tests that wait until a deadline passes."""
    async with opened(request.param, BRIEF_STT) as both:
        yield both


def voice(ms: int) -> bytes:
    """Loud enough, with the gaps that words have."""
    syllable = cartesia.TONE * 140 + g711.SILENCE * (60 * 8)
    return (syllable * (ms // 200 + 1))[: ms * 8]


def silence(ms: int) -> bytes:
    return g711.SILENCE * (ms * 8)


async def phone(ear: SttStream, audio: bytes, position_ms: int = 0, frame_s: float = 0.0005) -> int:
    """Feed audio in frames of 20 ms, much faster than real time but giving way; returns the position after it."""
    for at in range(0, len(audio), g711.FRAME_BYTES):
        ear.feed(position_ms, audio[at : at + g711.FRAME_BYTES])
        position_ms += g711.FRAME_MS
        await asyncio.sleep(frame_s)
    return position_ms


async def go_on(ear: SttStream, audio: bytes) -> None:
    """Feed the audio, then silence as fast as a line brings it."""
    await phone(ear, silence(60_000), await phone(ear, audio), g711.FRAME_MS / 1000)


async def heard_until(ear: SttStream, kind: type[SttEvent] = EndOfTurn) -> list[SttEvent]:
    heard: list[SttEvent] = []
    async with asyncio.timeout(PATIENCE_S):
        async for event in ear:
            heard.append(event)
            if isinstance(event, kind):
                break
    return heard


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not what():
            await asyncio.sleep(0.005)


# --- ears ---------------------------------------------------------------------------------------------------------


async def test_a_sentence_is_heard_with_its_place_in_the_call(lab):
    standin, ears = lab
    async with ears.listen(ListenOptions()) as ear:
        await phone(ear, silence(1000) + voice(1400) + silence(900), 40_000)
        heard = await heard_until(ear)
    onset, offset, utterance = heard[0], heard[1], heard[-1]
    assert isinstance(onset, SpeechStart) and 40_900 <= onset.position_ms <= 41_300
    assert isinstance(offset, SpeechEnd) and 42_200 <= offset.position_ms <= 42_500
    assert isinstance(utterance, EndOfTurn) and utterance.text == HOURS
    assert (utterance.start_ms, utterance.end_ms) == (onset.position_ms, offset.position_ms)
    assert utterance.end_ms < utterance.decided_ms <= 43_300
    await until(lambda: standin.open == 0)


async def test_two_turns_come_in_order(lab):
    _, ears = lab
    async with ears.listen(ListenOptions()) as ear:
        at_ms = await phone(ear, voice(1000) + silence(1000))
        first = await heard_until(ear)
        await phone(ear, voice(1000) + silence(1000), at_ms)
        second = await heard_until(ear)
    assert [e.text for e in [*first, *second] if isinstance(e, EndOfTurn)] == [HOURS, BOOKING]
    edges = [type(e) for e in [*first, *second] if isinstance(e, SpeechStart | SpeechEnd)]
    assert edges == [SpeechStart, SpeechEnd] * 2


async def test_a_likely_end_comes_before_the_end_and_a_caller_who_goes_on_withdraws_it(lab):
    _, ears = lab
    async with ears.listen(ListenOptions(endpointing_ms=2000)) as ear:
        at_ms = await phone(ear, voice(1000) + silence(1000))
        first = await heard_until(ear, EagerEndOfTurn)
        await phone(ear, voice(1000) + silence(2600), at_ms)
        rest = await heard_until(ear)
    assert first[-1].text == HOURS
    assert isinstance(rest[0], SpeechStart)
    assert rest[-1].text == f"{HOURS} {BOOKING}" and rest[-1].start_ms < 300


async def test_frames_are_joined_and_a_replay_and_a_hole_are_no_matter(lab):
    standin, ears = lab
    audio = voice(1000)
    async with ears.listen(ListenOptions()) as ear:
        end_ms = await phone(ear, audio, 0)
        await phone(ear, audio, 0)  # sent again: skipped
        ear.feed(end_ms + 5000, silence(1000))  # the frames between are lost: silence
        utterance = (await heard_until(ear))[-1]
    assert utterance.text == HOURS and utterance.end_ms <= end_ms
    if isinstance(standin, CartesiaStandin):
        assert bytes(standin.audio[:8000]) == audio
        assert len(standin.messages) < 40 and "finalize" in standin.commands


@pytest.mark.parametrize(
    ("fault", "error"),
    [("unauthorised", Rejected), ("busy", Busy), ("broken", Down)],
)
async def test_a_refusal_is_told_as_what_it_is(lab, fault, error):
    standin, ears = lab
    standin.faults.coming.append(Fault(fault))
    with pytest.raises(error) as refused:
        async with ears.listen(ListenOptions()):
            pass
    assert "test-key" not in str(refused.value)
    if error is Rejected:
        standin.faults.coming.append(Fault(fault))
        with pytest.raises(Rejected):
            await ears.warm()
    await ears.warm()


@pytest.mark.parametrize("kind", ["close", "stall", "half-dead", "malformed", "slow", "no final"])
async def test_a_vendor_that_fails_is_left_in_time_and_nothing_is_lost(brief_lab, kind):
    standin, ears = brief_lab
    standin.faults.coming.append(Fault(kind, 1 if kind in ("close", "malformed") else 0))
    audio = voice(1400) + silence(1000)
    heard: list[SttEvent] = []
    started = asyncio.get_running_loop().time()
    async with ears.listen(ListenOptions()) as ear:
        talk = asyncio.create_task(go_on(ear, audio + voice(1400) + silence(1000)))
        try:
            with pytest.raises(Down):
                async with asyncio.timeout(PATIENCE_S):
                    async for event in ear:
                        heard.append(event)
        finally:
            talk.cancel()
            await asyncio.wait([talk])
    assert asyncio.get_running_loop().time() - started < SOON_S
    if not any(isinstance(event, EndOfTurn) for event in heard):  # heard again from its start
        async with ears.listen(ListenOptions()) as ear:
            await phone(ear, audio)
            assert (await heard_until(ear))[-1].text == HOURS


async def test_known_words_are_not_held_back_by_a_final_that_never_comes():
    standin = CartesiaStandin([HOURS])
    standin.faults.coming.append(Fault("no final"))
    async with served(standin) as url:
        ears = CartesiaInk("ink-whisper", cartesia.KEY, url, BRIEF_STT)
        async with ears.listen(ListenOptions()) as ear:
            await phone(ear, voice(1400) + silence(1000))
            assert (await heard_until(ear))[-1].text.startswith("what are your")


async def test_a_turn_is_over_although_the_audio_stops(lab):
    _, ears = lab
    async with ears.listen(ListenOptions()) as ear:
        await phone(ear, voice(1400) + silence(100))  # and nothing more: the edge is gone
        heard = await heard_until(ear)
    assert [type(event) for event in heard] == [SpeechStart, SpeechEnd, EndOfTurn] and heard[-1].text == HOURS


async def test_an_end_of_speech_that_is_never_told_is_found():
    standin = SarvamStandin([HOURS], lose_end=True)
    async with served(standin) as url:
        async with Sarvam("saaras:v3", sarvam.KEY, url, BRIEF_STT).listen(ListenOptions(language="hi")) as ear:
            await phone(ear, voice(1400) + silence(3500))
            assert (await heard_until(ear))[-1].text == HOURS
        assert standin.queries[0]["language-code"] == "hi-IN" and standin.queries[0]["mode"] == "transcribe"
        assert "flush" in standin.commands


async def test_leaving_frees_the_socket_at_once(lab):
    standin, ears = lab
    tasks = asyncio.all_tasks()
    async with ears.listen(ListenOptions()) as ear:
        await phone(ear, voice(600))
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < SOON_S
    await until(lambda: standin.open == 0)
    assert not {task for task in asyncio.all_tasks() - tasks if task.get_name().startswith("stt stream ")}
    ear.feed(0, silence(20))
    assert not [event async for event in ear if isinstance(event, EndOfTurn)]


async def test_a_half_dead_socket_is_found_while_nobody_speaks(brief_lab):
    standin, ears = brief_lab
    standin.faults.coming.append(Fault("half-dead"))
    async with ears.listen(ListenOptions()) as ear:
        talk = asyncio.create_task(go_on(ear, silence(200)))
        try:
            with pytest.raises(Down, match="does not answer"):
                await heard_until(ear)
        finally:
            talk.cancel()
            await asyncio.wait([talk])


async def test_a_language_that_an_ear_does_not_know_is_rejected(lab):
    for tag in ("xx", "tlh-KX"):
        with pytest.raises(Rejected, match=tag):
            async with lab[1].listen(ListenOptions(language=tag)):
                pass
