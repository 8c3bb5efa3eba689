"""Reads XML documents as the carrier does: a tuple of verbs, or a hangup cause for an invalid document.  Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from simulators.answer import CONTENT_TYPES, STREAM_TAGS, XML_BYTES_MAX, CallDropped, Stream, read_stream
from simulators.carrier.causes import Dropped, cause, invalid_url, invalid_xml, unreachable

VERBS_MAX = 500
METHODS = ("GET", "POST")


@dataclass(frozen=True, slots=True)
class Speak:
    text: str
    loop: int = 1
    """0 is endless."""


@dataclass(frozen=True, slots=True)
class Play:
    url: str
    loop: int = 1


@dataclass(frozen=True, slots=True)
class Pause:
    """`<Wait>`."""

    length_s: float = 1.0


@dataclass(frozen=True, slots=True)
class HangupVerb:
    reason: str = ""
    schedule_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Redirect:
    url: str
    method: str


@dataclass(frozen=True, slots=True)
class Gather:
    action: str
    method: str
    input_type: str
    execution_timeout_s: float
    finish_on_key: str
    digits_max: int
    prompts: tuple["Verb", ...]


@dataclass(frozen=True, slots=True)
class Record:
    action: str
    method: str
    redirect: bool
    callback_url: str
    callback_method: str
    length_s_max: float
    file_format: str
    session: bool
    """Records in the background while the document runs."""
    channel_type: str = "mono"


@dataclass(frozen=True, slots=True)
class Dial:
    numbers: tuple[str, ...]
    action: str
    method: str
    redirect: bool
    callback_url: str
    callback_method: str
    timeout_s: float
    limit_s: float
    caller_id: str
    confirm_sound: str = ""
    """URL of XML that the callee hears before it is connected."""
    confirm_key: str = ""
    """Key that the callee must press then."""


@dataclass(frozen=True, slots=True)
class Conference:
    room: str
    callback_url: str
    callback_method: str
    stay_alone: bool = False
    end_on_exit: bool = False
    limit_s: float = 86_400


@dataclass(frozen=True, slots=True)
class PreAnswer:
    verbs: tuple["Verb", ...]


@dataclass(frozen=True, slots=True)
class Dtmf:
    digits: str


Sound: TypeAlias = Speak | Play | Pause
Verb: TypeAlias = Sound | HangupVerb | Redirect | Gather | Record | Dial | Conference | PreAnswer | Dtmf | Stream
Document: TypeAlias = tuple[Verb, ...]


def read_document(status: int, content_type: str, body: bytes, where: str = "answer") -> Document:
    """Return the verbs of this HTTP reply in order.  Raises `Dropped`; `where` is a key of `causes.WHERE`."""
    if not 200 <= status < 300:
        raise unreachable(where, f"HTTP status {status}")
    mime = content_type.partition(";")[0].strip().lower()
    if mime not in CONTENT_TYPES:
        raise invalid_xml(where, f"expected application/xml or text/xml, got {mime or 'no content type'}")
    if len(body) > XML_BYTES_MAX:
        raise invalid_xml(where, f"more than {XML_BYTES_MAX} bytes")
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise invalid_xml(where, f"{error} (is an & in a URL escaped?)") from error
    if root.tag != "Response":
        raise invalid_xml(where, f"the root element is <{root.tag}>, not <Response>")
    if len(root) > VERBS_MAX:
        raise invalid_xml(where, f"more than {VERBS_MAX} elements")
    return tuple(_verb(element, where) for element in root)


def _verb(element: Element, where: str) -> Verb:
    if element.tag == "Connect":
        if len(element) != 1 or element[0].tag not in STREAM_TAGS:
            raise invalid_xml(where, "<Connect> takes one <Stream>")
        return _stream(element[0], True, where)
    if element.tag in STREAM_TAGS:
        return _stream(element, False, where)
    reader = _READERS.get(element.tag)
    if reader is None:
        raise invalid_xml(where, f"<{element.tag}> is no verb")
    return reader(element, where)


def _stream(element: Element, connected: bool, where: str) -> Stream:
    try:
        return read_stream(element, connected, (), ())
    except CallDropped as dropped:
        if dropped.code == 8011:
            raise invalid_xml(where, str(dropped)) from dropped
        ended = Dropped(dropped.code, str(dropped))
        ended.cause = cause(dropped.code, "Vobiz")
        raise ended from dropped


def _speak(element: Element, where: str) -> Speak:
    return Speak("".join(element.itertext()).strip(), int(_number(element, "loop", 1)))


def _play(element: Element, where: str) -> Play:
    return Play(_text(element), int(_number(element, "loop", 1)))


def _pause(element: Element, where: str) -> Pause:
    return Pause(_number(element, "length", 1))


def _hang_up(element: Element, where: str) -> HangupVerb:
    return HangupVerb(element.get("reason", ""), _number(element, "schedule", 0))


def _redirect(element: Element, where: str) -> Redirect:
    return Redirect(_url(_text(element), "redirect"), _method(element, "method", where))


def _gather(element: Element, where: str) -> Gather:
    return Gather(
        action=_url(element.get("action", ""), "action"),
        method=_method(element, "method", where),
        input_type=element.get("inputType", "dtmf"),
        execution_timeout_s=_number(element, "executionTimeout", 15),
        finish_on_key=element.get("finishOnKey", "#"),
        digits_max=int(_number(element, "numDigits", 32)),
        prompts=tuple(_verb(child, where) for child in element),
    )


def _record(element: Element, where: str) -> Record:
    return Record(
        action=_url(element.get("action", ""), "action", may_miss=True),
        method=_method(element, "method", where),
        redirect=_flag(element, "redirect", False),
        callback_url=element.get("callbackUrl", ""),
        callback_method=_method(element, "callbackMethod", where),
        length_s_max=_number(element, "maxLength", 60),
        file_format=element.get("fileFormat", "mp3"),
        session=_flag(element, "recordSession", False),
        channel_type="stereo" if element.get("recordChannelType", "").strip().lower() == "stereo" else "mono",
    )


def _dial(element: Element, where: str) -> Dial:
    numbers = tuple(_text(child) for child in element if child.tag in ("Number", "User"))
    if not numbers or not all(numbers):
        raise invalid_xml(where, "<Dial> needs a <Number> or <User>")
    return Dial(
        numbers=numbers,
        action=_url(element.get("action", ""), "action", may_miss=True),
        method=_method(element, "method", where),
        redirect=_flag(element, "redirect", True),
        callback_url=element.get("callbackUrl", ""),
        callback_method=_method(element, "callbackMethod", where),
        timeout_s=_number(element, "timeout", 120),
        limit_s=_number(element, "timeLimit", 14_400),
        caller_id=element.get("callerId", ""),
        confirm_sound=_url(element.get("confirmSound", ""), "action", may_miss=True),
        confirm_key=element.get("confirmKey", ""),
    )


def _conference(element: Element, where: str) -> Conference:
    room = _text(element)
    if not room:
        raise invalid_xml(where, "<Conference> needs the name of a room")
    return Conference(
        room,
        element.get("callbackUrl", ""),
        _method(element, "callbackMethod", where),
        stay_alone=_flag(element, "stayAlone", False),
        end_on_exit=_flag(element, "endConferenceOnExit", False),
        limit_s=_number(element, "timeLimit", 86_400),
    )


def _pre_answer(element: Element, where: str) -> PreAnswer:
    verbs = tuple(_verb(child, where) for child in element)
    if not all(isinstance(verb, Speak | Play | Pause) for verb in verbs):
        raise invalid_xml(where, "<PreAnswer> takes only Speak, Play and Wait")
    return PreAnswer(verbs)


def _dtmf(element: Element, where: str) -> Dtmf:
    return Dtmf(_text(element))


_READERS: dict[str, Callable[[Element, str], Verb]] = {
    "Speak": _speak,
    "Play": _play,
    "Wait": _pause,
    "Hangup": _hang_up,
    "Redirect": _redirect,
    "Gather": _gather,
    "Record": _record,
    "Dial": _dial,
    "Conference": _conference,
    "PreAnswer": _pre_answer,
    "DTMF": _dtmf,
}


def is_web_url(url: str) -> bool:
    """Return whether the carrier can send a request to this URL."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _url(url: str, where: str, *, may_miss: bool = False) -> str:
    url = url.strip()
    if not is_web_url(url) and not (may_miss and not url):
        raise invalid_url(where, "not an absolute http or https URL")
    return url


def _method(element: Element, name: str, where: str) -> str:
    method = element.get(name, "POST").upper()
    if method not in METHODS:
        raise invalid_xml(where, f"{name} is {method!r}")
    return method


def _text(element: Element) -> str:
    return (element.text or "").strip()


def _number(element: Element, name: str, default: float) -> float:
    """Read a number; return the default for any other text and below 0, as the carrier does."""
    try:
        value = float(element.get(name, default))
    except ValueError:
        return default
    return value if 0 <= value <= 1_000_000 else default


def _flag(element: Element, name: str, default: bool) -> bool:
    return element.get(name, str(default)).strip().lower() == "true"
