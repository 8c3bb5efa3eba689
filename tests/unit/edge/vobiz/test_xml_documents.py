"""Whole documents: what we mean is what Vobiz reads, in an order that makes a call."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.vobiz import xml
from edge.vobiz.xml import (
    BadXml,
    Conference,
    Dial,
    Gather,
    Hangup,
    Number,
    Play,
    PreAnswer,
    Record,
    Speak,
    Stream,
    User,
    Verb,
    Wait,
    render,
)

pytestmark = pytest.mark.fast

WS = "wss://voice.example.com/ws/c-1.1778597657.signature"
HTTP = "https://voice.example.com/hook"
DIAL = Dial((Number("911234567890"),))


def parsed(*verbs: Verb, answered: bool = True) -> list[ElementTree.Element]:
    document = render(*verbs, answered=answered)
    assert document.startswith(b"<?xml version='1.0' encoding='UTF-8'?>\n<Response")
    root = ElementTree.fromstring(document)
    assert (root.tag, root.attrib) == ("Response", {})
    return list(root)


def test_nothing_is_said_with_an_empty_document() -> None:
    assert parsed(answered=False) == []


# --- escaping ------------------------------------------------------------------------------------------------------


def readable(text: str) -> str:
    """Only the characters of XML 1.0, section 2.2, with line ends as section 2.11 makes them."""
    ranges = ((0x20, 0xD7FF), (0xE000, 0xFFFD), (0x10000, 0x10FFFF))
    kept = "".join(c for c in text if c in "\t\n\r" or any(low <= ord(c) <= high for low, high in ranges))
    return kept.replace("\r\n", "\n").replace("\r", "\n")


TEXTS = st.text(st.characters(codec=None, exclude_categories=()), min_size=1, max_size=60) | st.text(
    "<>&\"'\r\n\t\x00\ud800\ufffe ]]>a", min_size=1, max_size=30
)


@given(TEXTS.map(lambda text: text + "!"))
def test_whatever_is_spoken_arrives_as_it_was_written(text: str) -> None:
    speak = parsed(Speak(text))[0]
    assert speak.text == readable(text)
    assert list(speak) == []


def test_nothing_in_a_text_becomes_markup() -> None:
    sly = '</Speak><Hangup/><Speak> & "x" <!-- ]]> &amp;'
    document = render(Speak(sly), Conference(sly.strip(), enter_sound=sly))
    root = ElementTree.fromstring(document)
    assert [element.tag for element in root.iter()] == ["Response", "Speak", "Conference"]
    assert (root[0].text, root[1].text, root[1].get("enterSound")) == (sly, sly, sly)


def test_line_ends_are_line_feeds_and_control_characters_are_dropped() -> None:
    assert parsed(Speak("a\r\nb\rc\x00\x0b\ud800\uffff\u0939\U0001f600"))[0].text == "a\nb\nc\u0939\U0001f600"


URLS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60)


@given(URLS)
def test_every_url_survives(tail: str) -> None:
    stream, play, record = parsed(Stream(f"{WS}?{tail}"), Play(f"{HTTP}?{tail}"), Record(f"{HTTP}?{tail}"))
    assert stream.text == f"{WS}?{tail}"
    assert play.text == f"{HTTP}?{tail}"
    assert record.get("action") == f"{HTTP}?{tail}"


def test_an_ampersand_in_the_url_does_not_drop_the_call() -> None:
    assert b"?a=1&amp;b=&lt;2&gt;</Stream>" in render(Stream("wss://voice.example.com/ws?a=1&b=<2>"))


# --- the order of a document ---------------------------------------------------------------------------------------


def test_a_dial_waits_until_the_call_is_answered() -> None:
    """Vobiz drops an inbound call that is dialled on unanswered, as ORIGINATOR_CANCEL."""
    for before in ((), (Record(HTTP),), (PreAnswer((Speak("Ringing."),)),), (Stream(WS, keep_call_alive=False),)):
        with pytest.raises(BadXml, match="Dial: the call is not answered yet; write a Speak, Play or Wait before it"):
            render(*before, DIAL)
    for answer in (Speak("Connecting."), Play(HTTP), Wait(), Stream(WS), Gather(HTTP), Conference("room")):
        assert [element.tag for element in parsed(answer, DIAL, answered=False)][-1] == "Dial"
    assert parsed(DIAL, answered=True)


def test_a_later_answer_does_not_help_an_earlier_dial() -> None:
    with pytest.raises(BadXml, match="Dial"):
        render(DIAL, Speak("Too late."))


def test_a_scheduled_hangup_needs_something_to_end() -> None:
    for verbs in ((Hangup(schedule_s=60),), (Speak("a"), Hangup(schedule_s=60))):
        with pytest.raises(BadXml, match="write a Speak, Play or Wait next"):
            render(*verbs)
    assert len(parsed(Hangup(schedule_s=60), Speak("One minute.", loop=0), Hangup())) == 3


def test_nothing_follows_a_hangup() -> None:
    with pytest.raises(BadXml, match="nothing after it runs"):
        render(Hangup(), Speak("Anyone there?"))


def test_a_stream_in_the_background_needs_a_foreground() -> None:
    """Without one the call ends at once, as End Of XML Instructions."""
    with pytest.raises(BadXml, match="the call ends at once"):
        render(Stream(WS, keep_call_alive=False))
    assert len(parsed(Stream(WS, keep_call_alive=False), Wait(60))) == 2


def test_early_media_comes_first_or_not_at_all() -> None:
    early = PreAnswer((Wait(2),))
    with pytest.raises(BadXml, match="PreAnswer: write it first"):
        render(Speak("Hello."), early)
    with pytest.raises(BadXml, match="PreAnswer: write it first"):
        render(early, answered=True)


@pytest.mark.parametrize("stray", [Number("911234567890"), User("sip:agent@example.com"), "Speak", None])
def test_only_verbs_stand_in_a_document(stray: Any) -> None:
    with pytest.raises(BadXml, match="expected a verb"):
        render(stray)


def test_a_document_has_a_size_that_vobiz_takes() -> None:
    overhead = len(render(Speak("a"))) - 1
    assert len(render(Speak("a" * (xml.DOCUMENT_BYTES_MAX - overhead)))) == xml.DOCUMENT_BYTES_MAX <= 100 * 1000
    with pytest.raises(BadXml, match="at most 100000"):
        render(Speak("a" * (xml.DOCUMENT_BYTES_MAX - overhead + 1)))
    with pytest.raises(BadXml, match="at most 100000"):
        render(Speak("\u0939" * 40_000))
