"""Vobiz's XML verbs: validated when they are built, escaped when they are rendered.  Pure.

    render(Speak("One moment, please."), Dial((Number("911234567890"),), timeout_s=30), Hangup())

A field is an attribute of the same name in camel case, without its unit: `max_length_s` is `maxLength`.  `None` leaves
it out, so that Vobiz's default applies; any other value is written.  Every verb raises BadXml for what Vobiz would
ignore, drop the call for, or run differently from how it reads.  The error names the field and what to write instead;
it never repeats the value, so that numbers, URLs with tokens and spoken words stay out of logs.

Characters that XML 1.0 cannot hold are dropped from spoken text, since the call must go on, and refused everywhere
else. Texts are escaped as a whole: SSML in a Speak would be read aloud.  docs/vobiz-client.md lists all verbs.

Source: Vobiz documentation, "XML": one page per verb, with the verb's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, get_args
from xml.etree import ElementTree

from edge.vobiz.xml_fields import (
    CONTENT,
    BadXml,
    Element,
    FileFormat,
    Hints,
    HttpUrl,
    Key,
    Keys,
    Language,
    Line,
    Loop,
    Method,
    Patterns,
    Phone,
    Positive,
    SecondsOrAuto,
    SendDigits,
    SipHeaders,
    SipUri,
    Text,
    Voice,
    WithinCall,
    WsUrl,
    like,
    only,
    pairs,
    url_of,
    whole,
)

__all__ = [
    "BadXml", "Conference", "Dial", "Dtmf", "Gather", "Hangup", "Number", "Play", "PreAnswer", "Record", "Redirect",
    "Speak", "Stream", "User", "Verb", "Wait", "render",
]  # fmt: skip

DOCUMENT_BYTES_MAX = 100_000
"""Vobiz accepts 100 KB; this bound holds for either meaning of KB."""
WAIT_SILENCE_MS = 2000
"""Vobiz's default of `Wait.min_silence_ms`."""


@dataclass(frozen=True, slots=True)
class Stream(Element):
    """Sends the call's audio over a WebSocket; by default in both directions, until the stream ends."""

    url: Annotated[WsUrl, CONTENT]
    """Keep it short, with the secret first: long URLs were reported truncated."""
    bidirectional: bool = True
    keep_call_alive: bool = True
    """The verbs that follow wait for the end of the stream; if False they run beside it."""
    audio_track: Literal["inbound", "outbound", "both"] = "inbound"
    """Always written, because the default of XML differs from that of the REST API."""
    content_type: Literal["audio/x-mulaw;rate=8000", "audio/x-l16;rate=8000", "audio/x-l16;rate=16000"] = (
        "audio/x-mulaw;rate=8000"
    )
    """Format of the received audio.  Vobiz accepts L16 at 24 kHz, but sends no usable audio in it."""
    stream_timeout_s: WithinCall = 3600
    max_retries: Annotated[int, whole(0, 10)] = 3
    """Reconnects after a lost connection, each with its own streamId and the same callId."""
    status_callback_url: HttpUrl | None = None
    status_callback_method: Method | None = None
    extra_headers: Annotated[Mapping[str, str], pairs("A-Za-z0-9_")] | None = None
    """Returned as X-VH-<name> in status callbacks; not sent on the WebSocket."""

    def contradictions(self) -> Iterator[str]:
        if self.bidirectional and self.audio_track != "inbound":
            yield "audio_track: write 'inbound', or bidirectional=False and keep_call_alive=False"
        if self.keep_call_alive and not self.bidirectional:
            yield "keep_call_alive: write False with bidirectional=False, or bidirectional=True"


@dataclass(frozen=True, slots=True)
class Speak(Element):
    """Reads a text aloud with a voice of Vobiz, `loop` times (0: endlessly)."""

    text: Annotated[Text, CONTENT]
    voice: Voice | None = None
    language: Language | None = None
    loop: Loop | None = None


@dataclass(frozen=True, slots=True)
class Play(Element):
    """Plays an MP3 or WAV file, `loop` times (0: endlessly)."""

    url: Annotated[HttpUrl, CONTENT]
    loop: Loop | None = None


@dataclass(frozen=True, slots=True)
class Wait(Element):
    """Waits.  As the first verb it delays the answer; `silence` ends it early, `beep` waits for a voicemail's tone."""

    length_s: WithinCall = 1
    silence: bool | None = None
    min_silence_ms: Positive | None = None
    beep: bool | None = None

    def contradictions(self) -> Iterator[str]:
        if self.silence and self.beep:
            yield "beep is not looked for with silence=True: write one of them"
        if self.silence and self.length_s * 1000 <= (self.min_silence_ms or WAIT_SILENCE_MS):
            yield f"length_s: write more than min_silence_ms, which is {WAIT_SILENCE_MS} if left out"


