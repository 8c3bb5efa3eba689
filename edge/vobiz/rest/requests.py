"""Requests to Vobiz, validated before they are sent, and the JSON that Vobiz reads.

Each request is frozen; building an invalid one raises a ValueError that lists every problem and repeats no phone
number. Sources: Vobiz documentation "Make a call", "Machine detection", "Record a call", "Start an audio stream",
"Applications".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from edge.vobiz.numbers import dialled

Method: TypeAlias = Literal["GET", "POST"]

CALLEES_MAX = 1000
CALL_S_MAX = 86_400
CALLER_NAME_CHARS_MAX = 50
EXTRA_HEADERS_BYTES_MAX = 512

_HTTP_URL = re.compile(r"https?://[^\s/?#]+\S*")
_WS_URL = re.compile(r"wss?://[^\s/?#]+\S*")
_DIGITS = re.compile(r"[0-9A-D*#wW]+(@[0-9]+)?")
_HEADER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HEADER_VALUE = re.compile(r"[!-+\--<>-~]{1,256}")  # printable, without the separators "," and "="
_APP_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineDetection:
    """Detection of answering machines.  The result is sent to `url`; with `hang_up` a machine ends the call (cause
    9100).
    """

    hang_up: bool = False
    time_ms: int = 5000
    speech_ms_max: int = 5000
    initial_silence_ms: int = 4500
    words_max: int = 3
    greeting_ms: int = 1500
    url: str = ""
    method: Method = "POST"

    LIMITS: ClassVar[dict[str, tuple[int, int]]] = {
        "time_ms": (2000, 10_000),
        "speech_ms_max": (1000, 6000),
        "initial_silence_ms": (2000, 10_000),
        "words_max": (2, 10),
        "greeting_ms": (1000, 5000),
    }

    def __post_init__(self) -> None:
        _refuse(
            *(_outside(name, getattr(self, name), *limits) for name, limits in self.LIMITS.items()),
            _not_a_url("url", self.url),
        )

    @classmethod
    def for_agents(cls, url: str = "", *, hang_up: bool = False) -> MachineDetection:
        """The values that Vobiz recommends for calls of AI agents."""
        return cls(
            hang_up=hang_up,
            url=url,
            time_ms=4000,
            speech_ms_max=4000,
            initial_silence_ms=2500,
            words_max=5,
            greeting_ms=4000,
        )

    def json(self) -> dict[str, Any]:
        """The fields of machine detection in the call's JSON."""
        values = {
            "machine_detection": "hangup" if self.hang_up else "true",
            "machine_detection_time": self.time_ms,
            "machine_detection_maximum_speech_length": self.speech_ms_max,
            "machine_detection_initial_silence": self.initial_silence_ms,
            "machine_detection_maximum_words": self.words_max,
            "machine_detection_initial_greeting": self.greeting_ms,
        }
        if self.url:
            values |= {"machine_detection_url": self.url, "machine_detection_method": self.method}
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequest:
    """One call to place, or up to 1000 at once.  Unset fields take Vobiz's defaults.

    `to` is a number or a `sip:` URI, or a tuple of them; Vobiz rings them all, each as a call of its own.
    """

    from_number: str = field(repr=False)
    to: str | tuple[str, ...] = field(repr=False)
    answer_url: str = field(repr=False)
    """Not shown in the repr, as all URLs here, which may contain a token."""
    answer_method: Method = "POST"
    ring_url: str = field(default="", repr=False)
    ring_method: Method = "POST"
    hangup_url: str = field(default="", repr=False)
    """Unset, Vobiz reports the end of the call to `answer_url`."""
    hangup_method: Method = "POST"
    fallback_url: str = field(default="", repr=False)
    fallback_method: Method = "POST"
    caller_name: str = field(default="", repr=False)
    send_digits: str = field(default="", repr=False)
    """Keys sent after the answer; "w" waits 0.5 s, "W" 1 s."""
    send_on_preanswer: bool | None = None
    time_limit_s: int | None = None
    ring_timeout_s: int | None = None
    hangup_on_ring_s: int | None = None
    machine_detection: MachineDetection | None = None
    sip_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Returned in every webhook as `X-VH-<name>`."""

    def __post_init__(self) -> None:
        _refuse(*self._problems())

    @property
    def callees(self) -> tuple[str, ...]:
        """The destinations, as a tuple."""
        return (self.to,) if isinstance(self.to, str) else tuple(self.to)

    def json(self) -> dict[str, Any]:
        """The body of `POST /Account/{auth_id}/Call/`."""
        body: dict[str, Any] = {
            "from": dialled(self.from_number),
            "to": "<".join(dialled(callee) for callee in self.callees),
            "answer_url": self.answer_url,
            "answer_method": self.answer_method,
        }
        for name in ("ring", "hangup", "fallback"):
            if url := getattr(self, f"{name}_url"):
                body |= {f"{name}_url": url, f"{name}_method": getattr(self, f"{name}_method")}
        body |= _given(
            caller_name=self.caller_name or None,
            send_digits=self.send_digits or None,
            send_on_preanswer=self.send_on_preanswer,
            time_limit=self.time_limit_s,
            ring_timeout=self.ring_timeout_s,
            hangup_on_ring=self.hangup_on_ring_s,
        )
        if self.machine_detection:
            body |= self.machine_detection.json()
        if self.sip_headers:
            body["sip_headers"] = ",".join(f"{name}={value}" for name, value in self.sip_headers.items())
        return body

    def _problems(self) -> Iterator[str]:
        yield _not_dialled("from_number", self.from_number)
        if not 1 <= len(self.callees) <= CALLEES_MAX:
            yield f"to: expected 1 to {CALLEES_MAX} numbers, got {len(self.callees)}"
        for index, callee in enumerate(self.callees[:CALLEES_MAX]):
            yield _not_dialled("to" if isinstance(self.to, str) else f"to[{index}]", callee)
        yield _not_a_url("answer_url", self.answer_url, required=True)
        for name in ("ring", "hangup", "fallback"):
            yield _not_a_url(f"{name}_url", getattr(self, f"{name}_url"))
        for name in ("answer", "ring", "hangup", "fallback"):
            yield _not_a_method(f"{name}_method", getattr(self, f"{name}_method"))
        if len(self.caller_name) > CALLER_NAME_CHARS_MAX:
            yield f"caller_name: at most {CALLER_NAME_CHARS_MAX} characters"
        if self.send_digits and not _DIGITS.fullmatch(self.send_digits):
            yield "send_digits: expected 0-9 A-D * # w W, and at the end @ with milliseconds"
        yield _outside("time_limit_s", self.time_limit_s, 1, CALL_S_MAX)
        yield _outside("ring_timeout_s", self.ring_timeout_s, 1, CALL_S_MAX)
        yield _outside("hangup_on_ring_s", self.hangup_on_ring_s, 0, CALL_S_MAX)
        if not all(_HEADER_NAME.fullmatch(n) and _HEADER_VALUE.fullmatch(v) for n, v in self.sip_headers.items()):
            yield "sip_headers: names of A-Z a-z 0-9 _ -, values without spaces, commas and ="


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRequest:
    """A recording of a live call.  Without `time_limit_s` Vobiz would stop it after 60 s."""

    time_limit_s: int = 14_400
    file_format: Literal["mp3", "wav"] = "mp3"
    stereo: bool = True
    callback_url: str = ""
    callback_method: Method = "POST"
    transcription_url: str = ""
    """If set, the recording is transcribed and the text sent there."""

    def __post_init__(self) -> None:
        _refuse(
            _outside("time_limit_s", self.time_limit_s, 1, CALL_S_MAX),
            "" if self.file_format in ("mp3", "wav") else "file_format: expected mp3 or wav",
            _not_a_url("callback_url", self.callback_url),
            _not_a_url("transcription_url", self.transcription_url),
            _not_a_method("callback_method", self.callback_method),
        )

    def json(self) -> dict[str, Any]:
        """The body of `POST …/Call/{call_id}/Record/`."""
        body: dict[str, Any] = {
            "time_limit": self.time_limit_s,
            "file_format": self.file_format,
            "record_channel_type": "stereo" if self.stereo else "mono",
        }
        if self.callback_url:
            body |= {"callback_url": self.callback_url, "callback_method": self.callback_method}
        if self.transcription_url:
            body |= {"transcription_type": "auto", "transcription_url": self.transcription_url}
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """An audio stream to start on a live call; bidirectional by default."""

    service_url: str = field(repr=False)
    bidirectional: bool = True
    audio_track: Literal["inbound", "outbound", "both"] = "inbound"
    content_type: Literal["audio/x-mulaw;rate=8000", "audio/x-l16;rate=8000", "audio/x-l16;rate=16000"] = (
        "audio/x-mulaw;rate=8000"
    )
    stream_timeout_s: int = CALL_S_MAX
    status_callback_url: str = field(default="", repr=False)
    status_callback_method: Method = "POST"
    extra_headers: str = field(default="", repr=False)
    """`k=v,k2=v2`: returned as X-VH-* in the status callbacks, not on the WebSocket."""

    def __post_init__(self) -> None:
        _refuse(
            "" if _WS_URL.fullmatch(self.service_url) else "service_url: expected wss://…",
            "audio_track: a bidirectional stream has only inbound"
            if self.bidirectional and self.audio_track != "inbound"
            else "",
            _outside("stream_timeout_s", self.stream_timeout_s, 1, CALL_S_MAX),
            _not_a_url("status_callback_url", self.status_callback_url),
            _not_a_method("status_callback_method", self.status_callback_method),
            ""
            if len(self.extra_headers.encode()) <= EXTRA_HEADERS_BYTES_MAX
            else f"extra_headers: at most {EXTRA_HEADERS_BYTES_MAX} bytes",
        )

    def json(self) -> dict[str, Any]:
        """The body of `POST …/Call/{call_id}/Stream/`."""
        body: dict[str, Any] = {
            "service_url": self.service_url,
            # A string: Vobiz reads a JSON true as false, and the agent would not be heard.
            "bidirectional": "true" if self.bidirectional else "false",
            "audio_track": self.audio_track,
            "content_type": self.content_type,
            "stream_timeout": self.stream_timeout_s,
        }
        if self.status_callback_url:
            body["status_callback_url"] = self.status_callback_url
            body["status_callback_method"] = self.status_callback_method
        return body | _given(extra_headers=self.extra_headers or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationRequest:
    """An application: the webhooks of the numbers attached to it."""

    app_name: str
    answer_url: str
    hangup_url: str = ""
    fallback_answer_url: str = ""
    method: Method = "POST"
    """HTTP method of all three URLs."""

    def __post_init__(self) -> None:
        _refuse(
            "" if _APP_NAME.fullmatch(self.app_name) else "app_name: expected 1 to 64 of A-Z a-z 0-9 _ -",
            _not_a_url("answer_url", self.answer_url, required=True),
            _not_a_url("hangup_url", self.hangup_url),
            _not_a_url("fallback_answer_url", self.fallback_answer_url),
            _not_a_method("method", self.method),
        )

    def json(self) -> dict[str, Any]:
        """The body of `POST /Account/{auth_id}/Application/`, for creating and updating."""
        body = {"app_name": self.app_name, "answer_url": self.answer_url, "answer_method": self.method}
        if self.hangup_url:
            body |= {"hangup_url": self.hangup_url, "hangup_method": self.method}
        if self.fallback_answer_url:
            body |= {"fallback_answer_url": self.fallback_answer_url, "fallback_method": self.method}
        return body


def _refuse(*problems: str) -> None:
    if found := [problem for problem in problems if problem]:
        raise ValueError("; ".join(found))


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _outside(name: str, value: int | None, least: int, most: int) -> str:
    return "" if value is None or least <= value <= most else f"{name}: expected {least} to {most}, got {value}"


def _not_a_url(name: str, url: str, *, required: bool = False) -> str:
    return "" if _HTTP_URL.fullmatch(url) or (not url and not required) else f"{name}: expected https://…"


def _not_a_method(name: str, method: str) -> str:
    return "" if method in ("GET", "POST") else f"{name}: expected GET or POST"


def _not_dialled(name: str, number: str) -> str:
    try:
        dialled(number)
    except ValueError as error:
        return f"{name}: {error}"
    return ""
