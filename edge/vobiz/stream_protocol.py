"""The Vobiz media stream, sans I/O: JSON text frames <-> typed events.

Sources: Vobiz documentation "Audio streaming over WebSocket" (stream events, playAudio, clearAudio, checkpoint), and
captured calls.  Where they disagree we read every variant that was seen: ids nested in `start`, at the top level, or
under other names; numbers as strings; a `playedStream` with and without ids.

`parse` is called 50 times a second and call; a `media` frame takes one pass of msgspec, base64 included.
"""

from __future__ import annotations

import json
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from edge.vobiz.dtmf import keys_of
from edge.vobiz.media_format import BadFormat, MediaFormat, media_format

__all__ = ["BadFrame", "Commands", "Event", "MediaFormat", "parse"]

MESSAGE_BYTES_MAX = 64 * 1024
"""Vobiz sends under 2 KB; a larger message ends the socket with code 1009 before it is parsed."""
PAYLOAD_BYTES_MAX = 16 * 1024
NAME_CHARS_MAX = 256


class BadFrame(ValueError):
    """A message that cannot be understood.  `kind` is a closed set, fit for a metric label."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


# --- what Vobiz says --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """The stream is open.  Ids are empty and `media_format` None where Vobiz did not say."""

    call_id: str
    stream_id: str
    media_format: MediaFormat | None


@dataclass(frozen=True, slots=True)
class Media:
    """Audio of the caller, in the stream's format; usually 20 ms, but any length is allowed."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class DtmfMessage:
    """The caller pressed one key, or several: 0-9 * # A-D, in their order."""

    digits: str


@dataclass(frozen=True, slots=True)
class PlayedStream:
    """All audio queued before the checkpoint `name` has been played to its end."""

    name: str


@dataclass(frozen=True, slots=True)
class ClearedAudio:
    """The carrier's queue is empty; audio may be sent again."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The stream is over.  Today's Vobiz closes the socket instead; older versions say this first."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """An event of a name we do not know: ignored, counted."""

    other_track: bool = False
    """It is the agent's own audio, sent back to us."""


Event: TypeAlias = Start | Media | DtmfMessage | PlayedStream | ClearedAudio | Stop | Unknown


class _MediaBody(msgspec.Struct):
    payload: bytes
    track: str = "inbound"


class _MediaMessage(msgspec.Struct, tag_field="event", tag="media"):
    media: _MediaBody


_decode_media = msgspec.json.Decoder(_MediaMessage).decode


def parse(text: str | bytes) -> Event:
    """One text frame as an event.  Raises BadFrame."""
    try:
        body = _decode_media(text).media
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _parse_any(text)
    if len(body.payload) > PAYLOAD_BYTES_MAX:
        raise BadFrame("too large", f"media of {len(body.payload)} bytes; at most {PAYLOAD_BYTES_MAX}")
    return Media(body.payload) if body.track != "outbound" else Unknown(True)


def _parse_any(text: str | bytes) -> Event:
    """Everything but an ordinary media frame: rare, so tolerant rather than fast."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise BadFrame("bad json", "the frame is not JSON") from None
    if not isinstance(message, dict):
        raise BadFrame("bad json", f"expected a JSON object, got {type(message).__name__}")
    match message.get("event"):
        case "media":
            return _media(message)
        case "start":
            return _start(message)
        case "dtmf":
            return _dtmf(message)
        case "playedStream":
            return PlayedStream(_text(message.get("name")))
        case "clearedAudio":
            return ClearedAudio()
        case "stop":
            return Stop()
        case str():
            return Unknown()
    raise BadFrame("no event", 'expected a text under "event"')


def _media(message: dict[str, Any]) -> Event:
    payload = _object(message.get("media")).get("payload")
    if not isinstance(payload, str):
        raise BadFrame("bad media", 'expected base64 text under "media.payload"')
    try:
        audio = a2b_base64(payload + "=" * (-len(payload) % 4))
    except (Base64Error, ValueError):
        raise BadFrame("bad base64", "the payload is not base64") from None
    if len(audio) > PAYLOAD_BYTES_MAX:
        raise BadFrame("too large", f"media of {len(audio)} bytes; at most {PAYLOAD_BYTES_MAX}")
    return Media(audio) if _object(message.get("media")).get("track") != "outbound" else Unknown(True)


def _start(message: dict[str, Any]) -> Start:
    nested = _object(message.get("start"))
    both = (nested, message)
    return Start(
        call_id=_first(both, "callId", "callUUID", "CallUUID", "call_uuid", "callSid"),
        stream_id=_first(both, "streamId", "streamID", "StreamID", "stream_id", "streamSid"),
        media_format=_format(_object(nested.get("mediaFormat")) or nested, message),
    )


def _dtmf(message: dict[str, Any]) -> Event:
    digits = keys_of(message)
    if not digits:
        raise BadFrame("bad dtmf", "expected keys of 0-9 * #")
    return DtmfMessage(digits)


def _format(body: dict[str, Any], message: dict[str, Any]) -> MediaFormat | None:
    """The caller's format: `mediaFormat` (current), else a `contentType` such as "audio/x-l16;rate=8000" (old)."""
    kind = _text(body.get("encoding")) or _text(body.get("contentType")) or _text(message.get("contentType"))
    if not kind:
        return None
    try:
        return media_format(kind, _number(body.get("sampleRate")) or _number(message.get("sampleRate")))
    except BadFormat as error:
        raise BadFrame("bad format", str(error)) from None


def _first(objects: tuple[dict[str, Any], ...], *names: str) -> str:
    for body in objects:
        for name in names:
            if value := _text(body.get(name)):
                return value
    return ""


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> str:
    """A number as text, however it was written."""
    return _text(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _text(value: Any) -> str:
    """A text, or a number as text; anything else is nothing."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value)[:NAME_CHARS_MAX]


# --- what we say ------------------------------------------------------------------------------------------------


class Commands:
    """The messages for one stream, as bytes of a text frame.  `playAudio` is a template filled by one base64."""

    def __init__(self, stream_id: str) -> None:
        quoted = json.dumps(stream_id).encode()
        self._play = (
            b'{"event":"playAudio","streamId":' + quoted + b',"media":{"contentType":"audio/x-mulaw",'
            b'"sampleRate":8000,"payload":"'
        )
        self._quoted = quoted

    def play(self, mulaw: bytes) -> bytes:
        """One 20 ms frame of 160 bytes."""
        return self._play + b2a_base64(mulaw, newline=False) + b'"}}'

    def checkpoint(self, name: str) -> bytes:
        """Ask for a `playedStream` once all audio sent before has been heard."""
        return b'{"event":"checkpoint","streamId":%b,"name":%b}' % (self._quoted, json.dumps(name).encode())

    def clear(self) -> bytes:
        """Drop all queued audio and checkpoints; answered by `clearedAudio`."""
        return b'{"event":"clearAudio","streamId":%b}' % self._quoted

    def stop(self) -> bytes:
        """End the stream: the carrier closes the socket and goes on in the XML."""
        return b'{"event":"stop","streamId":%b}' % self._quoted