@dataclass(frozen=True, slots=True)
class Gather(Element):
    """Collects keys or words of the caller and sends them to `action`.  If there are none, the next verb runs."""

    action: HttpUrl
    prompts: tuple[Speak | Play, ...] = ()
    method: Method | None = None
    input_type: Literal["dtmf", "speech", "dtmf speech"] = "dtmf"
    execution_timeout_s: Annotated[int, whole(5, 60)] | None = None
    """Seconds from the end of the prompts."""
    digit_end_timeout_s: SecondsOrAuto | None = None
    speech_end_timeout_s: SecondsOrAuto | None = None
    finish_on_key: Annotated[str, like("[0-9*#]|none", "one key, or 'none'")] | None = None
    num_digits: Annotated[int, whole(1, 32)] | None = None
    speech_model: Literal["default", "command_and_search", "phone_call", "telephony"] | None = None
    hints: Hints | None = None
    language: Language | None = None
    interim_speech_results_callback: HttpUrl | None = None
    interim_speech_results_callback_method: Method | None = None
    log: bool | None = None
    """False keeps the caller's input out of Vobiz's logs."""
    redirect: bool | None = None
    profanity_filter: bool | None = None

    def contradictions(self) -> Iterator[str]:
        yield from only((Speak, Play), "prompts", self.prompts)
        speech = "speech_end_timeout_s speech_model hints language interim_speech_results_callback profanity_filter"
        unused = {"dtmf": speech, "speech": "digit_end_timeout_s finish_on_key num_digits"}.get(self.input_type, "")
        for field in unused.split():
            if getattr(self, field) is not None:
                yield f"{field} means nothing with input_type={self.input_type!r}: write 'dtmf speech'"

    def children(self) -> tuple[Element, ...]:
        return self.prompts


@dataclass(frozen=True, slots=True)
class Record(Element):
    """Records the call: until silence, a key or `max_length_s`, or with `record_session` until the hangup."""

    action: HttpUrl | None = None
    """Requested near the start; `callback_url` reports that the file is ready."""
    method: Method | None = None
    redirect: bool = False
    """Run the XML that `action` returns.  Always written, because the default differs from Plivo's."""
    file_format: FileFormat | None = None
    timeout_s: Positive | None = None
    """Seconds of silence that end the recording."""
    max_length_s: Positive | None = None
    play_beep: bool | None = None
    finish_on_key: Keys | None = None
    record_session: bool | None = None
    start_on_dial_answer: bool | None = None
    transcription_type: Literal["auto", "hybrid"] | None = None
    transcription_url: HttpUrl | None = None
    transcription_method: Method | None = None
    callback_url: HttpUrl | None = None
    callback_method: Method | None = None

    def contradictions(self) -> Iterator[str]:
        if self.action is None and not (self.record_session and self.callback_url):
            yield "action: write a URL, or record_session=True and a callback_url"


@dataclass(frozen=True, slots=True)
class Number(Element):
    """A phone number to dial, and the keys to send once it answers.  Inside a Dial."""

    number: Annotated[Phone, CONTENT]
    send_digits: SendDigits | None = None
    send_on_preanswer: bool | None = None


@dataclass(frozen=True, slots=True)
class User(Element):
    """A SIP endpoint to dial.  Inside a Dial."""

    uri: Annotated[SipUri, CONTENT]
    send_digits: SendDigits | None = None
    send_on_preanswer: bool | None = None
    sip_headers: SipHeaders | None = None


@dataclass(frozen=True, slots=True)
class Dial(Element):
    """Calls all its targets at once and connects the first that answers.  If none does, the next verb runs."""

    numbers: tuple[Number, ...] = ()
    users: tuple[User, ...] = ()
    action: HttpUrl | None = None
    method: Method | None = None
    redirect: bool | None = None
    callback_url: HttpUrl | None = None
    callback_method: Method | None = None
    caller_id: Phone | None = None
    """A number of the account.  Without it Vobiz shows the caller's number, which may not be allowed."""
    caller_name: Line | None = None
    timeout_s: Positive | None = None
    """Seconds of ringing."""
    time_limit_s: WithinCall | None = None
    hangup_on_star: bool | None = None
    dial_music: Annotated[str, url_of("https", "http", word="real")] | None = None
    confirm_sound: HttpUrl | None = None
    confirm_key: Key | None = None
    confirm_timeout_s: Positive | None = None
    digits_match: Patterns | None = None
    digits_match_b_leg: Patterns | None = None
    sip_headers: SipHeaders | None = None

    def contradictions(self) -> Iterator[str]:
        yield from only((Number,), "numbers", self.numbers)
        yield from only((User,), "users", self.users)
        if not self.numbers and not self.users:
            yield "numbers: nobody to call; write numbers=(Number(...),) or users=(User(...),)"

    def children(self) -> tuple[Element, ...]:
        return (*self.numbers, *self.users)


