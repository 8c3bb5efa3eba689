"""What our Deepgram ears say on the wire: the query, the control messages, the audio, and how soon they decide."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from common.settings import Settings
from common.telemetry import metrics
from simulators.providers.faults import Fault
from tests.contract.stt_servers import BRIEF, KEY, LABS, LOUD, PATIENT, QUIET, STEP_S, frames, line, opened, phone
from tests.deadlines import WAIT_S
from workers.providers.interfaces import (
    Down,
    EagerEndOfTurn,
    EndOfTurn,
    ListenOptions,
    Rejected,
    SpeechEnd,
    SpeechStart,
    SttStream,
)
from workers.stt.engines.catalog import speech_to_text
from workers.stt.engines.deepgram_account import KEYTERM_CHARS_MAX, DeepgramAccount
from workers.stt.engines.deepgram_flux import DeepgramFlux
from workers.stt.engines.deepgram_nova import DeepgramNova, language_code
from workers.stt.stream.stt_core import SttStreamOptions

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

NOVA, FLUX = LABS["deepgram-nova"], LABS["deepgram-flux"]
SENTENCE = "I would like to book an appointment."


async def next_utterance(ear: SttStream) -> EndOfTurn:
    async with asyncio.timeout(WAIT_S):
        async for heard in ear:
            if isinstance(heard, EndOfTurn):
                return heard
    raise AssertionError("no utterance")


async def test_nova_is_asked_for_what_the_call_wants() -> None:
    async with opened(NOVA, SENTENCE) as vendor:
        options = ListenOptions(
            language="en-IN", endpointing_ms=1200, eager_endpointing_ms=250, keyterms=("Vobiz", "Anna Nagar")
        )
        async with vendor.ears.listen(options) as ear:
            phone(ear, ".")
        query = vendor.standin.connections[0].query
    assert [value for name, value in query if name == "keyterm"] == ["Vobiz", "Anna Nagar"]
    assert dict(query) == {
        "model": "nova-3",
        "language": "en-IN",
        "encoding": "mulaw",
        "sample_rate": "8000",
        "channels": "1",
        "interim_results": "true",
        "endpointing": "250",
        "utterance_end_ms": "1200",
        "vad_events": "true",
        "smart_format": "true",
        "punctuate": "true",
        "keyterm": "Anna Nagar",
    }


async def test_flux_is_asked_for_what_the_call_wants() -> None:
    async with opened(FLUX, SENTENCE) as vendor:
        async with vendor.ears.listen(ListenOptions(endpointing_ms=700, keyterms=("Vobiz",))) as ear:
            phone(ear, ".")
        async with vendor.ears.listen(ListenOptions(endpointing_ms=100, eager_endpointing_ms=0)) as ear:
            phone(ear, ".")
        first, second = (dict(connection.query) for connection in vendor.standin.connections)
    assert first == {
        "model": "flux-general-en",
        "encoding": "mulaw",
        "sample_rate": "8000",
        "eot_threshold": "0.7",
        "eager_eot_threshold": "0.4",
        "eot_timeout_ms": "2100",
        "keyterm": "Vobiz",
    }
    assert second["eot_timeout_ms"] == "500" and "eager_eot_threshold" not in second


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("en", "en"),
        ("en-in", "en-IN"),
        ("hi-IN", "hi"),
        ("HI", "hi"),
        ("ta-IN", "ta"),
        ("multi", "multi"),
        ("mul", "multi"),
        ("pt-BR", "pt-BR"),
        ("en-XX", "en"),
    ],
)
def test_languages_are_named_as_the_vendor_names_them(tag: str, code: str) -> None:
    assert language_code(tag) == code


async def test_flux_says_which_languages_it_does_not_understand() -> None:
    account = DeepgramAccount(KEY, "ws://127.0.0.1:9")
    for model, tag in (("flux-general-en", "hi-IN"), ("flux-general-multi", "ta-IN")):
        with pytest.raises(Rejected, match=tag):
            async with DeepgramFlux(model, account).listen(ListenOptions(language=tag)):
                pass


async def test_too_many_keyterms_are_cut_where_the_vendor_would_close_the_socket() -> None:
    async with opened(NOVA, SENTENCE) as vendor:
        terms = tuple(f"term number {number:03}" for number in range(500))
        async with vendor.ears.listen(ListenOptions(keyterms=terms)) as ear:
            phone(ear, ".")
        sent = [value for name, value in vendor.standin.connections[0].query if name == "keyterm"]
    assert sent == list(terms[: len(sent)]) and len(sent) > 50 and sum(map(len, sent)) <= KEYTERM_CHARS_MAX


async def test_the_audio_arrives_untouched_and_a_backlog_in_larger_messages() -> None:
    strip = "..##..###" * 3
    async with opened(NOVA, SENTENCE) as vendor, vendor.ears.listen(ListenOptions()) as ear:
        phone(ear, strip)
        connection = vendor.standin.connections[0]
        async with asyncio.timeout(WAIT_S):
            while len(connection.audio) < 2_700 * 8:
                await asyncio.sleep(STEP_S)
        backlog = connection.messages
        for number in range(5):  # live: a frame each
            ear.feed(2_700 + 20 * number, QUIET)
            async with asyncio.timeout(WAIT_S):
                while connection.messages == backlog + number:
                    await asyncio.sleep(0)
    assert backlog <= 2_700 / 200 + 2
    assert bytes(connection.audio) == b"".join(frames(strip)) + QUIET * 5


async def test_silence_on_the_bus_keeps_novas_line_open() -> None:
    async with opened(NOVA, SENTENCE) as vendor, vendor.ears.listen(ListenOptions()) as ear:
        connection = vendor.standin.connections[0]
        await asyncio.sleep(2 * vendor.standin.options.idle_ms / 1000)  # the edge is gone for a while
        assert connection.open and connection.texts.count("KeepAlive") >= 4
        async with line(ear, "......####", 60_000):
            assert (await next_utterance(ear)).text == SENTENCE
    assert connection.texts[-1] == "CloseStream"


async def test_a_line_without_keepalive_would_be_closed() -> None:
    """The stand-in is as strict as the vendor."""
    async with opened(NOVA, SENTENCE) as vendor:
        careless = SttStreamOptions(**{**PATIENT, "keepalive_s": WAIT_S})
        ears = DeepgramNova("nova-3", DeepgramAccount(KEY, vendor.url), careless)
        with pytest.raises(Down, match="1011"):
            async with ears.listen(ListenOptions()) as ear:
                await next_utterance(ear)


async def test_fluxs_idle_line_gets_pings_and_no_text_that_it_would_not_understand() -> None:
    async with opened(FLUX, SENTENCE) as vendor, vendor.ears.listen(ListenOptions()) as ear:
        connection = vendor.standin.connections[0]
        await asyncio.sleep(4 * PATIENT["keepalive_s"])
        assert connection.open and connection.texts == []
        async with line(ear, "......####"):
            assert (await next_utterance(ear)).text == SENTENCE


@pytest.mark.parametrize(("name", "order"), [("deepgram-nova", "Finalize"), ("deepgram-flux", "ForceEndTurn")])
async def test_an_overdue_final_is_asked_for_once(name: str, order: str) -> None:
    async with opened(LABS[name], SENTENCE, deadlines=BRIEF) as vendor:
        vendor.standin.faults.coming.append(Fault("no final"))
        async with vendor.ears.listen(ListenOptions(endpointing_ms=200)) as ear, line(ear, "......######"):
            await next_utterance(ear)
        assert vendor.standin.connections[0].texts.count(order) == 1


async def test_an_answer_to_finalize_is_the_final() -> None:
    async with opened(NOVA, SENTENCE, deadlines=BRIEF) as vendor, vendor.ears.listen(ListenOptions()) as ear:
        phone(ear, "......" + "#" * 30)
        utterance = await next_utterance(ear)  # the edge is gone in the middle of the speech
        assert SENTENCE.startswith(utterance.text) and len(utterance.text) > 20
        assert "Finalize" in vendor.standin.connections[0].texts


async def test_a_vendor_that_does_not_keep_up_costs_the_oldest_audio_and_is_counted() -> None:
    async with opened(NOVA, SENTENCE) as vendor:
        options = SttStreamOptions(**PATIENT, backlog_ms_max=2_000)
        ears = DeepgramNova("nova-3", DeepgramAccount(KEY, vendor.url), options)
        counter = metrics.FRAMES_DROPPED.labels("stt backlog")
        before = counter._value.get()
        async with ears.listen(ListenOptions()) as ear:
            phone(ear, "." * 30 + "....#####...........")  # 5 s at once
            async with line(ear, "", 5_000):
                utterance = await next_utterance(ear)
    assert counter._value.get() - before == 3_000 / 20 - 1, "the first frame leaves at once"
    assert abs(utterance.start_ms - 3_400) <= 100  # what was dropped shifts nothing


async def test_a_live_turn_is_over_as_soon_as_its_silence_is() -> None:
    """In real time: eager after `eager_endpointing_ms` and the latency, over after `endpointing_ms` of audio."""
    options = ListenOptions(eager_endpointing_ms=200, endpointing_ms=500)
    heard_at: dict[type, int] = {}
    async with opened(NOVA, SENTENCE) as vendor, vendor.ears.listen(options) as ear:
        loop = asyncio.get_running_loop()
        fed_ms = 0

        async def speak() -> None:
            nonlocal fed_ms
            begin = loop.time()
            strip = [LOUD if 200 <= at < 800 else QUIET for at in range(0, 3_000, 20)]
            for number, frame in enumerate(strip):
                await asyncio.sleep(begin + number * 0.02 - loop.time())
                ear.feed(20 * number, frame)
                fed_ms = 20 * (number + 1)

        speaking = asyncio.create_task(speak())
        try:
            async with asyncio.timeout(WAIT_S):
                async for heard in ear:
                    heard_at.setdefault(type(heard), fed_ms)
                    if isinstance(heard, EndOfTurn):
                        break
        finally:
            speaking.cancel()
            await asyncio.wait([speaking])
    assert list(heard_at) == [SpeechStart, SpeechEnd, EagerEndOfTurn, EndOfTurn]
    assert 260 <= heard_at[SpeechStart] <= 400
    assert 1_000 <= heard_at[EagerEndOfTurn] <= 1_140
    assert 1_300 <= heard_at[EndOfTurn] <= 1_420
    assert heard.decided_ms - heard.end_ms >= 500  # type: ignore[union-attr]


def test_the_providers_are_named_vendor_and_model() -> None:
    environ = {"DEEPGRAM_API_KEY": KEY}
    assert isinstance(speech_to_text("deepgram/nova-3", environ), DeepgramNova)
    assert isinstance(speech_to_text("deepgram/flux-general-multi", environ), DeepgramFlux)
    with pytest.raises(ValueError, match="set DEEPGRAM_API_KEY"):
        speech_to_text("deepgram/nova-3", {})
    assert KEY not in repr(speech_to_text("deepgram/nova-3", environ)) + repr(DeepgramAccount(KEY))


def test_with_a_key_deepgram_is_the_default_and_a_choice_still_wins() -> None:
    with_key = Settings.from_env({"DEEPGRAM_API_KEY": KEY})
    assert with_key.providers("stt") == ["deepgram/nova-3"] and KEY not in repr(with_key)
    assert with_key.providers("stt", ("local/whisper-base",)) == ["local/whisper-base"]
    chosen = Settings.from_env({"DEEPGRAM_API_KEY": KEY, "STT_PROVIDER": "deepgram/flux-general-en"})
    assert chosen.providers("stt") == ["deepgram/flux-general-en"]
    assert Settings.from_env({}).providers("stt") == ["local/whisper-tiny.en"]


def test_a_server_may_be_given_in_any_form() -> None:
    forms = itertools.product(("http", "https", "ws", "wss"), ("", "/"))
    for scheme, slash in forms:
        account = DeepgramAccount("", f"{scheme}://speech.example.com{slash}")
        url = account.address("deepgram", "/v1/listen", [("keyterm", "Anna Nagar"), ("keyterm", "Vobiz")]).url
        secure = "s" if scheme.endswith("s") and scheme != "ws" else ""
        assert url == f"ws{secure}://speech.example.com/v1/listen?keyterm=Anna+Nagar&keyterm=Vobiz"
        assert account.headers == {}
