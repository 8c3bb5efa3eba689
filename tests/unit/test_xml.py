"""What Vobiz gets to read: well-formed, spelt as its documentation says, and closed by a hangup."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from edge.webhooks import StreamXml, apology_xml, hangup_xml

URL = "wss://voice.example.com/ws/c-1.1778597657.signature"


def children(document: bytes) -> list[ElementTree.Element]:
    assert document.startswith(b"<?xml version='1.0' encoding='UTF-8'?>")
    assert len(document) < 100 * 1024
    root = ElementTree.fromstring(document)
    assert (root.tag, root.attrib) == ("Response", {})
    return list(root)


def test_a_call_is_answered_by_a_stream_of_both_directions() -> None:
    stream, hangup = children(StreamXml(URL).render())
    assert stream.tag == "Stream"
    assert stream.text == URL
    assert stream.attrib == {
        "bidirectional": "true",
        "keepCallAlive": "true",
        "audioTrack": "inbound",
        "contentType": "audio/x-mulaw;rate=8000",
        "streamTimeout": "3600",
        "maxRetries": "3",
    }
    assert hangup.tag == "Hangup"


def test_the_limits_of_a_stream_can_be_chosen() -> None:
    stream, _ = children(StreamXml(URL, timeout_s=60, max_retries=0).render())
    assert (stream.get("streamTimeout"), stream.get("maxRetries")) == ("60", "0")


def test_an_ampersand_in_the_url_does_not_break_the_call() -> None:
    document = StreamXml("wss://voice.example.com/ws?a=1&b=<2>").render()
    assert b"?a=1&amp;b=&lt;2&gt;" in document
    assert children(document)[0].text == "wss://voice.example.com/ws?a=1&b=<2>"


def test_a_hangup_is_never_answered_by_a_stream() -> None:
    assert [child.tag for child in children(hangup_xml())] == ["Hangup"]


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), max_size=80))
def test_an_apology_is_spoken_and_then_the_call_ends(text: str) -> None:
    speak, hangup = children(apology_xml(text))
    assert (speak.tag, speak.text or "") == ("Speak", text)
    assert speak.attrib == {"voice": "WOMAN", "language": "en-IN"}
    assert hangup.tag == "Hangup"
