"""A vendor that says nothing has nothing to say: its socket is asked by a ping before it is given up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.server import ServerProtocol

from common.audio import g711
from tests.contract.deadlines import BRIEF_STT
from tests.contract.stt_servers import BRIEF, LOUD, QUIET
from tests.deadlines import WAIT_S
from workers.providers.interfaces import Down, ListenOptions, ProviderError, SpeechToText
from workers.providers.websocket import answers_ping, open_socket
from workers.stt.engines.cartesia_ink import CartesiaInk
from workers.stt.engines.deepgram_account import DeepgramAccount
from workers.stt.engines.deepgram_flux import DeepgramFlux, FluxOptions
from workers.stt.engines.deepgram_nova import DeepgramNova
from workers.stt.engines.sarvam import Sarvam
from workers.stt.stream.stt_core import SttStreamOptions

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

STEP_S = 0.01
EARS: dict[str, Callable[[str], SpeechToText]] = {
    "deepgram/nova": lambda url: DeepgramNova("nova-3", DeepgramAccount("key", url), _deepgram()),
    "deepgram/flux": lambda url: DeepgramFlux("flux-general-en", DeepgramAccount("key", url), FluxOptions(**BRIEF)),
    "cartesia": lambda url: CartesiaInk("ink-whisper", "key", url, BRIEF_STT),
    "sarvam": lambda url: Sarvam("saarika:v2.5", "key", url, BRIEF_STT),
}
EVERY_EAR = pytest.mark.parametrize("name", EARS)


def _deepgram() -> SttStreamOptions:

    return SttStreamOptions(**BRIEF)


@contextlib.asynccontextmanager
async def vendor(handle: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    async with serve(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"  # type: ignore[index]


async def says_nothing(connection: ServerConnection) -> None:
    """Takes all audio and answers pings, as every WebSocket does."""
    async for _ in connection:
        pass


@contextlib.asynccontextmanager
async def dead_after_the_handshake() -> AsyncIterator[str]:
    """Reads, and answers not even a ping."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol()
        while not protocol.events_received():
            protocol.receive_data(await reader.read(4096))
            if protocol.handshake_exc is not None:
                break
            events = protocol.events_received()
            if events:
                protocol.send_response(protocol.accept(events[0]))  # type: ignore[arg-type]
                for data in protocol.data_to_send():
                    writer.write(data)
                break
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def lasts(ears: SpeechToText, frames: Callable[[int], bytes], seconds: float) -> ProviderError | None:
    """Feed frames at six times the pace of time; why the ear failed, if it did."""
    loop = asyncio.get_running_loop()
    async with ears.listen(ListenOptions()) as ear:
        until, position_ms = loop.time() + seconds, 0

        async def read() -> None:
            async for _ in ear:
                pass

        reading = asyncio.create_task(read())
        while loop.time() < until and not reading.done():
            for _ in range(3):
                ear.feed(position_ms, frames(position_ms))
                position_ms += g711.FRAME_MS
            await asyncio.sleep(STEP_S)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            try:
                await reading
            except ProviderError as error:
                return error
    return None


@EVERY_EAR
async def test_a_vendor_that_says_nothing_in_silence_is_left_alone(name: str) -> None:
    async with vendor(says_nothing) as url:
        assert await lasts(EARS[name](url), lambda at_ms: QUIET, 2.5) is None


@EVERY_EAR
async def test_a_vendor_that_minds_no_coughs_is_left_alone(name: str) -> None:
    """100 ms of noise in every 11 s of the call: more in all than the speech that it must notice."""
    async with vendor(says_nothing) as url:
        error = await lasts(
            EARS[name](url), lambda at_ms: LOUD if at_ms % 11_000 < 100 and name != "cartesia" else QUIET, 2.0
        )
        assert error is None


@EVERY_EAR
async def test_a_socket_that_answers_no_ping_is_given_up(name: str) -> None:
    async with dead_after_the_handshake() as url:
        assert isinstance(await lasts(EARS[name](url), lambda at_ms: QUIET, WAIT_S), Down)


@pytest.mark.parametrize("name", ["deepgram/nova", "deepgram/flux", "sarvam"])
async def test_a_vendor_that_does_not_notice_speech_is_given_up(name: str) -> None:
    """Its socket lives, and nobody listens behind it: the caller speaks on and on."""
    async with vendor(says_nothing) as url:
        words = lambda at_ms: LOUD if at_ms % 1000 < 700 else QUIET  # noqa: E731
        assert isinstance(await lasts(EARS[name](url), words, WAIT_S), Down)


async def test_a_ping_tells_a_silent_socket_from_a_dead_one() -> None:
    async with vendor(says_nothing) as url:
        connection = await open_socket("vendor/x", url.replace("http", "ws"), {}, WAIT_S, "KEY")
        assert await answers_ping(connection, WAIT_S)
        await connection.close()
        assert not await answers_ping(connection, 1.0)
    async with dead_after_the_handshake() as url:
        connection = await open_socket("vendor/x", url.replace("http", "ws"), {}, WAIT_S, "KEY")
        assert not await answers_ping(connection, 0.2)
        await connection.close()
