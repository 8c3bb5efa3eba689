"""What a broken or hostile peer may send: valid messages, mutated ones, and noise.  Strategies for hypothesis."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from edge.media.stream_token import mint

SECRET = b"the secret of this run"
NUMBERS = st.integers(-(2**70), 2**70) | st.floats()
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
PAYLOADS = st.sampled_from(["", "//8=", "/w==", "A" * 214, "A" * 22_000, "abcde", "\u00e9", "====", "A A="]) | st.text(
    max_size=40
)
EVENTS = st.sampled_from(
    ["start", "media", "dtmf", "playedStream", "clearedAudio", "stop", "Media", "networkQuality", ""]
) | st.text(max_size=10)
IDS = st.sampled_from(["call", "other", "", "a/b", "{s00}", "x" * 300, "\ud800"]) | st.text(max_size=10)
MARKS = st.sampled_from(
    ["1.1.0", "1.1.1", "2.1.0", "1.999999999.0", "-1.1.0", "1.1", "..", "1..0", "1.\u0661.0"]
) | st.text(max_size=12)
FORMATS = st.fixed_dictionaries(
    {},
    optional={
        "encoding": st.sampled_from(["audio/x-mulaw", "audio/x-l16", "audio/opus", "", "mulaw;rate=8000"]) | SCALARS,
        "sampleRate": st.sampled_from([8000, 16000, 24000, "8000", 44100, -1]) | SCALARS,
    },
)
NAMES = {
    "streamId": IDS, "callId": IDS, "CallUUID": IDS, "sequenceNumber": SCALARS, "extra_headers": SCALARS,
    "name": MARKS, "digit": st.sampled_from("0123456789*#ABCDx") | SCALARS, "reason": SCALARS,
    "contentType": st.sampled_from(["audio/x-mulaw;rate=8000", "audio/x-l16;rate=16000", "a;b"]) | SCALARS,
    "media": st.fixed_dictionaries({}, optional={"payload": PAYLOADS | SCALARS, "track": SCALARS}) | JSON,
    "start": st.fixed_dictionaries({}, optional={"callId": IDS, "streamId": IDS, "mediaFormat": FORMATS | JSON}) | JSON,
    "dtmf": st.fixed_dictionaries({}, optional={"digit": SCALARS}) | JSON,
}  # fmt: skip
ANY_MESSAGES = st.fixed_dictionaries({"event": EVENTS | SCALARS}, optional=NAMES)
"""Its names, each missing or of any value."""
OF_USE = {"media": "media", "start": "start", "dtmf": "dtmf", "playedStream": "name"}
"""Event, and the name without which it says nothing."""
MESSAGES = st.sampled_from(sorted(OF_USE)).flatmap(
    lambda event: st.fixed_dictionaries(
        {"event": st.just(event), OF_USE[event]: NAMES[OF_USE[event]]},
        optional={name: value for name, value in NAMES.items() if name != OF_USE[event]},
    )
)
"""Near to what Vobiz says."""


def _dumped(message: Any) -> bytes:
    return json.dumps(message).encode("utf-8", "surrogatepass")


VALID = st.sampled_from(
    [
        {"event": "media", "media": {"track": "inbound", "payload": "/" * 212 + "/w=="}},
        {"event": "playedStream", "name": "1.1.0"},
        {"sequenceNumber": 0, "event": "clearedAudio", "streamId": "s"},
        {"event": "dtmf", "dtmf": {"digit": "1"}},
        {"event": "start", "start": {"callId": "call", "streamId": "s"}},
    ]
).map(_dumped)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid message, cut, doubled, or with bytes exchanged."""
    text = bytearray(draw(VALID | MESSAGES.map(_dumped)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(text) - 1)))
        match draw(st.sampled_from(["cut", "double", "exchange", "insert"])):
            case "cut":
                del text[at:]
            case "double":
                text[at:at] = text[at : at + 20]
            case "exchange":
                text[at : at + 1] = draw(st.binary(max_size=2))
            case "insert":
                text[at:at] = draw(st.binary(max_size=6))
    return bytes(text)


FRAMES = st.one_of(
    VALID, MESSAGES.map(_dumped), MESSAGES.map(_dumped), ANY_MESSAGES.map(_dumped), mutated(), JSON.map(_dumped),
    st.binary(max_size=60),
)  # fmt: skip
"""One text frame, as bytes: most of them are JSON, and most of that is nearly right."""

# --- tokens and webhooks -----------------------------------------------------------------------------------------

GOOD_TOKEN = mint(SECRET, "call-1", 1_700_000_000)


@st.composite
def tokens(draw: st.DrawFn) -> str:
    """A good token with a character or two exchanged, or any text."""
    if draw(st.booleans()):
        return draw(st.text(max_size=120))
    text = list(GOOD_TOKEN)
    for _ in range(draw(st.integers(0, 3))):
        text[draw(st.integers(0, len(text) - 1))] = draw(st.characters())
    return "".join(text)


FIELD_NAMES = st.sampled_from(
    ["CallUUID", "From", "To", "Direction", "Event", "CallStatus", "HangupCause", "HangupCauseCode", "SessionStart",
     "StartTime", "Timestamp", "Machine", "DialStatus", "dial", "attempt", "call_uuid", "BillRate", "Error", "X-VH-a"]
) | st.text(max_size=12)  # fmt: skip
FIELD_VALUES = st.sampled_from(
    ["call-1", "call-2", "911234567890", "+91 12345 67890", "inbound", "outbound", "Hangup", "StartApp", "true",
     "completed", "2026-07-21 13:38:41", "0001-01-01 00:00:00", "9999-12-31 23:59:59.9", "0.00000", "x" * 5000, "\0"]
) | st.text(max_size=30)  # fmt: skip
FIELDS = st.dictionaries(FIELD_NAMES, FIELD_VALUES, max_size=8)
FIELDS_OF_A_CALL = FIELDS.map(lambda fields: {"CallUUID": "call-1", **fields})
KINDS = st.sampled_from(
    ["application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=x", "multipart/form-data",
     "text/xml", "", "application/x-www-form-urlencoded; charset=utf-16", "multipart/form-data; boundary=\"", "a"]
)  # fmt: skip
MULTIPART = st.lists(
    st.sampled_from([b"--x\r\n", b"--x--\r\n", b"\r\n\r\n", b'Content-Disposition: form-data; name="CallUUID"\r\n',
                     b"call-1\r\n", b'; filename="a"', b"Content-Type: text/plain; charset=no\r\n"])
    | st.binary(max_size=9),
    max_size=10,
).map(b"".join)  # fmt: skip
BODIES = (
    st.binary(max_size=60)
    | MULTIPART
    | JSON.map(_dumped)
    | FIELDS.map(_dumped)
    | st.lists(st.sampled_from([b"CallUUID=call-1", b"&", b"=", b"%", b"%zz", b"%ff", b"To=", b";", b"\xff"])).map(
        b"".join
    )
)
"""A body that fits its content type, or does not."""
HEADER_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
HEADER_NAMES = (
    "X-Vobiz-Signature-V3", "X-Vobiz-Signature-V3-Nonce", "X-Vobiz-Signature-V2", "X-Forwarded-Host",
    "X-Forwarded-Proto", "X-Forwarded-For", "Host", "Authorization",
)  # fmt: skip
HEADERS: st.SearchStrategy[dict[str, str]] = st.dictionaries(st.sampled_from(HEADER_NAMES), HEADER_VALUES, max_size=4)
