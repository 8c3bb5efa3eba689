"""The parts of the simulated carrier that need no loop: documents, requests, limits, faults, people, the bad line."""

import json
from typing import Any

import pytest

from simulators.answer import Stream
from simulators.carrier.account import Account
from simulators.carrier.call_request import BadParameter, read_call_request
from simulators.carrier.causes import CAUSES, Dropped, cause
from simulators.carrier.document import (
    Dial,
    Gather,
    HangupVerb,
    Pause,
    Play,
    PreAnswer,
    Record,
    Redirect,
    Speak,
    Verb,
    read_document,
)
from simulators.carrier.people import BadCallee, Callee, People, read_callee
from simulators.carrier.refusals import Limits, Refusal, RequestFault, RequestFaults, error_body
from simulators.script import Say
from simulators.sound import from_mulaw, loud_windows, mulaw_loud_windows
from simulators.stream_messages import Spelling, Writer
from simulators.uplink import Disturbance, Out, Uplink

pytestmark = pytest.mark.fast

REQUEST = {"from": "+911234567890", "to": "911234567891", "answer_url": "https://voice.example.com/answer"}
NUMBER = "+911234567890"


def verbs(body: str, where: str = "answer") -> tuple[Verb, ...]:
    return read_document(200, "text/xml; charset=utf-8", f"<Response>{body}</Response>".encode(), where)


# --- documents ---


def test_every_verb_of_the_reference() -> None:
    url = "https://voice.example.com"
    read = verbs(
        f'<Speak voice="MAN" loop="2"> Hello. </Speak><Play>{url}/a.mp3</Play><Wait length="3"/>'
        f'<Gather action="{url}/menu" numDigits="1" inputType="dtmf speech"><Speak>Press.</Speak></Gather>'
        f'<Record maxLength="9" callbackUrl="{url}/file"/>'
        f'<Dial callerId="911234567890" timeout="30"><Number>911234567891</Number><User>sip:a@b</User></Dial>'
        f"<Redirect>{url}/next</Redirect><PreAnswer><Speak>Wait.</Speak></PreAnswer>"
        f'<Connect><Stream url="wss://voice.example.com/ws"/></Connect><Hangup schedule="5" reason="busy"/>'
    )
    assert read[:3] == (Speak("Hello.", 2), Play(f"{url}/a.mp3"), Pause(3.0))
    gather, record, dial, redirect, early, stream, hang_up = read[3:]
    assert isinstance(gather, Gather)
    assert (gather.action, gather.digits_max, gather.execution_timeout_s) == (f"{url}/menu", 1, 15)
    assert gather.prompts == (Speak("Press."),)
    assert isinstance(record, Record)
    assert (record.redirect, record.length_s_max, record.action) == (False, 9, "")
    assert isinstance(dial, Dial)
    assert (dial.numbers, dial.timeout_s, dial.redirect) == (("911234567891", "sip:a@b"), 30, True)
    assert redirect == Redirect(f"{url}/next", "POST")
    assert early == PreAnswer((Speak("Wait."),))
    assert isinstance(stream, Stream)
    assert stream.keep_call_alive
    assert hang_up == HangupVerb("busy", 5)


@pytest.mark.parametrize(
    ("body", "where", "code"),
    [
        ("<Speak>a & b</Speak>", "answer", 8011),
        ("<Speak>a & b</Speak>", "action", 8012),
        ("<Speak>a & b</Speak>", "transfer", 8013),
        ("<Speak>a & b</Speak>", "redirect", 8014),
        ("<Sing/>", "answer", 8011),
        ("<Gather/>", "answer", 7022),
        ("<Redirect>next</Redirect>", "answer", 7024),
        ("<Dial/>", "answer", 8011),
        ("<PreAnswer><Hangup/></PreAnswer>", "answer", 8011),
        ('<Stream contentType="audio/mp3">wss://voice.example.com/ws</Stream>', "transfer", 8013),
        ('<Stream bidirectional="true" audioTrack="both">wss://voice.example.com/ws</Stream>', "answer", 4010),
    ],
)
def test_a_document_that_cannot_be_run(body: str, where: str, code: int) -> None:
    with pytest.raises(Dropped) as dropped:
        verbs(body, where)
    assert dropped.value.cause.code == code
    assert code in CAUSES


def test_a_document_that_did_not_come() -> None:
    for where, code in (("answer", 7011), ("action", 7012), ("transfer", 7013), ("redirect", 7014)):
        with pytest.raises(Dropped) as dropped:
            read_document(404, "text/xml", b"", where)
        assert dropped.value.cause.code == code
    with pytest.raises(Dropped, match="text/html"):
        read_document(200, "text/html", b"<Response/>")


