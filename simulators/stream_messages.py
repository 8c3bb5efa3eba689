"""Reads and writes the JSON messages of the media stream in the carrier's form.  Pure.

The server's messages are read as tolerantly as the carrier reads them: what can be played is played, and every
departure from the documented form is returned as a violation, in words.
"""

import binascii
import json
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from simulators.sound import Samples, from_l16, from_mulaw, loud_windows, mulaw_loud_windows

MESSAGE_BYTES_MAX = 1_000_000
PAYLOAD_BYTES_MAX = 64_000  # reported limit of the carrier (unverified): larger payloads are played and reported
ACCOUNT_ID = "500000"
MULAW = "audio/x-mulaw"
SAMPLE_BYTES = {MULAW: 1, "audio/x-l16": 2}
RATES_HZ = {MULAW: (8000,), "audio/x-l16": (8000, 16000, 24000)}


@dataclass(frozen=True, slots=True)
class PlayAudio:
    """Audio to be queued, still encoded: decoding is expensive, and few calls are recorded."""

    payload: bytes
    encoding: str
    rate_hz: int

    @property
    def wire_bytes(self) -> int:
        return len(self.payload)

    @property
    def duration_ms(self) -> float:
        return len(self.payload) * 1000 / (SAMPLE_BYTES[self.encoding] * self.rate_hz)

    @property
    def samples(self) -> Samples:
        return from_mulaw(self.payload) if self.encoding == MULAW else from_l16(self.payload, self.rate_hz)

    @property
    def loud(self) -> list[bool]:
        """One flag per 10 ms, as `sound.loud_windows` returns them."""
        return mulaw_loud_windows(self.payload) if self.encoding == MULAW else loud_windows(self.samples)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    name: str


@dataclass(frozen=True, slots=True)
class ClearAudio:
    pass


@dataclass(frozen=True, slots=True)
class Stop:
    pass


Command: TypeAlias = PlayAudio | Checkpoint | ClearAudio | Stop


@dataclass(frozen=True, slots=True)
class Received:
    """One message of the server: its command, if it has one, and its violations."""

    command: Command | None
    violations: list[str] = field(default_factory=list)


def read_message(message: str | bytes, stream_id: str) -> Received:
    """Read one message; never raises, whatever the server sent."""
    if isinstance(message, bytes):
        return Received(None, ["binary frame: the protocol is JSON in text frames"])
    try:
        body = json.loads(message)
    except ValueError:
        return Received(None, ["not JSON"])
    if not isinstance(body, dict):
        return Received(None, ["JSON, but not an object"])
    violations = []
    if body.get("streamId", stream_id) != stream_id:
        violations.append("streamId of another stream")
    match body.get("event"):
        case "playAudio":
            return _read_audio(body.get("media"), violations)
        case "checkpoint" if isinstance(body.get("name"), str) and body["name"]:
            return Received(Checkpoint(body["name"]), violations)
        case "checkpoint":
            return Received(None, [*violations, "checkpoint without a name"])
        case "clearAudio":
            return Received(ClearAudio(), violations)
        case "stop":
            return Received(Stop(), violations)
        case event:
            return Received(None, [*violations, f"unknown event {str(event)[:40]!r}"])


def _read_audio(media: Any, violations: list[str]) -> Received:
    if not isinstance(media, dict):
        return Received(None, [*violations, "playAudio without media"])
    content_type = str(media.get("contentType"))
    encoding, _, parameters = content_type.partition(";")
    if parameters:
        violations.append(f"contentType {content_type[:40]!r} carries parameters: the rate belongs in sampleRate")
    if encoding not in SAMPLE_BYTES:
        return Received(None, [*violations, f"contentType {content_type[:40]!r}"])
    rate_hz = _rate(media.get("sampleRate"))
    if rate_hz not in RATES_HZ[encoding]:
        return Received(None, [*violations, f"sampleRate {str(media.get('sampleRate'))[:20]!r} with {encoding}"])
    try:
        payload = binascii.a2b_base64(str(media.get("payload", "")), strict_mode=True)
    except (binascii.Error, ValueError):
        return Received(None, [*violations, "payload is not base64"])
    if not payload or len(payload) % SAMPLE_BYTES[encoding]:  # frames of any size are taken, half a sample is not
        violations.append(f"playAudio of {len(payload)} bytes is not whole samples")
    if len(payload) > PAYLOAD_BYTES_MAX:
        violations.append(f"playAudio of more than {PAYLOAD_BYTES_MAX} bytes")
    return Received(PlayAudio(payload, encoding, rate_hz), violations)