@dataclass(frozen=True, slots=True)
class Conference(Element):
    """Joins a conference room.  By Vobiz's page `record`, `action`, `max_participants`, `wait_method` have little
    effect.
    """

    room: Annotated[Line, CONTENT]
    stay_alone: bool | None = None
    """True for a participant who may be first: without it one who is alone is disconnected."""
    muted: bool | None = None
    beep: bool | None = None
    start_conference_on_enter: bool | None = None
    end_conference_on_exit: bool | None = None
    """True disconnects all others when this participant leaves, whatever `stay_alone` is."""
    max_participants: Positive | None = None
    enter_sound: Line | None = None
    exit_sound: Line | None = None
    wait_sound: HttpUrl | None = None
    wait_method: Method | None = None
    relay_dtmf: bool | None = None
    digits_match: Patterns | None = None
    hangup_on_star: bool | None = None
    time_limit_s: Positive | None = None
    record: bool | None = None
    record_file_format: FileFormat | None = None
    action: HttpUrl | None = None
    method: Method | None = None
    callback_url: HttpUrl | None = None
    callback_method: Method | None = None


@dataclass(frozen=True, slots=True)
class Redirect(Element):
    """Continues with the XML that this URL returns."""

    url: Annotated[HttpUrl, CONTENT]
    method: Method | None = None


@dataclass(frozen=True, slots=True)
class Hangup(Element):
    """Ends the call: at once, or after `schedule_s` while later verbs run.  As the first verb it refuses the call."""

    reason: Literal["rejected", "busy"] | None = None
    schedule_s: Positive | None = None


@dataclass(frozen=True, slots=True)
class PreAnswer(Element):
    """Plays verbs before the call is answered, if the caller's carrier supports that."""

    verbs: tuple[Speak | Play | Wait, ...]

    def contradictions(self) -> Iterator[str]:
        yield from only((Speak, Play, Wait), "verbs", self.verbs)
        if not self.verbs:
            yield "verbs: write at least one Speak, Play or Wait"

    def children(self) -> tuple[Element, ...]:
        return self.verbs


@dataclass(frozen=True, slots=True)
class Dtmf(Element):
    """Sends keys."""

    digits: Annotated[str, like(r"[0-9*#wW]+", "keys 0-9, * and #; w waits half a second, W a second"), CONTENT]
    asynchronous: bool | None = None
    """False: the next verb waits for the last key."""


Verb: TypeAlias = (
    Stream | Speak | Play | Wait | Gather | Record | Dial | Conference | Redirect | Hangup | PreAnswer | Dtmf
)


def render(*verbs: Verb, answered: bool = False, connect: bool = False) -> bytes:
    """The XML document as UTF-8.  Without verbs it is empty, which neither ends nor starts anything.

    `answered` says whether the caller is already connected: False for the first document of an inbound call.  `connect`
    writes a Stream as Vobiz's guide shows it: `<Connect><Stream url="…"/></Connect>`, with all its attributes.
    Raises BadXml if the verbs do not make a call together, or exceed `DOCUMENT_BYTES_MAX`.
    """
    problems = list(_disorder(verbs, answered))
    if problems:
        raise BadXml("; ".join(problems))
    response = ElementTree.Element("Response")
    for verb in verbs:
        _append(response, verb, connect and isinstance(verb, Stream))
    document: bytes = ElementTree.tostring(response, encoding="UTF-8", xml_declaration=True)
    if len(document) > DOCUMENT_BYTES_MAX:
        raise BadXml(f"the document has {len(document)} bytes: write at most {DOCUMENT_BYTES_MAX}, or Redirect")
    return document


def _disorder(verbs: tuple[Verb, ...], answered: bool) -> Iterator[str]:
    """Yield what is wrong with the order of verbs that are each valid."""
    for position, verb in enumerate(verbs):
        last = position == len(verbs) - 1
        match verb:
            case Hangup(schedule_s=None) if not last:
                yield "Hangup: nothing after it runs; write it last, or with schedule_s"
            case Hangup(schedule_s=int()) if last:
                yield "Hangup.schedule_s: with nothing after it the call ends at once; write a Speak, Play or Wait next"
            case Stream(keep_call_alive=False) if last:
                yield "Stream.keep_call_alive: with nothing after it the call ends at once; write True, or another verb"
            case PreAnswer() if position or answered:
                yield "PreAnswer: write it first, in the first document of an inbound call"
            case Dial() if not answered:
                yield "Dial: the call is not answered yet; write a Speak, Play or Wait before it, or answered=True"
            case Speak() | Play() | Wait() | Gather() | Conference() | Stream(keep_call_alive=True):
                answered = True
            case _ if not isinstance(verb, get_args(Verb)):
                yield f"{type(verb).__name__}: expected a verb of edge.vobiz.xml; Number and User stand in a Dial"


def _append(parent: ElementTree.Element, part: Element, connect: bool = False) -> None:
    if connect:
        parent = ElementTree.SubElement(parent, "Connect")
    element = ElementTree.SubElement(parent, "DTMF" if isinstance(part, Dtmf) else type(part).__name__)
    for field, written in part.written().items():
        value = getattr(part, field)
        if connect and not written.attribute:
            element.set(field, written.rule.spell(value))
        elif not written.attribute:
            element.text = written.rule.spell(value)
        elif value is not None:
            element.set(written.attribute, written.rule.spell(value))
    for child in part.children():
        _append(element, child)
