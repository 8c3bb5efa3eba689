"""Each verb as Vobiz's documentation spells it; what Vobiz could not run is refused when it is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, get_args
from xml.etree import ElementTree

import pytest

from edge.vobiz.xml import (
    BadXml,
    Conference,
    Dial,
    Dtmf,
    Gather,
    Hangup,
    Number,
    Play,
    PreAnswer,
    Record,
    Redirect,
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
PHONE = "911234567890"
DIAL = Dial((Number(PHONE),))


def parsed(*verbs: Verb, answered: bool = True) -> list[ElementTree.Element]:
    document = render(*verbs, answered=answered)
    assert document.startswith(b"<?xml version='1.0' encoding='UTF-8'?>\n<Response")
    root = ElementTree.fromstring(document)
    assert (root.tag, root.attrib) == ("Response", {})
    return list(root)


def one(verb: Verb) -> ElementTree.Element:
    return parsed(verb, Wait())[0]


def test_the_guides_form_says_the_same_with_the_url_as_an_attribute() -> None:
    """`<Connect><Stream url="…"/></Connect>`: for a carrier that reads the one page and not the other."""
    stream = Stream(WS, status_callback_url=HTTP)
    text, hangup = ElementTree.fromstring(render(stream, Hangup()))
    connect, after = ElementTree.fromstring(render(stream, Hangup(), connect=True))
    assert (connect.tag, connect.attrib, connect.text, len(connect)) == ("Connect", {}, None, 1)
    assert connect[0].tag == "Stream" and connect[0].text is None
    assert connect[0].attrib == {"url": WS, **text.attrib}
    assert after.tag == hangup.tag == "Hangup"
    (url,) = ElementTree.fromstring(render(Redirect(HTTP), connect=True))
    assert (url.tag, url.text) == ("Redirect", HTTP)


# --- as documented -------------------------------------------------------------------------------------------------


def test_a_call_is_answered_by_a_conversation() -> None:
    stream, speak, hangup = parsed(Stream(WS), Speak("We lost the line."), Hangup(), answered=False)
    assert (stream.tag, stream.text) == ("Stream", WS)
    assert stream.attrib == {
        "bidirectional": "true",
        "keepCallAlive": "true",
        "audioTrack": "inbound",
        "contentType": "audio/x-mulaw;rate=8000",
        "streamTimeout": "3600",
        "maxRetries": "3",
    }
    assert (speak.tag, speak.text, speak.attrib) == ("Speak", "We lost the line.", {})
    assert (hangup.tag, hangup.text, hangup.attrib) == ("Hangup", None, {})


EVERYTHING: list[tuple[Verb, str, dict[str, str]]] = [
    (
        Stream(WS, False, False, "both", "audio/x-l16;rate=16000", 60, 10, HTTP, "GET", {"agent": "a_b", "n": "1"}),
        f"<Stream>{WS}",
        {
            "bidirectional": "false", "keepCallAlive": "false", "audioTrack": "both",
            "contentType": "audio/x-l16;rate=16000", "streamTimeout": "60", "maxRetries": "10",
            "statusCallbackUrl": HTTP, "statusCallbackMethod": "GET", "extraHeaders": "agent=a_b,n=1",
        },
    ),
    (
        Speak("Namaste", voice="Polly.Aditi", language="hi-IN", loop=0),
        "<Speak>Namaste",
        {"voice": "Polly.Aditi", "language": "hi-IN", "loop": "0"},
    ),
    (Play(f"{HTTP}.mp3", loop=2), f"<Play>{HTTP}.mp3", {"loop": "2"}),
    (
        Wait(5, silence=True, min_silence_ms=3000, beep=False),
        "<Wait>",
        {"length": "5", "silence": "true", "minSilence": "3000", "beep": "false"},
    ),
    (
        Gather(
            HTTP, (), "GET", "dtmf speech", 5, 2, "auto", "none", 32, "telephony", ("sales", "front desk"), "en-IN",
            HTTP, "POST", log=False, redirect=True, profanity_filter=True,
        ),
        "<Gather>",
        {
            "action": HTTP, "method": "GET", "inputType": "dtmf speech", "executionTimeout": "5",
            "digitEndTimeout": "2",
            "speechEndTimeout": "auto", "finishOnKey": "none", "numDigits": "32", "speechModel": "telephony",
            "hints": "sales,front desk", "language": "en-IN", "interimSpeechResultsCallback": HTTP,
            "interimSpeechResultsCallbackMethod": "POST", "log": "false", "redirect": "true", "profanityFilter": "true",
        },
    ),
    (
        Record(
            HTTP, "POST", True, "wav", 5, 600, False, "#*0", True, True, "hybrid", HTTP, "GET", HTTP, "GET",
        ),
        "<Record>",
        {
            "action": HTTP, "method": "POST", "redirect": "true", "fileFormat": "wav", "timeout": "5",
            "maxLength": "600",
            "playBeep": "false", "finishOnKey": "#*0", "recordSession": "true", "startOnDialAnswer": "true",
            "transcriptionType": "hybrid", "transcriptionUrl": HTTP, "transcriptionMethod": "GET", "callbackUrl": HTTP,
            "callbackMethod": "GET",
        },
    ),
    (
        Dial(
            (Number(PHONE),), (), HTTP, "GET", False, HTTP, "POST", f"+{PHONE}", "Front desk", 30, 600, True, "real",
            HTTP, "1", 10, ("12", "*9"), ("0",), {"Reason": "billing"},
        ),
        "<Dial>",
        {
            "action": HTTP, "method": "GET", "redirect": "false", "callbackUrl": HTTP, "callbackMethod": "POST",
            "callerId": f"+{PHONE}", "callerName": "Front desk", "timeout": "30", "timeLimit": "600",
            "hangupOnStar": "true", "dialMusic": "real", "confirmSound": HTTP, "confirmKey": "1",
            "confirmTimeout": "10",
            "digitsMatch": "12,*9", "digitsMatchBLeg": "0", "sipHeaders": "Reason=billing",
        },
    ),
    (
        Conference(
            "room 1", True, False, True, False, True, 5, "beep:1", HTTP, HTTP, "POST", True, ("1",), True, 3600, True,
            "mp3", HTTP, "POST", HTTP, "GET",
        ),
        "<Conference>room 1",
        {
            "stayAlone": "true", "muted": "false", "beep": "true", "startConferenceOnEnter": "false",
            "endConferenceOnExit": "true", "maxParticipants": "5", "enterSound": "beep:1", "exitSound": HTTP,
            "waitSound": HTTP, "waitMethod": "POST", "relayDTMF": "true", "digitsMatch": "1", "hangupOnStar": "true",
            "timeLimit": "3600", "record": "true", "recordFileFormat": "mp3", "action": HTTP, "method": "POST",
            "callbackUrl": HTTP, "callbackMethod": "GET",
        },
    ),
    (Redirect(HTTP, "GET"), f"<Redirect>{HTTP}", {"method": "GET"}),
    (Hangup("busy", 60), "<Hangup>", {"reason": "busy", "schedule": "60"}),
    (Dtmf("1w2W#", asynchronous=False), "<DTMF>1w2W#", {"async": "false"}),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "text", "attributes"), EVERYTHING, ids=lambda value: type(value).__name__)
def test_every_attribute_has_vobizs_name(verb: Verb, text: str, attributes: dict[str, str]) -> None:
    element = one(verb)
    assert f"<{element.tag}>{element.text or ''}" == text
    assert element.attrib == attributes


def test_every_field_of_every_verb_is_covered_above() -> None:
    """A new field is tested the day it is born."""
    shown = {type(verb): attributes for verb, _, attributes in EVERYTHING}
    assert set(shown) == set(get_args(Verb)) - {PreAnswer}
    for kind, attributes in shown.items():
        others = {"url", "text", "prompts", "numbers", "users", "room", "digits"}
        assert len(attributes) == len({field.name for field in dataclasses.fields(kind)} - others), kind.__name__


def test_only_what_is_set_is_stated() -> None:
    assert one(Wait()).attrib == {"length": "1"}
    assert one(Gather(HTTP)).attrib == {"action": HTTP, "inputType": "dtmf"}
    assert one(Record(HTTP)).attrib == {"action": HTTP, "redirect": "false"}
    for verb in (Speak("a"), Play(HTTP), DIAL, Conference("room"), Redirect(HTTP), Dtmf("1")):
        assert one(verb).attrib == {}


def test_a_menu_asks_its_question_inside() -> None:
    gather = one(Gather(HTTP, (Speak("Press 1."), Play(HTTP, loop=1)), num_digits=1))
    assert [(child.tag, child.text, child.attrib) for child in gather] == [
        ("Speak", "Press 1.", {}),
        ("Play", HTTP, {"loop": "1"}),
    ]


def test_early_media_is_heard_before_the_answer() -> None:
    (early, _) = parsed(PreAnswer((Speak("Ringing."), Wait(2))), Speak("Hello."), answered=False)
    assert (early.tag, early.attrib, [child.tag for child in early]) == ("PreAnswer", {}, ["Speak", "Wait"])


def test_phones_and_sip_users_ring_together() -> None:
    dial = one(
        Dial(
            (Number(PHONE, send_digits="ww24", send_on_preanswer=True), Number(f"+{PHONE}")),
            (User("sip:agent@example.com", sip_headers={"Reason": "billing"}),),
        )
    )
    assert [(child.tag, child.text, child.attrib) for child in dial] == [
        ("Number", PHONE, {"sendDigits": "ww24", "sendOnPreanswer": "true"}),
        ("Number", f"+{PHONE}", {}),
        ("User", "sip:agent@example.com", {"sipHeaders": "Reason=billing"}),
    ]


def test_numbers_are_sent_without_the_signs_that_people_put_between() -> None:
    dial = one(Dial((Number("+91 (123) 456-7890"),), caller_id="+91 12345 67890"))
    assert (dial[0].text, dial.get("callerId")) == ("+911234567890", "+911234567890")


def test_what_was_checked_is_what_is_sent() -> None:
    headers = {"agent": "desk"}
    stream = Stream(WS, extra_headers=headers)
    headers["agent"] = "a b"
    assert one(stream).get("extraHeaders") == "agent=desk"


# --- what cannot work ----------------------------------------------------------------------------------------------


def odd(value: object) -> Any:
    """A value of the wrong type: agent files are read at run time."""
    return value


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: Stream("https://voice.example.com/ws"), "Stream.url: expected a full wss:// URL"),
        (lambda: Stream("wss://"), "Stream.url"),
        (lambda: Stream("wss://voice.example.com:99999/ws"), "Stream.url"),
        (lambda: Stream("wss://[voice/ws"), "Stream.url"),
        (lambda: Stream("wss://voice.example.com/a b"), "Stream.url"),
        (lambda: Stream("wss://voice.example.com/\u00e9"), "Stream.url"),
        (lambda: Stream("wss://voice.example.com/\x0b"), "Stream.url"),
        (lambda: Stream(WS + "a" * 2048), "at most 2048"),
        (lambda: Stream(odd(None)), "Stream.url"),
        (lambda: Stream(WS, audio_track="both"), "audio_track: write 'inbound', or bidirectional=False"),
        (lambda: Stream(WS, audio_track="outbound"), "audio_track: write 'inbound'"),
        (lambda: Stream(WS, bidirectional=False), "keep_call_alive: write False"),
        (lambda: Stream(WS, content_type=odd("audio/x-l16;rate=24000")), "one of 'audio/x-mulaw;rate=8000'"),
        (lambda: Stream(WS, stream_timeout_s=0), "stream_timeout_s: expected a whole number from 1 to 86400"),
        (lambda: Stream(WS, stream_timeout_s=86_401), "stream_timeout_s"),
        (lambda: Stream(WS, stream_timeout_s=True), "stream_timeout_s"),
        (lambda: Stream(WS, max_retries=-1), "max_retries: expected a whole number from 0 to 10"),
        (lambda: Stream(WS, max_retries=11), "max_retries"),
        (lambda: Stream(WS, bidirectional=odd(None)), "bidirectional: expected True or False"),
        (lambda: Stream(WS, extra_headers={"a": "x y"}), "extra_headers: expected names and values of A-Za-z0-9_"),
        (lambda: Stream(WS, extra_headers={"a": "x+y"}), "extra_headers"),
        (lambda: Stream(WS, extra_headers={"a,b": "x"}), "extra_headers"),
        (lambda: Stream(WS, extra_headers={}), "extra_headers"),
        (lambda: Stream(WS, extra_headers={"a": "x" * 511}), "at most 512 bytes"),
        (lambda: Stream(WS, status_callback_url="wss://voice.example.com/"), "status_callback_url"),
        (lambda: Stream(WS, status_callback_method="POST"), "also set status_callback_url"),
        (lambda: Speak("  \x00"), "Speak.text: expected text that is not blank"),
        (lambda: Speak("a", loop=-1), "loop"),
        (lambda: Speak("a", voice="ALTO"), "WOMAN, MAN or Polly"),
        (lambda: Speak("a", language="English!"), "'en-IN'"),
        (lambda: Play("ftp://voice.example.com/a.mp3"), "Play.url"),
        (lambda: Play("/a.mp3"), "Play.url"),
        (lambda: Wait(0), "length_s"),
        (lambda: Wait(5, min_silence_ms=100), "also set silence"),
        (lambda: Wait(5, silence=True, beep=True), "write one of them"),
        (lambda: Wait(2, silence=True), "write more than min_silence_ms, which is 2000"),
        (lambda: Gather(HTTP, execution_timeout_s=4), "from 5 to 60"),
        (lambda: Gather(HTTP, execution_timeout_s=61), "from 5 to 60"),
        (lambda: Gather(HTTP, digit_end_timeout_s=1), "2 to 10, or 'auto'"),
        (lambda: Gather(HTTP, digit_end_timeout_s=11), "2 to 10, or 'auto'"),
        (lambda: Gather(HTTP, input_type="speech", speech_end_timeout_s=odd("no")), "2 to 10, or 'auto'"),
        (lambda: Gather(HTTP, finish_on_key="12"), "one key, or 'none'"),
        (lambda: Gather(HTTP, num_digits=33), "from 1 to 32"),
        (lambda: Gather(HTTP, input_type="speech", hints=("a,b",)), "without commas"),
        (lambda: Gather(HTTP, input_type="speech", hints=("a" * 101,)), "hints"),
        (lambda: Gather(HTTP, input_type="speech", hints=("a",) * 501), "hints"),
        (lambda: Gather(HTTP, input_type="speech", hints=("a" * 100,) * 101), "hints"),
        (lambda: Gather(HTTP, hints=("sales",)), "hints means nothing with input_type='dtmf': write 'dtmf speech'"),
        (lambda: Gather(HTTP, input_type="speech", num_digits=1), "num_digits means nothing with input_type='speech'"),
        (lambda: Gather(HTTP, odd((Wait(),))), "prompts: expected a tuple that holds only Speak, Play"),
        (lambda: Gather(HTTP, odd([Speak("a")])), "prompts: expected a tuple"),
        (lambda: Gather(odd(None)), "Gather.action"),
        (lambda: Record(), "Record.action: write a URL, or record_session=True and a callback_url"),
        (lambda: Record(record_session=True), "Record.action"),
        (lambda: Record(HTTP, file_format=odd("ogg")), "one of 'mp3', 'wav'"),
        (lambda: Record(HTTP, finish_on_key="a"), "finish_on_key"),
        (lambda: Record(HTTP, transcription_type="auto"), "also set transcription_url"),
        (lambda: Record(record_session=True, callback_url=HTTP, method="GET"), "also set action"),
        (lambda: Dial(), "nobody to call"),
        (lambda: Dial(odd(PHONE)), "numbers: expected a tuple that holds only Number"),
        (lambda: Dial((), odd((Number(PHONE),))), "users: expected a tuple that holds only User"),
        (lambda: Dial((Number(PHONE),), caller_id="front desk"), "caller_id: expected a phone number"),
        (lambda: Dial((Number(PHONE),), caller_name="a\nb"), "caller_name: expected one line"),
        (lambda: Dial((Number(PHONE),), confirm_key="1"), "also set confirm_sound"),
        (lambda: Dial((Number(PHONE),), dial_music="loud"), "or 'real'"),
        (lambda: Dial((Number(PHONE),), digits_match=odd("12")), "digits_match"),
        (lambda: Dial((Number(PHONE),), sip_headers={"a_b": "1"}), "sip_headers"),
        (lambda: Dial((Number(PHONE),), timeout_s=0), "timeout_s"),
        (lambda: Number("12"), "Number.number: expected a phone number such as"),
        (lambda: Number("91+1234567890"), "a phone number"),
        (lambda: Number("1234567890123456"), "a phone number"),
        (lambda: Number(odd(911234567890)), "a phone number"),
        (lambda: Number(PHONE, send_digits="1W"), "send_digits"),
        (lambda: Number(PHONE, send_on_preanswer=True), "also set send_digits"),
        (lambda: User("agent@example.com"), "sip:agent@example.com"),
        (lambda: Conference("  "), "Conference.room"),
        (lambda: Conference("a\x00"), "Conference.room"),
        (lambda: Conference("a", record_file_format="mp3"), "also set record"),
        (lambda: Redirect("voice.example.com"), "Redirect.url"),
        (lambda: Hangup(reason=odd("bored")), "one of 'rejected', 'busy'"),
        (lambda: Hangup(schedule_s=0), "schedule_s"),
        (lambda: PreAnswer(()), "write at least one"),
        (lambda: PreAnswer(odd((Gather(HTTP),))), "holds only Speak, Play, Wait"),
        (lambda: PreAnswer(odd((Hangup(),))), "holds only Speak, Play, Wait"),
        (lambda: Dtmf("12a"), "Dtmf.digits"),
        (lambda: Dtmf(""), "Dtmf.digits"),
    ],
)
def test_what_vobiz_could_not_run_is_refused_with_what_to_write(build: Callable[[], object], told: str) -> None:
    with pytest.raises(BadXml) as caught:
        build()
    assert told in str(caught.value)


def test_the_limits_themselves_are_allowed() -> None:
    Stream(WS, stream_timeout_s=1, max_retries=0, extra_headers={"a": "x" * 510})
    Stream(WS.ljust(2048, "a"), stream_timeout_s=86_400, max_retries=10)
    for seconds in (5, 60):
        Gather(HTTP, execution_timeout_s=seconds, digit_end_timeout_s=2 if seconds == 5 else 10, num_digits=1)
    Wait(3, silence=True)
    Record(record_session=True, callback_url=HTTP)


def test_every_mistake_is_told_and_no_value_is() -> None:
    with pytest.raises(BadXml) as caught:
        Dial((Number(PHONE),), caller_id="x+91 98765 43210", action="secret-token", timeout_s=0)
    told = str(caught.value)
    assert all(field in told for field in ("Dial.caller_id", "Dial.action", "Dial.timeout_s"))
    assert "98765" not in told
    assert "secret-token" not in told