def test_a_cause_that_is_not_documented_is_unknown() -> None:
    assert (cause(1234, "Vobiz").name, cause(1234, "Vobiz").code) == ("Unknown", 1234)


# --- REST ---


def test_a_request_with_everything() -> None:
    more = {"ring_timeout": "45", "machine_detection": "hangup", "machine_detection_time": 4000, "time_limit": 60}
    request = read_call_request({**REQUEST, **more, "to": "911234567891<sip:a@b.example", "sip_headers": "Ref=a,N=1"})
    assert request.to_numbers == ("911234567891", "sip:a@b.example")
    assert request.plan.sip_headers == (("Ref", "a"), ("N", "1"))
    assert (request.plan.ring_timeout_s, request.plan.time_limit_s) == (45, 60)
    assert (request.plan.detection.mode, request.plan.detection.time_ms) == ("hangup", 4000)
    assert read_call_request({**REQUEST, "machine_detection": "false", "colour": 1}).unknown == ("colour",)
    assert read_call_request({**REQUEST, "machine_detection": True}).plan.detection.mode == "true"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("from", ""),
        ("to", "not a number"),
        ("to", "911234567891<"),
        ("to", "<".join(["911234567891"] * 1001)),
        ("answer_url", None),
        ("answer_url", "voice.example.com"),
        ("answer_method", "PUT"),
        ("caller_name", "n" * 51),
        ("send_digits", "1a"),
        ("time_limit", 0),
        ("ring_timeout", "soon"),
        ("machine_detection", "maybe"),
        ("machine_detection_time", 1999),
        ("machine_detection_maximum_words", True),
        ("sip_headers", "Ref"),
    ],
)
def test_a_request_with_one_mistake(name: str, value: Any) -> None:
    with pytest.raises(BadParameter, match=name.removesuffix("_method").removesuffix("_url")):
        read_call_request({**REQUEST, name: value})


def test_call_starts_per_second_are_counted_in_a_sliding_window() -> None:
    limits = Limits(cps=2, calls_max=100)
    limits.admit(1, 0, 0.0)
    limits.admit(1, 1, 900.0)
    with pytest.raises(Refusal) as refused:
        limits.admit(1, 2, 999.0)
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "1"})
    assert (refused.value.details["limitType"], refused.value.details["current"]) == ("cps", 3)
    limits.admit(1, 2, 1001.0)  # the refused one did not count, and the first is a second old
    with pytest.raises(Refusal):
        limits.admit(1, 2, 1002.0)


def test_calls_at_a_time_are_limited() -> None:
    limits = Limits(cps=0, calls_max=3)
    limits.admit(2, 1, 0.0)
    with pytest.raises(Refusal, match="Concurrent") as refused:
        limits.admit(2, 2, 0.0)
    assert refused.value.details["limitType"] == "concurrency"


def test_the_three_shapes_of_an_error() -> None:
    refusal = Refusal(404, "call not found")
    first, second, third = (error_body(refusal, shape, "2026-07-01T00:00:00Z") for shape in range(3))
    assert (first["status"], first["error"]["code"], first["error"]["message"]) == (
        *("error", "NOT_FOUND", "call not found"),
    )
    assert second == {"error": "call not found"}
    assert (third["error"], third["message"]) == ("not_found", "call not found")


def test_a_fault_waits_for_the_request_that_it_fits() -> None:
    faults = RequestFaults()
    faults.add(RequestFault("503", path="call", method="POST"), 2)
    assert faults.take("GET", "/api/v1/Account/MA_X/Call/") is None
    assert faults.take("POST", "/api/v1/Account/MA_X/Application/") is None
    for _ in range(2):
        assert faults.take("POST", "/api/v1/Account/MA_X/Call/") == RequestFault("503", "call", "POST")
    assert faults.take("POST", "/api/v1/Account/MA_X/Call/") is None
    with pytest.raises(Refusal, match="kind"):
        faults.add(RequestFault("418"), 1)


def test_an_application_with_numbers_cannot_be_deleted() -> None:
    account = Account("MA_XXXXXXXX", numbers={NUMBER: ""})
    app_id = account.create({"app_name": "desk", "answer_url": "https://voice.example.com/answer"})
    assert account.plan_for(NUMBER) is None
    account.attach(NUMBER, app_id)
    plan = account.plan_for("911234567890")
    assert plan is not None
    assert plan.answer.url == "https://voice.example.com/answer"
    with pytest.raises(Refusal) as refused:
        account.delete(app_id)
    assert refused.value.status == 409
    account.detach(NUMBER)
    account.delete(app_id)
    for mistake in ({"app_name": "a b", "answer_url": "https://a.example/"}, {"app_name": "desk"}):
        with pytest.raises(Refusal) as refused:
            account.create(mistake)
        assert refused.value.status == 400


