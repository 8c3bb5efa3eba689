"""Every `<Stream>` that Vobiz would accept, and the hangup cause for what it would not."""

import pytest

from simulators.answer import L16_8K, L16_16K, MULAW, CallDropped, Stream, read_answer

pytestmark = pytest.mark.fast

ATTRIBUTES = 'bidirectional="true" keepCallAlive="true" contentType="audio/x-mulaw;rate=8000"'


def answer(body: str, status: int = 200, content_type: str = "application/xml") -> Stream:
    return read_answer(status, content_type, f"<Response>{body}</Response>".encode())


def test_the_documented_shape_with_its_url_as_text() -> None:
    stream = answer(
        f'<Stream {ATTRIBUTES} maxRetries="3" streamTimeout="3600">\n  wss://voice.example.com/ws/SECRET?x=1&amp;y=2\n'
        "</Stream><Speak>Sorry.</Speak><Hangup/>",
        content_type="text/xml; charset=utf-8",
    )
    assert stream.url == "wss://voice.example.com/ws/SECRET?x=1&y=2"
    assert stream.bidirectional
    assert stream.keep_call_alive
    assert (stream.encoding, stream.rate_hz) == ("audio/x-mulaw", 8000)
    assert (stream.max_retries, stream.stream_timeout_s) == (3, 3600)
    assert stream.verbs_after == ("Speak", "Hangup")


def test_connect_without_attributes_is_a_two_way_mulaw_stream() -> None:
    stream = answer('<Connect><Stream url="wss://voice.example.com/ws"/></Connect>')
    assert stream.bidirectional
    assert stream.keep_call_alive
    assert stream.content_type == MULAW


def test_the_url_attribute_and_the_old_tag() -> None:
    assert answer(f'<Stream url="ws://127.0.0.1:8000/ws" {ATTRIBUTES}/>').url == "ws://127.0.0.1:8000/ws"
    assert answer(f"<AudioStream {ATTRIBUTES}>wss://voice.example.com/ws</AudioStream>").content_type == MULAW


def test_without_a_content_type_the_caller_is_heard_as_l16() -> None:
    both = 'bidirectional="true" keepCallAlive="true"'
    assert answer(f"<Stream {both}>wss://voice.example.com/ws</Stream>").content_type == L16_8K
    wide = answer(f'<Stream {both} contentType="{L16_16K}">wss://voice.example.com/ws</Stream>')
    assert (wide.encoding, wide.rate_hz) == ("audio/x-l16", 16000)


def test_retries_are_cut_to_what_the_carrier_allows() -> None:
    for written, read in (("99", 10), ("-1", 0), ("many", 0)):
        stream = answer(f'<Stream {ATTRIBUTES} maxRetries="{written}">wss://voice.example.com/ws</Stream>')
        assert stream.max_retries == read


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (8011, f"<Stream {ATTRIBUTES}>wss://voice.example.com/ws?x=1&y=2</Stream>"),  # the & that costs a call
        (8011, f"<Stream {ATTRIBUTES}>https://voice.example.com/ws</Stream>"),
        (8011, f"<Stream {ATTRIBUTES}></Stream>"),
        (
            8011,
            '<Stream keepCallAlive="true" bidirectional="true" contentType="audio/x-l16;rate=24000">wss://a/</Stream>',
        ),
        (8011, f'<Stream {ATTRIBUTES} audioTrack="all">wss://voice.example.com/ws</Stream>'),
        (4010, f'<Stream {ATTRIBUTES} audioTrack="both">wss://voice.example.com/ws</Stream>'),
        (4010, '<Stream bidirectional="true">wss://voice.example.com/ws</Stream>'),
        (4010, '<Stream keepCallAlive="true">wss://voice.example.com/ws</Stream>'),  # keepCallAlive needs two ways
        (4010, "<Speak>Good evening.</Speak>"),
        (4000, "<Hangup/>"),
    ],
)
def test_what_the_carrier_drops(code: int, body: str) -> None:
    with pytest.raises(CallDropped) as dropped:
        answer(body)
    assert dropped.value.code == code


def test_an_answer_that_is_not_xml_by_its_headers_or_root() -> None:
    good = f"<Stream {ATTRIBUTES}>wss://voice.example.com/ws</Stream>"
    for code, status, content_type in (
        (7011, 500, "application/xml"),
        (7011, 302, "text/xml"),
        (8011, 200, "text/html"),
    ):
        with pytest.raises(CallDropped) as dropped:
            answer(good, status, content_type)
        assert dropped.value.code == code
    with pytest.raises(CallDropped, match="8011 Invalid Answer XML: the root element is <html>"):
        read_answer(200, "text/xml", b"<html/>")
    with pytest.raises(CallDropped, match="8011"):
        read_answer(200, "text/xml", b"<Response>" + b" " * 100_000 + b"</Response>")


def test_the_secret_in_the_stream_url_is_in_no_error() -> None:
    with pytest.raises(CallDropped) as dropped:
        answer(f"<Stream {ATTRIBUTES}>http://voice.example.com/ws/SECRET</Stream>")
    assert "SECRET" not in str(dropped.value)
