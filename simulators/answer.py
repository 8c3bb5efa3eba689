"""Reads the answer XML as Vobiz does: the `<Stream>` and its rules, or a hangup cause.

Every published shape is read: URL as text or as `url=`, bare or inside `<Connect>`, the old tag `<AudioStream>`.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit
from xml.etree import ElementTree

XML_BYTES_MAX = 100_000
CONTENT_TYPES = ("application/xml", "text/xml")
MULAW, L16_8K, L16_16K = "audio/x-mulaw;rate=8000", "audio/x-l16;rate=8000", "audio/x-l16;rate=16000"
STREAM_TAGS = ("Stream", "AudioStream")
TRACKS = ("inbound", "outbound", "both")
RETRIES_MAX = 10
EXTRA_HEADERS_BYTES_MAX = 512
STREAM_TIMEOUT_S = 86_400

NORMAL = (4000, "Normal Hangup")
END_OF_XML = (4010, "End Of XML Instructions")
MEDIA_TIMEOUT = (6020, "Media Timeout")
ANSWER_UNREACHABLE = (7011, "Error Reaching Answer URL")
INVALID_ANSWER_XML = (8011, "Invalid Answer XML")


class CallDropped(Exception):
    """The carrier would end the call here; `code` and `name` are the hangup cause."""

    def __init__(self, cause: tuple[int, str], why: str) -> None:
        super().__init__(f"{cause[0]} {cause[1]}: {why}")
        self.code, self.name = cause


@dataclass(frozen=True, slots=True)
class Stream:
    """The audio stream that the XML asks the carrier for."""

    url: str
    bidirectional: bool
    keep_call_alive: bool
    content_type: str
    stream_timeout_s: int
    max_retries: int
    status_callback_url: str | None
    verbs_before: tuple[str, ...]
    verbs_after: tuple[str, ...]
    status_callback_method: str = "POST"
    extra_headers: tuple[tuple[str, str], ...] = ()
    """Sent only in the status callbacks, as `X-VH-` fields."""

    @property
    def encoding(self) -> str:
        return self.content_type.partition(";")[0]

    @property
    def rate_hz(self) -> int:
        return int(self.content_type.rpartition("=")[2])


def read_answer(status: int, content_type: str, body: bytes) -> Stream:
    """Return the stream that this HTTP reply asks for.  Raises `CallDropped` with the cause that Vobiz reports."""
    if not 200 <= status < 300:
        raise CallDropped(ANSWER_UNREACHABLE, f"HTTP status {status}")
    mime = content_type.partition(";")[0].strip().lower()
    if mime not in CONTENT_TYPES:
        raise CallDropped(INVALID_ANSWER_XML, f"expected application/xml or text/xml, got {mime or 'no content type'}")
    if len(body) > XML_BYTES_MAX:
        raise CallDropped(INVALID_ANSWER_XML, f"{len(body)} bytes, at most {XML_BYTES_MAX} are read")
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise CallDropped(INVALID_ANSWER_XML, f"{error} (is an & in a URL escaped?)") from error
    if root.tag != "Response":
        raise CallDropped(INVALID_ANSWER_XML, f"the root element is <{root.tag}>, not <Response>")
    return _stream(root)


def _stream(root: ElementTree.Element) -> Stream:
    verbs = [(_unwrapped(verb), verb.tag == "Connect") for verb in root]
    tags = [verb.tag for verb, _ in verbs]
    positions = [position for position, tag in enumerate(tags) if tag in STREAM_TAGS]
    if "Hangup" in tags[: positions[0] if positions else None]:
        raise CallDropped(NORMAL, "<Hangup> comes before any <Stream>")
    if not positions:
        raise CallDropped(END_OF_XML, f"no <Stream> among {tags or 'no elements'}")
    position = positions[0]
    element, connected = verbs[position]
    stream = read_stream(element, connected, tuple(tags[:position]), tuple(tags[position + 1 :]))
    if not stream.keep_call_alive and not stream.verbs_after:
        raise CallDropped(END_OF_XML, "without keepCallAlive the document goes on, and nothing follows <Stream>")
    return stream


def _unwrapped(verb: ElementTree.Element) -> ElementTree.Element:
    if verb.tag == "Connect" and len(verb) == 1:
        return verb[0]
    return verb


def read_stream(
    element: ElementTree.Element, connected: bool, before: tuple[str, ...], after: tuple[str, ...]
) -> Stream:
    """Return the stream of one `<Stream>` element.  Raises `CallDropped`.

    `<Connect>` implies a two-way mu-law stream; attributes override this.
    """
    url = (element.text or "").strip() or element.get("url", "").strip()
    address = urlsplit(url)
    if address.scheme not in ("ws", "wss") or not address.hostname:
        raise CallDropped(INVALID_ANSWER_XML, "the URL of <Stream> is not a ws:// or wss:// URL")
    content_type = element.get("contentType", MULAW if connected else L16_8K).replace(" ", "")
    if content_type not in (MULAW, L16_8K, L16_16K):
        raise CallDropped(INVALID_ANSWER_XML, f"contentType is {content_type!r}")
    bidirectional = _flag(element, "bidirectional", connected)
    track = element.get("audioTrack", "inbound")
    if track not in TRACKS:
        raise CallDropped(INVALID_ANSWER_XML, f"audioTrack is {track!r}")
    if bidirectional and track != "inbound":
        raise CallDropped(END_OF_XML, f"a bidirectional stream takes only the inbound track, got {track!r}")
    return Stream(
        url=url,
        bidirectional=bidirectional,
        keep_call_alive=bidirectional and _flag(element, "keepCallAlive", connected),
        content_type=content_type,
        stream_timeout_s=_integer(element, "streamTimeout", STREAM_TIMEOUT_S),
        max_retries=min(RETRIES_MAX, max(0, _integer(element, "maxRetries", 0))),
        status_callback_url=element.get("statusCallbackUrl"),
        verbs_before=before,
        verbs_after=after,
        status_callback_method=element.get("statusCallbackMethod", "POST").upper(),
        extra_headers=read_extra_headers(element.get("extraHeaders", "")),
    )


def read_extra_headers(text: str) -> tuple[tuple[str, str], ...]:
    """Read `k=v,k2=v2`; skip pairs that are too long or malformed, as the carrier does silently."""
    if len(text.encode()) > EXTRA_HEADERS_BYTES_MAX:
        return ()
    pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
    return tuple((key.strip(), value.strip()) for key, _, value in pairs)


def _flag(element: ElementTree.Element, name: str, default: bool) -> bool:
    return element.get(name, "true" if default else "false").strip().lower() == "true"


def _integer(element: ElementTree.Element, name: str, default: int) -> int:
    """Return the integer, or the default for any other text, as Vobiz does: a typo goes unnoticed there, too."""
    try:
        return int(element.get(name, default))
    except ValueError:
        return default
