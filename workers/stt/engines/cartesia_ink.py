"""`cartesia/<model>`: speech to text by Cartesia's Ink over its streaming WebSocket.

Audio goes as mu-law, untouched (`encoding=pcm_mulaw`), in messages of some 60 ms; commands are bare texts.  The
documents of 2026 say that this socket transcribes at `finalize`; older ones, that it finds the end of an utterance
by itself after `max_silence_duration_secs`.  Both hold here: our own endpointing asks (`ink_turns`), and finals
that come unasked are gathered.  The documents ask for audio in real time; a replay comes faster, which delays the
answers to it, within `final_s`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

from workers.providers.cartesia import CARTESIA_URL, KEY_VARIABLE, headers, socket_url
from workers.providers.interfaces import ListenOptions, ProviderError, Rejected
from workers.providers.websocket import close_socket, open_socket
from workers.stt.engines.cartesia_ink_core import InkTurns
from workers.stt.stream.batched_stream import DEADLINES, BatchedSttStream, SttDeadlines, open_stream

BATCH_MS = 60
"""Audio in one message: half of it is the delay, and 17 messages a second are a third of the work of 50."""
MIN_VOLUME = 0.0
"""Nothing is too soft for the transcript: what is speech is decided here."""
_CODES = """
en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml cy sk
te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo
ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue
"""
LANGUAGES = frozenset(_CODES.split())
"""What ink-whisper understands; every other Ink model understands English only, so far."""


class CartesiaInk:
    """`SpeechToText` by Cartesia; one socket a call."""

    def __init__(self, model: str, key: str, url: str = CARTESIA_URL, deadlines: SttDeadlines = DEADLINES) -> None:
        self._model = model
        self._key = key
        self._url = socket_url(url)
        self._deadlines = deadlines
        self._name = f"cartesia/{model}"

    @asynccontextmanager
    async def listen(self, options: ListenOptions) -> AsyncIterator[BatchedSttStream]:
        """Open an ear (see `SpeechToText`)."""
        query = {
            "model": self._model,
            "language": language_code(self._model, options.language),
            "encoding": "pcm_mulaw",
            "sample_rate": "8000",
            "min_volume": str(MIN_VOLUME),
            "max_silence_duration_secs": str(options.endpointing_ms / 1000),
        }
        url = f"{self._url}/stt/websocket?{urlencode(query)}"
        connection = await open_socket(self._name, url, headers(self._key), self._deadlines.connect_s, KEY_VARIABLE)
        core = InkTurns(options, self._deadlines.final_s)
        async with open_stream(self._name, connection, core, self._deadlines, BATCH_MS) as stream:
            yield stream

    async def warm(self) -> None:
        """Try the key.  Raises Rejected if it is wrong; a vendor that is down now is no reason to stop."""
        query = {"model": self._model, "language": "en", "encoding": "pcm_mulaw", "sample_rate": "8000"}
        url = f"{self._url}/stt/websocket?{urlencode(query)}"
        try:
            connection = await open_socket(self._name, url, headers(self._key), self._deadlines.connect_s, KEY_VARIABLE)
        except Rejected:
            raise
        except ProviderError:
            return
        await close_socket(connection)

    async def aclose(self) -> None:
        """Nothing is kept between calls."""


def language_code(model: str, tag: str) -> str:
    """ISO 639-1 of a BCP 47 tag.  Raises Rejected if the model does not understand it."""
    code = tag.partition("-")[0].lower()
    if code not in (LANGUAGES if model.startswith("ink-whisper") else {"en"}):
        raise Rejected(f"cartesia/{model} does not understand the language {tag!r}")
    return code
