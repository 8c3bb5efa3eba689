"""Builds and parses ElevenLabs' multi-context messages, and maps a clause's letters to its audio.  Pure.

    sent        {"text": " ", "context_id": "7", "voice_settings": {"speed": 1.1}}    opens a context
                {"text": "Good morning. ", "context_id": "7", "flush": true}
                {"context_id": "7", "close_context": true}
    received    {"audio": "<base64>", "contextId": "7", "alignment": {"chars": ["G", …], "charStartTimesMs": [0, …],
                 "charDurationsMs": [60, …]} | null, "normalizedAlignment": …}
                {"isFinal": true, "contextId": "7"}
                {"error": "quota_exceeded", "message": "…", "code": 1008}    and the socket is closed

A flush alone is never answered by `isFinal`, only a close is; a context that has audio continues to its end when it is
closed.  One that is closed before may end without audio: under load the close overtakes the text.  So the close is sent
with the first audio.  Until its `isFinal` a context counts against the vendor's limit.
Sources: the vendor's API reference ("Multi-Context WebSocket") and guide; bolna-ai/bolna#790, pipecat-ai/pipecat#4041,
#4681 and #5282, livekit/agents#4171.
"""

from __future__ import annotations

import binascii
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from common.audio.g711 import BYTES_PER_MS
from workers.providers.interfaces import Busy, Down, ProviderError, Rejected

CONTEXTS_MAX = 5
"""Contexts of one socket at once; the vendor closes the socket at the sixth."""
INACTIVITY_S = 180
"""The longest inactivity timeout that may be requested; the default is 20 s."""
SPEED_MIN, SPEED_MAX = 0.7, 1.2
HEAD_CHARS = 24
"""Letters of an alignment that identify where it begins in the text."""
LOOKAHEAD_CHARS = 8
"""Most letters that are skipped to match an alignment that differs from the text."""
MISSING_MS_MAX = 100
"""Most ms of audio that may be missing at the end of a complete clause."""
RATE_FACTOR_MAX, RATE_SLACK_MS = 1.75, 1_000
"""Audio that is longer than its alignment by more than this has another sample rate."""

_BUSY = ("too_many", "max_active", "simultaneous", "rate_limit", "concurren", "system_busy", "capacity")
_REJECTED = (
    "api_key", "quota", "unusual_activity", "unauthorized", "permission", "not_found", "invalid", "unsupported",
    "max_character",
)  # fmt: skip


def socket_path(voice: str, model: str, language: str) -> str:
    """Return path and query of a socket.  `language`: an ISO 639-1 code, or empty for models that take none."""
    query = {
        "model_id": model,
        "output_format": "ulaw_8000",
        "inactivity_timeout": str(INACTIVITY_S),
        "sync_alignment": "true",
        "auto_mode": "true",  # each text is a whole clause: do not wait for 120 characters
    }
    if language:
        query["language_code"] = language
    return f"/v1/text-to-speech/{quote(voice, safe='')}/multi-stream-input?{urlencode(query)}"


def language_code(model: str, language: str) -> str:
    """Return the `language_code` for a BCP 47 tag; empty for a model that refuses any."""
    takes_one = model.endswith("_v2_5") or model.startswith("eleven_v3")
    return language.replace("_", "-").partition("-")[0].lower() if takes_one else ""


def voice_settings(speed: float) -> dict[str, Any]:
    """Return the fields that are sent with a text.  Empty at normal speed: the voice's own settings then apply."""
    return {} if speed == 1.0 else {"voice_settings": {"speed": min(max(speed, SPEED_MIN), SPEED_MAX)}}


def opening(context_id: str, speed: float) -> str:
    """Return the first message of a context."""
    return json.dumps({"text": " ", "context_id": context_id, **voice_settings(speed)})


def speaking(context_id: str, text: str) -> str:
    """Return the message that sends the clause, to be synthesised at once."""
    return json.dumps({"text": text.rstrip() + " ", "context_id": context_id, "flush": True}, ensure_ascii=False)


def closing(context_id: str) -> str:
    """Return the message that ends a context's text (not its audio)."""
    return json.dumps({"context_id": context_id, "close_context": True})


@dataclass(frozen=True, slots=True)
class Alignment:
    """Letters and their start times, in ms of the part of the audio that this alignment covers."""

    chars: tuple[str, ...]
    starts_ms: tuple[int, ...]
    end_ms: int


@dataclass(frozen=True, slots=True)
class SocketMessage:
    """One parsed message of the vendor."""

    context_id: str = ""
    """Empty: the message is about the whole socket."""
    audio: bytes = b""
    alignment: Alignment | None = None
    final: bool = False
    error: str = ""


