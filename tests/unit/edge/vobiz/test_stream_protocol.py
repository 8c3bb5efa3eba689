"""Every spelling of the media stream that was seen or documented, and no bytes that can do harm.

The ids of the cases name the section and the variant of the carrier's protocol ("2.2" is `start`, and so on).
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vobiz.stream_protocol import (
    PAYLOAD_BYTES_MAX,
    BadFrame,
    ClearedAudio,
    Commands,
    DtmfMessage,
    Event,
    Media,
    MediaFormat,
    PlayedStream,
    Start,
    Stop,
    Unknown,
    parse,
)
from tests.hypothesis_profile import examples

pytestmark = pytest.mark.fast

CALL = "5401fd2e-0000-4000-8000-000000000001"
STREAM = "c4dfd815-0000-4000-8000-000000000002"
FRAME = bytes(range(160))
FRAME64 = base64.b64encode(FRAME).decode()


def case(name: str, text: str, event: Event) -> Any:
    return pytest.param(text, event, id=name)


STARTS = [
    case(
        "2.2-current",
        f'{{"sequenceNumber":0,"event":"start","start":{{"callId":"{CALL}","streamId":"{STREAM}","accountId":"500025",'
        '"tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-l16","sampleRate":16000}},"extra_headers":"{}"}',
        Start(CALL, STREAM, MediaFormat("l16", 16000)),
    ),
    case(
        "2.2-current-mulaw",
        f'{{"event":"start","start":{{"callId":"{CALL}","streamId":"{STREAM}",'
        '"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000}}}',
        Start(CALL, STREAM, MediaFormat("mulaw", 8000)),
    ),
    case(
        "2.2-old-flat",
        '{"event":"start","streamId":"STREAM_abc","accountId":"MA_XXXXXXXX","callId":"CALL_abc123",'
        '"from":"911234567890","to":"911234567891","direction":"inbound","contentType":"audio/x-l16;rate=8000",'
        '"audioTrack":"inbound"}',
        Start("CALL_abc123", "STREAM_abc", MediaFormat("l16", 8000)),
    ),
    case(
        "2.2-callUUID-nested",
        f'{{"event":"start","start":{{"callUUID":"{CALL}","streamId":"{STREAM}","auth_id":"MA_XXXXXXXX"}}}}',
        Start(CALL, STREAM, None),
    ),
    case(
        "2.2-CallUUID-on-top",
        f'{{"event":"start","CallUUID":"{CALL}","start":{{"streamId":"{STREAM}"}}}}',
        Start(CALL, STREAM, None),
    ),
    case(
        "2.2-call_uuid-on-top",
        f'{{"event":"start","call_uuid":"{CALL}","stream_id":"{STREAM}"}}',
        Start(CALL, STREAM, None),
    ),
    case(
        "2.2-streamSid-callSid",
        '{"event":"start","streamSid":"S1","start":{"callSid":"C1","streamSid":"S1","customParameters":{"a":"b"}}}',
        Start("C1", "S1", None),
    ),
    case(
        "2.2-plivo-sequence-from-1",
        f'{{"sequenceNumber":1,"event":"start","start":{{"callId":"{CALL}","streamId":"{STREAM}"}},'
        '"extra_headers":"{\\"a\\":\\"b\\"}"}',
        Start(CALL, STREAM, None),
    ),
    case("2.2-nothing-said", '{"event":"start"}', Start("", "", None)),
    case("2.2-start-is-no-object", '{"event":"start","start":[1],"callId":"C1"}', Start("C1", "", None)),
    case("2.2-ids-are-numbers", '{"event":"start","start":{"callId":17,"streamId":18}}', Start("17", "18", None)),
    case("9.1-nested-before-flat", '{"event":"start","callId":"old","start":{"callId":"new"}}', Start("new", "", None)),
    case(
        "9.5-sampleRate-is-a-text",
        '{"event":"start","start":{"mediaFormat":{"encoding":"audio/x-l16","sampleRate":"16000"}}}',
        Start("", "", MediaFormat("l16", 16000)),
    ),
    case(
        "2.6-rate-in-the-encoding",
        '{"event":"start","start":{"mediaFormat":{"encoding":"audio/x-L16; rate=16000"}}}',
        Start("", "", MediaFormat("l16", 16000)),
    ),
    case(
        "2.6-rate-left-out",
        '{"event":"start","start":{"mediaFormat":{"encoding":"audio/x-mulaw"}}}',
        Start("", "", MediaFormat("mulaw", 8000)),
    ),
    case(
        "2.6-l16-24000",
        '{"event":"start","start":{"mediaFormat":{"encoding":"audio/x-l16","sampleRate":24000}}}',
        Start("", "", MediaFormat("l16", 24000)),
    ),
]

MEDIA = [
    case(
        "2.3-current",
        f'{{"sequenceNumber":2,"streamId":"{STREAM}","event":"media","media":{{"track":"inbound",'
        '"timestamp":"1778597597091","chunk":2,"payload":"//////////8="},"extra_headers":"{}"}',
        Media(b"\xff" * 8),
    ),
    case(
        "2.3-old-no-sequence-and-int-timestamp",
        f'{{"event":"media","streamId":"{STREAM}","media":{{"payload":"{FRAME64}","contentType":"audio/x-mulaw",'
        '"sampleRate":8000,"timestamp":1700000000000}}',
        Media(FRAME),
    ),
    case(
        "2.3-l16-8000", json.dumps({"event": "media", "media": {"payload": "AAAA" * 106 + "AAA="}}), Media(bytes(320))
    ),
    case("2.3-odd-size", '{"event":"media","media":{"payload":"AAAA"}}', Media(bytes(3))),
    case("2.3-empty", '{"event":"media","media":{"payload":""}}', Media(b"")),
    case("2.3-no-padding", '{"event":"media","media":{"payload":"//////////8"}}', Media(b"\xff" * 8)),
    case("2.3-base64-with-line-ends", '{"event":"media","media":{"payload":"////\\n//////8=\\n"}}', Media(b"\xff" * 8)),
    case("2.3-track-null", '{"event":"media","media":{"payload":"//8=","track":null}}', Media(b"\xff\xff")),
    case("2.3-track-outbound", '{"event":"media","media":{"payload":"//8=","track":"outbound"}}', Unknown(True)),
    case(
        "2.3-track-outbound-no-padding", '{"event":"media","media":{"payload":"//8","track":"outbound"}}', Unknown(True)
    ),
]

OTHERS = [
    case("2.4-playedStream-bare", '{"event":"playedStream","name":"1.1.0"}', PlayedStream("1.1.0")),
    case("2.4-playedStream-with-id", '{"event":"playedStream","streamId":"S","name":"1.1.0"}', PlayedStream("1.1.0")),
    case(
        "2.4-playedStream-with-sequence",
        '{"sequenceNumber":3,"event":"playedStream","streamId":"S","name":"1.1.0"}',
        PlayedStream("1.1.0"),
    ),
    case("2.4-playedStream-unnamed", '{"event":"playedStream"}', PlayedStream("")),
    case("2.4-clearedAudio-bare", '{"event":"clearedAudio","streamId":"S"}', ClearedAudio()),
    case("2.4-clearedAudio-sequence", '{"sequenceNumber":0,"event":"clearedAudio","streamId":"S"}', ClearedAudio()),
    case(
        "2.4-dtmf-nested",
        '{"event":"dtmf","sequenceNumber":5,"streamId":"S","dtmf":{"track":"inbound","digit":"1",'
        '"timestamp":"1778597597091"},"extra_headers":"{}"}',
        DtmfMessage("1"),
    ),
    case("2.4-dtmf-flat", '{"event":"dtmf","digit":"#"}', DtmfMessage("#")),
    case("2.4-dtmf-number", '{"event":"dtmf","digit":0}', DtmfMessage("0")),
    case("2.4-stop-with-reason", '{"event":"stop","streamId":"S","reason":"call_ended"}', Stop()),
    case("2.4-stop-bare", '{"event":"stop"}', Stop()),
    case("2.4-unknown", '{"event":"degradedStream","streamId":"S"}', Unknown()),
    case("2.4-unknown-empty", '{"event":""}', Unknown()),
]

BAD = [
    pytest.param(text, kind, id=name)
    for name, text, kind in [
        ("empty", b"", "bad json"),
        ("text", b"hello", "bad json"),
        ("cut-off", b'{"event":"media","media":{"payl', "bad json"),
        ("not-utf8", b'{"event":"media","media":{"payload":"","track":"\xff"}}', "bad json"),
        ("array", b"[]", "bad json"),
        ("null", b"null", "bad json"),
        ("number", b"17", "bad json"),
        ("deep", b"[" * 60_000, "bad json"),
        ("deep-beside-media", b'{"event":"media","x":' + b"[" * 60_000, "bad json"),
        ("deep-and-closed", b'{"event":"media","x":' + b"[" * 9000 + b"]" * 9000 + b"}", "bad json"),
        ("digits-without-end", b'{"event":"playedStream","name":1' + b"0" * 5000 + b"}", "bad json"),
        ("no-event", b"{}", "no event"),
        ("event-is-a-number", b'{"event":1}', "no event"),
        ("event-is-an-object", b'{"event":{"media":1}}', "no event"),
        ("media-missing", b'{"event":"media"}', "bad media"),
        ("media-is-a-text", b'{"event":"media","media":"AAAA"}', "bad media"),
        ("payload-missing", b'{"event":"media","media":{}}', "bad media"),
        ("payload-is-a-number", b'{"event":"media","media":{"payload":17}}', "bad media"),
        ("payload-is-no-base64", b'{"event":"media","media":{"payload":"abcde"}}', "bad base64"),
        ("payload-is-not-ascii", '{"event":"media","media":{"payload":"é==="}}'.encode(), "bad base64"),
        ("dtmf-missing", b'{"event":"dtmf"}', "bad dtmf"),
        ("dtmf-not-a-key", b'{"event":"dtmf","digit":"1x2"}', "bad dtmf"),
        ("dtmf-strange-key", b'{"event":"dtmf","digit":"\\u00b2"}', "bad dtmf"),
        ("codec-unknown", b'{"event":"start","start":{"mediaFormat":{"encoding":"audio/opus"}}}', "bad format"),
        (
            "rate-unknown",
            b'{"event":"start","start":{"mediaFormat":{"encoding":"audio/x-l16","sampleRate":44100}}}',
            "bad format",
        ),
    ]
]


@pytest.mark.parametrize(("text", "event"), [*STARTS, *MEDIA, *OTHERS])
def test_every_known_spelling_is_understood(text: str, event: Event) -> None:
    assert parse(text) == event
    assert parse(text.encode()) == event


@pytest.mark.parametrize(("text", "kind"), BAD)
def test_what_cannot_be_understood_is_named(text: bytes, kind: str) -> None:
    with pytest.raises(BadFrame) as caught:
        parse(text)
    assert caught.value.kind == kind


@pytest.mark.parametrize("ending", ["", "\\n"], ids=["fast", "tolerant"])
def test_a_payload_has_a_bound(ending: str) -> None:
    def media(size: int) -> str:
        payload = base64.b64encode(bytes(size)).decode()
        return f'{{"event":"media","media":{{"payload":"{payload}{ending}"}}}}'

    assert parse(media(PAYLOAD_BYTES_MAX)) == Media(bytes(PAYLOAD_BYTES_MAX))
    with pytest.raises(BadFrame) as caught:
        parse(media(PAYLOAD_BYTES_MAX + 1))
    assert caught.value.kind == "too large"


def test_what_the_caller_said_is_never_in_an_error() -> None:
    for text in (b'{"event":"dtmf","digit":"4711x"}', b'{"event":"media","media":{"payload":"abcde"}}', b"4711 abcde"):
        with pytest.raises(BadFrame) as caught:
            parse(text)
        assert "4711" not in str(caught.value)
        assert "abcde" not in str(caught.value)


@given(st.binary(max_size=700), st.sampled_from(["inbound", "outbound", "both", ""]))
def test_the_fast_and_the_tolerant_path_agree(payload: bytes, track: str) -> None:
    encoded = base64.b64encode(payload).decode()
    fast, tolerant = (
        parse(json.dumps({"event": "media", "streamId": STREAM, "media": {"track": track, "payload": spelling}}))
        for spelling in (encoded, encoded + "\n")  # msgspec takes only the first
    )
    assert fast == tolerant == (Unknown(other_track=True) if track == "outbound" else Media(payload))


def understood_or_refused(text: bytes) -> None:
    try:
        event = parse(text)
    except BadFrame as error:
        assert error.kind in {"bad json", "no event", "bad media", "bad base64", "bad dtmf", "bad format", "too large"}
    else:
        assert isinstance(event, Event)


@settings(max_examples=examples(2000), deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_do_harm(text: bytes) -> None:
    understood_or_refused(text)


WHOLE = [item.values[0].encode() for item in (*STARTS, *MEDIA, *OTHERS)]


@settings(max_examples=examples(2000), deadline=None)
@given(st.sampled_from(WHOLE), st.integers(0, 400), st.integers(0, 20), st.binary(max_size=20))
def test_no_damaged_message_does_harm(text: bytes, at: int, lost: int, foreign: bytes) -> None:
    understood_or_refused(text[:at] + foreign + text[at + lost :])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["payload", "callId", "mediaFormat", "encoding", "digit", "x"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
EVENTS = ["media", "start", "dtmf", "playedStream", "clearedAudio", "stop", "other"]


@settings(max_examples=examples(500), deadline=None)
@given(
    st.sampled_from(EVENTS),
    st.dictionaries(
        st.sampled_from(["media", "start", "dtmf", "digit", "name", "contentType", "y"]), VALUES, max_size=4
    ),
)
def test_no_json_of_the_wrong_types_does_harm(event: str, body: dict[str, Any]) -> None:
    understood_or_refused(json.dumps({"event": event, **body}).encode())


# --- what we say ------------------------------------------------------------------------------------------------


def test_our_messages_are_spelt_as_documented() -> None:
    commands = Commands(STREAM)
    assert json.loads(commands.play(FRAME)) == {
        "event": "playAudio",
        "streamId": STREAM,
        "media": {"contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": FRAME64},
    }
    assert json.loads(commands.checkpoint("1.2.0")) == {"event": "checkpoint", "streamId": STREAM, "name": "1.2.0"}
    assert json.loads(commands.clear()) == {"event": "clearAudio", "streamId": STREAM}
    assert json.loads(commands.stop()) == {"event": "stop", "streamId": STREAM}


@given(st.text(), st.text(), st.binary(min_size=160, max_size=160))
def test_our_messages_are_json_whatever_the_carrier_calls_its_stream(stream: str, name: str, mulaw: bytes) -> None:
    commands = Commands(stream)
    assert json.loads(commands.play(mulaw))["streamId"] == stream
    assert base64.b64decode(json.loads(commands.play(mulaw))["media"]["payload"]) == mulaw
    assert json.loads(commands.checkpoint(name)) == {"event": "checkpoint", "streamId": stream, "name": name}
    assert json.loads(commands.clear())["streamId"] == json.loads(commands.stop())["streamId"] == stream
