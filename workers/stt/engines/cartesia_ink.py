"""`cartesia/<model>`: speech to text by Cartesia's Ink over its streaming WebSocket.

Audio goes as mu-law, untouched (`encoding=pcm_mulaw`), in messages of some 60 ms; commands are bare texts.  The
documents of 2026 say that this socket transcribes at `finalize`; older ones, that it finds the end of an utterance
by itself after `max_silence_duration_secs`.  Both work here: our own endpointing asks (`cartesia_ink_core`), and finals
that come unasked are gathered.  The documents require audio in real time; a replay comes faster, which delays the
answers to it, within `final_s`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from urllib.parse import urlencode

from common.process.addresses import socket_url
from workers.providers.cartesia import CARTESIA_URL, KEY_VARIABLE, headers
from workers.providers.interfaces import ListenOptions, Rejected
from workers.stt.engines.cartesia_ink_core import InkCore
from workers.stt.stream.audio_feed import AudioFeed
from workers.stt.stream.socket_stream import SocketAddress, SttSocketStream, open_stream, try_key
from workers.stt.stream.stt_core import SocketProfile, SttStreamOptions

MESSAGE_MS = 60
"""Audio in one message: half of it is the delay, and 17 messages a second are a third of the work of 50."""
GAP_FILL_MS = 1_000
"""Of missing audio this much is sent as silence: enough for the vendor to notice a pause."""
MIN_VOLUME = 0.0
"""No audio is too soft for the transcript: our endpointing decides what is speech."""
OPTIONS = SttStreamOptions(final_s=4.0)
_CODES = """
en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml cy sk
te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo
ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue
"""
LANGUAGES = frozenset(_CODES.split())
"""The languages of ink-whisper; every other Ink model understands English only, so far."""


class CartesiaInk:
    """`SpeechToText` by Cartesia; one socket a call."""

    def __init__(self, model: str, key: str, url: str = CARTESIA_URL, options: SttStreamOptions = OPTIONS) -> None:
        self._model = model
        self._key = key
        self._url = socket_url(url)
        self._options = options
        self._profile = SocketProfile(f"cartesia/{model}", message_ms=MESSAGE_MS, message_ms_max=MESSAGE_MS)

    def listen(self, options: ListenOptions) -> AbstractAsyncContextManager[SttSocketStream]:
        """Open a stream (see `SpeechToText`).  Raises Rejected if the model does not understand the language."""
        address = self._address(
            language_code(self._model, options.language),
            {"min_volume": str(MIN_VOLUME), "max_silence_duration_secs": str(options.endpointing_ms / 1000)},
        )
        feed = AudioFeed(self._options.backlog_ms_max, GAP_FILL_MS)
        return open_stream(address, self._profile, feed, InkCore(options, self._options.final_s), self._options)

    def _address(self, language: str, more: Mapping[str, str]) -> SocketAddress:
        query = {"model": self._model, "language": language, "encoding": "pcm_mulaw", "sample_rate": "8000", **more}
        url = f"{self._url}/stt/websocket?{urlencode(query)}"
        return SocketAddress(self._profile.name, url, headers(self._key), KEY_VARIABLE)

    async def warm(self) -> None:
        """Try the key.  Raises Rejected if it is refused."""
        await try_key(self._address("en", {}), self._options.connect_s)

    async def aclose(self) -> None:
        """Nothing is kept between calls."""


def language_code(model: str, tag: str) -> str:
    """ISO 639-1 of a BCP 47 tag.  Raises Rejected if the model does not understand it."""
    code = tag.partition("-")[0].lower()
    if code not in (LANGUAGES if model.startswith("ink-whisper") else {"en"}):
        raise Rejected(f"cartesia/{model} does not understand the language {tag!r}")
    return code
