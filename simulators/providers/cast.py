"""Serves all scripted vendors on one port, each under its name: `http://host:port/deepgram/v1/listen`.

They share one script and one pace; `settings` returns the settings that point a stack to them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute

from simulators.providers.aura import AuraStandin
from simulators.providers.bad_minutes import App, Receive, Scope, Send
from simulators.providers.cartesia import KEY as CARTESIA_KEY
from simulators.providers.cartesia import CartesiaStandin
from simulators.providers.deepgram import DeepgramStandin
from simulators.providers.elevenlabs import ElevenLabsStandin
from simulators.providers.faults import Faults
from simulators.providers.openai_chat import ECHO, Answer, ChatTiming, OpenAIChatStandin
from simulators.providers.openai_speech import OpenAISpeechStandin
from simulators.providers.sarvam import KEY as SARVAM_KEY
from simulators.providers.sarvam import SarvamStandin
from simulators.providers.voices import VoicePace

KEY = "fake"
FILE_BYTES_MAX = 1_000_000


class BadCastScript(ValueError):
    """The file is no script; the text names the expected form."""


@dataclass(frozen=True, slots=True)
class CastScript:
    """The transcripts, one for each speech of a call, and the model's answers, turn by turn.

    A pause of `endpointing` (the agent's `eager_endpointing_ms`, 200 by default) separates two speeches.
    """

    speeches: Sequence[str] = ("I would like to know when you are open.", "And where are you?", "Thank you, goodbye.")
    answers: Sequence[Answer] = ECHO


@dataclass(frozen=True, slots=True)
class CastPace:
    """Latencies of the vendors in ms: final result after the silence, first token, first byte of audio.

    `interim_ms` and `word_ms` are Deepgram's: audio per interim result, and per word in it.
    """

    final_ms: float = 50.0
    chat: ChatTiming = field(default_factory=ChatTiming)
    voice: VoicePace = field(default_factory=lambda: VoicePace(100.0, 0.1))
    keep_audio: bool = False
    interim_ms: int = 1000
    word_ms: int = 250


class Cast:
    """An ASGI application.  `faults` are by vendor; `wrap` puts something around one vendor."""

    def __init__(self, script: CastScript, pace: CastPace | None = None) -> None:
        pace = pace or CastPace()
        speeches, final_ms, first_ms = list(script.speeches), round(pace.final_ms), round(pace.voice.first_ms)
        nova = DeepgramStandin(
            speeches,
            key=KEY,
            final_after_ms=pace.final_ms,
            interim_ms=pace.interim_ms,
            word_ms=pace.word_ms,
            keep_audio=pace.keep_audio,
        )
        chat = OpenAIChatStandin(script.answers, pace.chat, KEY)
        standins: dict[str, list[Any]] = {
            "deepgram": [nova, AuraStandin(pace.voice, KEY)],
            "openai": [chat, OpenAISpeechStandin(pace.voice, KEY)],
            "elevenlabs": [ElevenLabsStandin(pace.voice, KEY)],
            "cartesia": [CartesiaStandin(speeches, final_after_ms=final_ms, first_byte_ms=first_ms)],
            "sarvam": [SarvamStandin(speeches, final_after_ms=final_ms, first_byte_ms=first_ms)],
        }
        for each in standins.values():
            for other in each[1:]:
                other.faults = each[0].faults  # one vendor, one set of faults
        self.faults: dict[str, Faults] = {vendor: each[0].faults for vendor, each in standins.items()}
        self.routes: dict[str, list[BaseRoute]] = {
            vendor: [route for standin in each for route in standin.routes] for vendor, each in standins.items()
        }
        self._apps: dict[str, App] = {vendor: Starlette(routes=routes) for vendor, routes in self.routes.items()}

    def wrap(self, vendor: str, app: App) -> None:
        """Replace the vendor's application by `app`."""
        self._apps[vendor] = app

    def app(self, vendor: str) -> App:
        """Return the vendor's present application."""
        return self._apps[vendor]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return
        vendor, _, path = scope["path"].removeprefix("/").partition("/")
        app = self._apps.get(vendor) or PlainTextResponse("no such vendor", 404)
        await app({**scope, "path": f"/{path}", "raw_path": f"/{path}".encode()}, receive, send)


def settings(url: str) -> dict[str, str]:
    """Return the environment that points a stack to the cast at this URL: keys and base URLs, no providers."""
    return {
        "DEEPGRAM_API_KEY": KEY,
        "DEEPGRAM_BASE_URL": f"{url}/deepgram",
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": f"{url}/openai/v1",
        "ELEVENLABS_API_KEY": KEY,
        "ELEVENLABS_BASE_URL": f"{url}/elevenlabs",
        "CARTESIA_API_KEY": CARTESIA_KEY,
        "CARTESIA_BASE_URL": f"{url}/cartesia",
        "SARVAM_API_KEY": SARVAM_KEY,
        "SARVAM_BASE_URL": f"{url}/sarvam",
    }


def read_cast_script(path: Path) -> CastScript:
    """Read `{"said": [text, …], "answers": [answer, …]}`.  Raises BadCastScript.

    An answer is a text, or an object with the fields of `Answer`: `arguments` an object, `then` one answer or a list.
    """
    if path.stat().st_size > FILE_BYTES_MAX:
        raise BadCastScript(f"{path.name}: larger than {FILE_BYTES_MAX} bytes")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        speeches, answers = document["said"], [_answer(entry) for entry in document["answers"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadCastScript(
            f'{path.name}: expected {{"said": [...], "answers": [...]}} ({type(error).__name__})'
        ) from None
    if not (isinstance(speeches, list) and speeches and answers and all(isinstance(text, str) for text in speeches)):
        raise BadCastScript(f"{path.name}: expected at least one text in `said` and one in `answers`")
    return CastScript(tuple(speeches), tuple(answers))


def _answer(entry: Any) -> Answer:
    if isinstance(entry, str):
        return Answer(entry)
    values: dict[str, Any] = dict(entry)
    then = values.pop("then", [])
    follows = tuple(map(_answer, then if isinstance(then, list) else [then]))
    return Answer(**values | {"arguments": json.dumps(values.get("arguments", {})), "then": follows})