def test_a_number_that_cools_off_cannot_be_attached() -> None:
    account = Account("MA_XXXXXXXX", numbers={NUMBER: ""}, cooling={NUMBER})
    app_id = account.create({"app_name": "desk", "answer_url": "https://voice.example.com/answer"})
    with pytest.raises(Refusal, match="did_cool_off_in_effect") as refused:
        account.attach(NUMBER, app_id)
    assert refused.value.status == 409


# --- people ---


def test_the_last_callee_of_a_number_stays() -> None:
    people = People()
    people.put("+91 12345 67890", [Callee("busy"), Callee("answers", digits="1")])
    does = [people.next_for(number).does for number in ("911234567890", "+911234567890", "911234567890")]
    assert does == ["busy", "answers", "answers"]
    assert people.next_for("911234567891") == Callee()


def test_a_callee_from_json() -> None:
    callee = read_callee({"number": "1", "does": "answers", "ring_ms": 5, "script": [{"do": "say", "name": "yes"}]})
    assert callee == Callee(ring_ms=5, script=(Say("yes"),))
    for mistake in ({"does": "sings"}, {"colour": 1}, {"ring_ms": -1}, {"script": [{"do": "hum"}]}):
        with pytest.raises(BadCallee):
            read_callee(mistake)


# --- the line ---

FRAME = bytes(range(160))


def sent(uplink: Uplink, frames: int) -> list[list[Out]]:
    return [uplink.take(FRAME)[1] for _ in range(frames)]


def test_a_good_line_gives_what_it_takes() -> None:
    assert sent(Uplink(Disturbance()), 3) == [[Out("media", FRAME)]] * 3


def test_odd_frames_lose_nothing() -> None:
    pieces = [out.payload for outs in sent(Uplink(Disturbance(odd_frames=True)), 100) for out in outs]
    assert {len(piece) for piece in pieces} >= {80, 208, 8, 320, 184}
    whole = b"".join(pieces)
    assert (FRAME * 100).startswith(whole)
    assert len(whole) > 97 * 160


def test_a_burst_holds_back_and_then_sends_all() -> None:
    assert [len(outs) for outs in sent(Uplink(Disturbance(burst_frames=4)), 8)] == [0, 0, 0, 4, 0, 0, 0, 4]


def test_a_gap_swallows_frames() -> None:
    counts = [len(outs) for outs in sent(Uplink(Disturbance(gap_every=5, gap_frames=2)), 15)]
    assert counts == [1, 1, 1, 1, 1] + 2 * [0, 0, 1, 1, 1]


def test_doubles_second_starts_and_unknown_events() -> None:
    line = Uplink(Disturbance(duplicate_every=2, unknown_every=3, second_start_after=3))
    kinds = [[out.kind for out in outs] for outs in sent(line, 4)]
    assert kinds == [["media"], ["media", "media"], ["media", "unknown", "start"], ["media", "media"]]


def test_jitter_is_bounded_and_the_same_for_the_same_seed() -> None:
    first, again = (Uplink(Disturbance(jitter_ms=30, seed=5)) for _ in range(2))
    late_ms = [first.take(FRAME)[0] for _ in range(200)]
    assert late_ms == [again.take(FRAME)[0] for _ in range(200)]
    assert 25 < max(late_ms) <= 30
    assert min(late_ms) < 5


def test_the_other_spellings() -> None:
    def written(**spelling: bool) -> Writer:
        return Writer("call-1", "stream-1", "audio/x-mulaw", 8000, Spelling(**spelling))

    aliased = json.loads(written(aliases=True).start("91", "92"))
    assert (aliased["streamSid"], aliased["callSid"], aliased["start"]["callUUID"]) == ("stream-1", "call-1", "call-1")
    assert "streamId" not in aliased | aliased["start"]
    numbered = json.loads(written(numbered_played=True).played("name"))
    assert (numbered["name"], numbered["streamId"], numbered["sequenceNumber"]) == ("name", "stream-1", 0)
    assert json.loads(written(bare_cleared=True).cleared()) == {"event": "clearedAudio", "streamId": "stream-1"}
    assert json.loads(written(flat_digit=True).digit("5", 1)) == {"event": "dtmf", "digit": "5"}
    old = json.loads(written(old_media=True).media(b"\xff" * 160, 1_700_000_000_000))
    assert (old["media"]["timestamp"], "sequenceNumber" in old) == (1_700_000_000_000, False)


def test_loudness_of_mulaw_is_that_of_its_samples() -> None:
    for data in (bytes(range(256)) * 2, b"\xff" * 170, b"\x7f\xff" * 80, b"\xf0" * 80 + b"\x40" * 81):
        assert mulaw_loud_windows(data) == loud_windows(from_mulaw(data))
