"""The connections to vendors: shared, kept, found dead in time, and never missed by a caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress

import pytest

from simulators.providers.faults import Fault
from simulators.providers.voices import VoicePace, mulaw
from tests.contract.deadlines import PATIENT_TTS
from tests.contract.tts_servers import LABS, Lab, Stage, open_lab, said, sounds, until
from tests.deadlines import SOON_S
from workers.providers.interfaces import Busy, CharTimings, Down, VoiceOptions
from workers.tts.engines.elevenlabs import ElevenLabs
from workers.tts.engines.elevenlabs_socket import SocketLimits

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

HELLO = "Good morning, how can I help you?"
HOURS = "We are open from nine to six, Monday to Friday."
LONG = "Let me read that back to you, so that we both have it right. It is the fourth of May, at half past nine."
STEADY = VoicePace(first_ms=10.0, s_per_s=0.1)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop for the module, and one server."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with Stage() as stage:
        yield stage


# --- connections that are kept --------------------------------------------------------------------------------------


class Kept:
    """A server that answers one request on a connection, and closes it instead of answering another."""

    def __init__(self, body: bytes, media: str) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ncontent-length: {len(body)}\r\n\r\n"
        self._answer = head.encode() + body
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):  # the client has gone
            for number in range(2):
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                self.requests += 1
                if number == 0:
                    writer.write(self._answer)
                    await writer.drain()
        writer.close()


@pytest.mark.parametrize(("name", "media"), [("aura", "audio/mulaw"), ("openai", "audio/pcm")])
async def test_a_kept_connection_that_ends_as_it_is_used_again_is_not_noticed(name: str, media: str) -> None:
    kept = Kept(bytes(4800), media)
    async with await asyncio.start_server(kept.serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        mouth = LABS[name].speak(url, "key", PATIENT_TTS)
        assert len(await said(mouth, HELLO)) == len(await said(mouth, HELLO)) > 0
        assert kept.requests == 3
        await mouth.aclose()


# --- ElevenLabs' socket ---------------------------------------------------------------------------------------------


def limited(limits: SocketLimits, through: str = "") -> Lab:
    """ElevenLabs with other limits, perhaps through another address."""
    return Lab(
        LABS["elevenlabs"].standin,
        lambda url, key, deadlines: ElevenLabs(
            "eleven_flash_v2_5", key=key, url=through or url, deadlines=deadlines, limits=limits
        ),
    )


class Way:
    """The network between us and a server: while `through` is not set nothing gets through, and nobody is told."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rpartition(":")[2])
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.through = asyncio.Event()
        self.through.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, back]
        for source, sink in ((reader, back), (there, writer)):
            self._tasks.add(asyncio.create_task(self._pipe(source, sink), name="the way"))

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            await self.through.wait()
            if sink.is_closing():
                return
            sink.write(data)
        if not sink.is_closing():
            sink.close()

    async def __aenter__(self) -> Way:
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()


async def test_one_warm_socket_serves_clause_after_clause(stage: Stage) -> None:
    async with open_lab(stage, LABS["elevenlabs"]) as (standin, mouth):
        await mouth.warm()
        for text in (HELLO, HOURS, HELLO):
            assert await said(mouth, text) == mulaw(text)
        assert standin.sockets_opened == 1 and standin.contexts == 0 and not standin.errors


async def test_more_clauses_than_a_socket_takes_use_more_sockets(stage: Stage) -> None:
    texts = [f"Caller number {number}, please hold." for number in range(23)]
    async with open_lab(stage, LABS["elevenlabs"]) as (standin, mouth):
        standin.pace = VoicePace(first_ms=50.0)
        assert await asyncio.gather(*(said(mouth, text) for text in texts)) == [mulaw(text) for text in texts]
        assert standin.sockets_opened == 5 and standin.contexts_most == 5 and not standin.errors


async def test_more_clauses_than_there_may_be_sockets_for_are_busy(stage: Stage) -> None:
    lab = limited(SocketLimits(sockets_max=1))
    async with open_lab(stage, lab) as (standin, mouth):
        standin.pace = VoicePace(first_ms=50.0)
        results = await asyncio.gather(*(said(mouth, HELLO) for _ in range(6)), return_exceptions=True)
        assert [type(result) for result in results if not isinstance(result, bytes)] == [Busy]
        # another voice is worth more than an idle socket
        assert await sounds(mouth, HELLO, VoiceOptions(language="hi"))
        assert list(standin.languages) == ["en", "hi"]


async def test_clauses_given_up_keep_their_places_until_the_vendor_is_done(stage: Stage) -> None:
    async with open_lab(stage, LABS["elevenlabs"]) as (standin, mouth):
        standin.pace = STEADY
        for _ in range(5):
            async with aclosing(mouth.say(HOURS, VoiceOptions())) as stream:  # type: ignore[type-var]
                async for _sound in stream:
                    break
        assert standin.contexts == 5
        assert await said(mouth, HELLO) == mulaw(HELLO)
        assert standin.sockets_opened == 2 and standin.contexts_most == 5 and not standin.errors
        await until(lambda: standin.contexts == 0)
        assert await said(mouth, HELLO) == mulaw(HELLO)
        assert standin.sockets_opened == 2


async def test_a_socket_that_the_vendor_closed_for_idleness_is_not_noticed(stage: Stage) -> None:
    async with open_lab(stage, LABS["elevenlabs"]) as (standin, mouth):
        standin.idle_s = 0.05
        assert await said(mouth, HELLO) == mulaw(HELLO)
        await until(lambda: standin.sockets == 0)
        assert await said(mouth, HOURS) == mulaw(HOURS)
        assert standin.sockets_opened == 2