def _rate(value: Any) -> int:
    """Read an int, or its digits as a string, which servers in production send and Vobiz accepts."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


@dataclass(frozen=True, slots=True)
class Spelling:
    """The documented variants of messages that the carrier writes."""

    flat_start: bool = False
    aliases: bool = False
    """`start` under the names that other code reads: callUUID, auth_id, streamSid and callSid at the top."""
    ids_in_played: bool = False
    numbered_played: bool = False
    """playedStream with streamId and sequenceNumber, as Plivo sends it."""
    bare_cleared: bool = False
    """clearedAudio without a sequenceNumber."""
    flat_digit: bool = False
    """`dtmf` with its digit at the top and nothing else."""
    old_media: bool = False
    """`media` with its format, an integer timestamp and no numbers."""


class Writer:
    """Writes the carrier's messages of one stream and numbers the media, from 1 on."""

    def __init__(self, call_id: str, stream_id: str, encoding: str, rate_hz: int, spelling: Spelling) -> None:
        self._call_id, self._stream_id = call_id, stream_id
        self._encoding, self._rate_hz = encoding, rate_hz
        self._spelling = spelling
        self.media_sent = 0

    def start(self, from_number: str, to_number: str) -> str:
        if self._spelling.flat_start:
            return _json(
                event="start", streamId=self._stream_id, accountId=ACCOUNT_ID, callId=self._call_id,
                **{"from": from_number, "to": to_number}, direction="inbound",
                contentType=f"{self._encoding};rate={self._rate_hz}", audioTrack="inbound",
            )  # fmt: skip
        if self._spelling.aliases:
            return self._aliased_start()
        start = {
            "callId": self._call_id,
            "streamId": self._stream_id,
            "accountId": ACCOUNT_ID,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": self._encoding, "sampleRate": self._rate_hz},
        }
        return _json(sequenceNumber=0, event="start", start=start, extra_headers="{}")

    def _aliased_start(self) -> str:
        start = {
            "callUUID": self._call_id,
            "auth_id": ACCOUNT_ID,
            "customParameters": {},
            "mediaFormat": {"encoding": self._encoding, "sampleRate": str(self._rate_hz)},
        }
        return _json(event="start", streamSid=self._stream_id, callSid=self._call_id, start=start)

    def media(self, payload: bytes, epoch_ms: int) -> str:
        """Write one frame; `timestamp` is a string of epoch milliseconds, `chunk` equals `sequenceNumber`."""
        self.media_sent += 1
        number = self.media_sent
        text = binascii.b2a_base64(payload, newline=False).decode()
        if self._spelling.old_media:
            media = {"payload": text, "contentType": self._encoding, "sampleRate": self._rate_hz, "timestamp": epoch_ms}
            return _json(event="media", streamId=self._stream_id, media=media)
        # Without json.dumps: a process with hundreds of calls writes this message 50 times a second for each.
        return (
            f'{{"sequenceNumber":{number},"streamId":"{self._stream_id}","event":"media","media":{{"track":"inbound",'
            f'"timestamp":"{epoch_ms}","chunk":{number},"payload":"{text}"}},"extra_headers":"{{}}"}}'
        )

    def unknown(self) -> str:
        """Write an undocumented event."""
        return _json(event="networkQuality", streamId=self._stream_id, quality={"mos": 4.1})

    def played(self, name: str) -> str:
        if self._spelling.numbered_played:
            return _json(sequenceNumber=self.media_sent, event="playedStream", streamId=self._stream_id, name=name)
        if self._spelling.ids_in_played:
            return _json(event="playedStream", streamId=self._stream_id, name=name)
        return _json(event="playedStream", name=name)

    def cleared(self) -> str:
        if self._spelling.bare_cleared:
            return _json(event="clearedAudio", streamId=self._stream_id)
        return _json(sequenceNumber=0, event="clearedAudio", streamId=self._stream_id)

    def digit(self, digit: str, epoch_ms: int) -> str:
        """Write `dtmf`.  Vobiz does not document its body; this is the form that its serializers read."""
        if self._spelling.flat_digit:
            return _json(event="dtmf", digit=digit)
        dtmf = {"track": "inbound", "digit": digit, "timestamp": str(epoch_ms)}
        return _json(
            event="dtmf", sequenceNumber=self.media_sent, streamId=self._stream_id, dtmf=dtmf, extra_headers="{}"
        )

    def stop(self) -> str:
        """Write `stop`, which only older carriers send; today the socket just closes."""
        return _json(event="stop", streamId=self._stream_id, reason="call_ended")


def _json(**fields: Any) -> str:
    return json.dumps(fields, separators=(",", ":"))
