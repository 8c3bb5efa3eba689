"""Parses and builds the messages of Vobiz's media stream: JSON text frames <-> typed events and commands.  Pure.

Sources: Vobiz documentation "Audio streaming over WebSocket" (stream events, playAudio, clearAudio, checkpoint), and
captured calls.  Where they disagree, every variant that was seen is read: ids nested in `start`, at the top level, or
under other names; numbers as strings; a `playedStream` with and without ids.

`parse` runs 50 times per second and call; a `media` frame takes one pass of msgspec, base64 included.
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
"""Vobiz sends under 2 KB; a larger message closes the socket with code 1009 before it is parsed."""
PAYLOAD_BYTES_MAX = 16 * 1024
NAME_CHARS_MAX = 256


class BadFrame(ValueError):
    """A message that cannot be understood.  `kind` is one of a closed set: a metric label."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


# --- events from Vobiz -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """The stream is open.  Ids are empty, and `media_format` is None, if Vobiz did not send them."""

    call_id: str
    stream_id: str
    media_format: MediaFormat | None


class Media(msgspec.Struct, frozen=True):
    """Audio of the caller in the stream's format; usually 20 ms, but any length is allowed."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class DtmfMessage:
    """The caller pressed keys: 0-9 * # A-D, in this order."""

    digits: str


@dataclass(frozen=True, slots=True)
class PlayedStream:
    """All audio queued before the checkpoint `name` was played to its end."""

    name: str


@dataclass(frozen=True, slots=True)
class ClearedAudio:
    """The carrier's queue was cleared; audio may be sent again."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The stream is over.  Current Vobiz closes the socket instead; older versions send this first."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """An event with an unknown name: ignored and counted."""

    other_track: bool = False
    """Whether it is the agent's own audio, sent back to us."""


Event: TypeAlias = Start | Media | DtmfMessage | PlayedStream | ClearedAudio | Stop | Unknown


class _MediaBody(msgspec.Struct):
    payload: bytes
    track: str = "inbound"


class _MediaMessage(msgspec.Struct, tag_field="event", tag="media"):
    media: _MediaBody


_decode_media = msgspec.json.Decoder(_MediaMessage).decode


def parse(text: str | bytes) -> Event:
    """Parse one text frame.  Raises BadFrame."""
    try:
        body = _decode_media(text).media
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _parse_any(text)
    if len(body.payload) > PAYLOAD_BYTES_MAX:
        raise BadFrame("too large", f"media of {len(body.payload)} bytes; at most {PAYLOAD_BYTES_MAX}")
    return Media(body.payload) if body.track != "outbound" else Unknown(True)


def _parse_any(text: str | bytes) -> Event:
    """Parse anything but an ordinary media frame: rare, so tolerant rather than fast."""
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
    """The declared format: `mediaFormat` (current), else a `contentType` such as "audio/x-l16;rate=8000" (old)."""
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
    """A number, sent as number or text, as text."""
    return _text(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _text(value: Any) -> str:
    """A text, or a number as text; "" for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value)[:NAME_CHARS_MAX]


# --- commands to Vobiz -------------------------------------------------------------------------------------------


class Commands:
    """Builds the messages for one stream, as bytes of a text frame."""

    def __init__(self, stream_id: str) -> None:
        quoted = json.dumps(stream_id).encode()
        self._play = (
            b'{"event":"playAudio","streamId":' + quoted + b',"media":{"contentType":"audio/x-mulaw",'
            b'"sampleRate":8000,"payload":"'
        )
        self._quoted = quoted

    def play(self, mulaw: bytes) -> bytes:
        """Play one 20 ms frame (160 bytes of mu-law)."""
        return self._play + b2a_base64(mulaw, newline=False) + b'"}}'

    def checkpoint(self, name: str) -> bytes:
        """Request a `playedStream` with this name once all audio sent before was played."""
        return b'{"event":"checkpoint","streamId":%b,"name":%b}' % (self._quoted, json.dumps(name).encode())

    def clear(self) -> bytes:
        """Drop all queued audio and checkpoints; the answer is `clearedAudio`."""
        return b'{"event":"clearAudio","streamId":%b}' % self._quoted

    def stop(self) -> bytes:
        """End the stream: the carrier closes the socket and continues with the XML."""
        return b'{"event":"stop","streamId":%b}' % self._quoted