def understood(raw: str | bytes) -> SocketMessage:
    """Parse a message.  Raises ValueError if it is malformed.  A malformed alignment is only left out."""
    message = json.loads(raw)
    if not isinstance(message, dict):
        raise ValueError("expected an object")
    audio = message.get("audio") or ""
    if not isinstance(audio, str):
        raise ValueError("expected audio in base64")
    error = message.get("error") or ""
    return SocketMessage(
        context_id=str(message.get("contextId") or message.get("context_id") or ""),
        audio=binascii.a2b_base64(audio, strict_mode=True) if audio else b"",
        alignment=_alignment(message.get("alignment")),
        final=message.get("isFinal") is True or message.get("is_final") is True,
        error=error if isinstance(error, str) else "unknown",
    )


def _alignment(found: Any) -> Alignment | None:
    try:
        chars, starts = tuple(found["chars"]), tuple(map(int, found["charStartTimesMs"]))
        durations = tuple(map(int, found["charDurationsMs"]))
    except (KeyError, TypeError, ValueError):
        return None
    if not chars or not len(chars) == len(starts) == len(durations) or not all(isinstance(c, str) for c in chars):
        return None
    return Alignment(chars, starts, starts[-1] + durations[-1])


def provider_error(name: str, error: str) -> ProviderError:
    """Convert the vendor's error (a code or a sentence).  Only a code is repeated: a sentence may quote the text."""
    code = error.lower().replace(" ", "_")
    if any(part in code for part in _BUSY):
        return Busy(f"{name} is at its limit ({_word(error)})")
    if any(part in code for part in _REJECTED):
        return Rejected(f"{name} refused ({_word(error)}); check ELEVENLABS_API_KEY, the model and the voice")
    return Down(f"{name} failed ({_word(error)})")


def _word(error: str) -> str:
    return error if error.isascii() and error.replace("_", "").isalpha() and len(error) < 50 else "no code"


class ClauseTimings:
    """Maps one clause's letters to positions in its audio.  Call `receive` with every message of the clause, in order.

    Alignments come one after the other, each counted from the end of the one before.  Some models send a first part and
    then the whole again (pipecat-ai/pipecat#4316): an alignment that begins where the last one began is that, and its
    known letters are left out.  `normalizedAlignment` is not used: "Dr." and "$5" have other letters there.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._before = (0, 0)
        """Letter and ms at which the last alignment began."""
        self._ms = 0
        self._last_ms = 0
        self._audio_ms = 0.0

    @property
    def complete(self) -> bool:
        """True if every letter has a timing, and all its audio has come."""
        return self._ms > 0 and not self._text[self._at :].strip() and self._audio_ms + MISSING_MS_MAX >= self._ms

    @property
    def wrong_rate(self) -> bool:
        """True if there is so much more audio than the letters take that its sample rate must be another."""
        return self._ms > 0 and self._audio_ms > RATE_FACTOR_MAX * self._ms + RATE_SLACK_MS

    def receive(self, audio: bytes, alignment: Alignment | None) -> tuple[tuple[int, int], ...]:
        """Return new timings for `CharTimings`: (offset in the text, ms in the clause's audio), in order."""
        self._audio_ms += len(audio) / BYTES_PER_MS
        if alignment is None:
            return ()
        at, begins_ms = self._origin(alignment.chars)
        self._before = (at, begins_ms)
        char_timings = []
        for char, start_ms in zip(alignment.chars, alignment.starts_ms, strict=True):
            found = self._find(char, at)
            if found is None:
                continue
            at = found + len(char)
            if found < self._at:
                continue  # returned before
            self._last_ms = max(self._last_ms, begins_ms + start_ms)
            char_timings.append((found, self._last_ms))
            self._at = at
        self._ms = max(self._ms, begins_ms + alignment.end_ms)
        return tuple(char_timings)

    def _origin(self, chars: tuple[str, ...]) -> tuple[int, int]:
        """Return where the alignment begins: after the last one, or where that one began."""
        spoken = "".join(chars).strip()
        head = spoken[: max(1, min(len(spoken), HEAD_CHARS))]
        going_on = self._text[self._at :].lstrip().startswith(head)
        again = self._text[self._before[0] :].lstrip().startswith(head)
        return self._before if again and not going_on else (self._at, self._ms)

    def _find(self, char: str, at: int) -> int | None:
        if not char or char.isspace():
            return None
        found = self._text.find(char, at, at + LOOKAHEAD_CHARS)
        return None if found < 0 else found