async def test_a_clause_that_meets_the_end_of_an_old_socket_is_sent_again(stage: Stage) -> None:
    async with open_lab(stage, LABS["elevenlabs"]) as (standin, mouth):
        first = mulaw(HELLO)
        messages = -(-len(HELLO) // 3) + 1  # its audio and its end
        standin.faults.coming.append(Fault("close", messages))
        assert await said(mouth, HELLO) == first
        assert await said(mouth, HOURS) == mulaw(HOURS)
        assert standin.sockets_opened == 2
        assert [text.strip() for text in standin.texts] == [HELLO, HOURS, HOURS]


async def test_a_socket_that_dies_takes_all_its_clauses_down(stage: Stage) -> None:
    async with open_lab(stage, LABS["elevenlabs"]) as (standin, mouth):
        standin.faults.coming.append(Fault("close", 6))
        standin.pace = STEADY
        began = asyncio.get_running_loop().time()
        results = await asyncio.gather(*(said(mouth, LONG) for _ in range(3)), return_exceptions=True)
        assert asyncio.get_running_loop().time() - began < SOON_S  # they were told
        assert [type(result) for result in results] == [Down, Down, Down]
        assert await said(mouth, HELLO) == mulaw(HELLO)


async def test_a_context_is_closed_once_it_speaks_and_not_before(stage: Stage) -> None:
    """Under load the vendor lets a close overtake the text, and the clause ends without a sound."""
    async with open_lab(stage, LABS["elevenlabs"]) as (standin, mouth):
        standin.hasty = True
        standin.pace = VoicePace(first_ms=50.0)
        texts = [f"Caller number {number}, please hold." for number in range(7)]
        assert await asyncio.gather(*(said(mouth, text) for text in texts)) == [mulaw(text) for text in texts]
        await until(lambda: standin.contexts == 0)
        assert not standin.errors


async def test_a_clause_given_up_before_its_first_sound_does_not_keep_its_place(stage: Stage) -> None:
    async with open_lab(stage, LABS["elevenlabs"]) as (standin, mouth):
        standin.pace = VoicePace(first_ms=50.0)
        for _ in range(5):
            speaking = asyncio.create_task(said(mouth, HELLO))
            texts = len(standin.texts)
            await until(lambda texts=texts: len(standin.texts) > texts)  # type: ignore[misc]
            speaking.cancel()
            await asyncio.wait([speaking])
        await until(lambda: standin.contexts == 0)
        assert await said(mouth, HOURS) == mulaw(HOURS)
        assert standin.sockets_opened == 1 and not standin.errors


async def test_an_idle_socket_is_closed_before_the_vendor_does(stage: Stage) -> None:
    async with open_lab(stage, limited(SocketLimits(beat_s=0.05, idle_s=0.08))) as (standin, mouth):
        assert await said(mouth, HELLO) == mulaw(HELLO)
        await until(lambda: standin.sockets == 0)
        assert not standin.errors
        assert await said(mouth, HELLO) == mulaw(HELLO)


async def test_an_idle_socket_that_is_sound_is_kept(stage: Stage) -> None:
    async with open_lab(stage, limited(SocketLimits(beat_s=0.03))) as (standin, mouth):
        assert await said(mouth, HELLO) == mulaw(HELLO)
        await asyncio.sleep(0.2)  # several beats
        assert await said(mouth, HELLO) == mulaw(HELLO)
        assert standin.sockets_opened == 1


async def test_a_half_dead_socket_is_found_before_a_clause_meets_it(stage: Stage) -> None:
    async with Way(stage.server.url) as way, await asyncio.start_server(way.carry, "127.0.0.1", 0) as server:
        lab = limited(SocketLimits(beat_s=0.05), f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with open_lab(stage, lab) as (standin, mouth):
            assert await said(mouth, HELLO) == mulaw(HELLO)
            way.through.clear()
            await until(lambda: "0 sockets" in repr(mouth))
            way.through.set()
            assert await said(mouth, HELLO) == mulaw(HELLO)
            assert standin.sockets_opened == 2


async def test_a_clause_given_up_that_never_ends_costs_the_socket(stage: Stage) -> None:
    async with open_lab(stage, limited(SocketLimits(beat_s=0.05, drain_s=0.05))) as (standin, mouth):
        standin.faults.coming.append(Fault("stall", 2))
        async with aclosing(mouth.say(HOURS, VoiceOptions())) as stream:  # type: ignore[type-var]
            async for _ in stream:
                break
        await until(lambda: "0 sockets" in repr(mouth))
        assert await said(mouth, HELLO) == mulaw(HELLO)


async def test_every_letter_has_its_time_in_the_clause(stage: Stage) -> None:
    async with open_lab(stage, LABS["elevenlabs"]) as (_, mouth):
        marks = [mark for sound in await sounds(mouth, HELLO) if isinstance(sound, CharTimings) for mark in sound.marks]
    assert marks == [(offset, 66 * offset) for offset, char in enumerate(HELLO) if not char.isspace()]


async def test_the_language_is_told_to_models_that_take_one(stage: Stage) -> None:
    async with open_lab(stage, LABS["elevenlabs"]) as (standin, mouth):
        await sounds(mouth, HELLO, VoiceOptions(language="hi-IN"))
        await sounds(mouth, HELLO, VoiceOptions(language="en-US"))
        assert list(standin.languages) == ["hi", "en"]
