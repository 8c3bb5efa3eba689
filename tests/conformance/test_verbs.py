"""Section 1.5: what we may write into a document, as the carrier reads it, and what it tells about each verb."""

from __future__ import annotations

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
    User,
    Verb,
    Wait,
    render,
)
from simulators.carrier import document as read
from tests.conformance.captured import facts, post, tags
from tests.conformance.scenes import Scenes
from tests.e2e.loopback_edge import FROM, TO, Edge

pytestmark = pytest.mark.processes

SCENES = Scenes()
URL = "https://voice.example.com/next?a=1&b=2"


def means(row: str, *verbs: Verb, understood: list[object], answered: bool = True) -> None:
    """These verbs, rendered by us, are these verbs as the carrier reads them."""

    @SCENES.walk(row)
    async def _(edge: Edge, call_id: str) -> None:
        document = render(*verbs, answered=answered)
        assert list(read.read_document(200, "application/xml", document)) == understood


means("1.5 Speak", Speak("2 < 3 & so on", voice="MAN", loop=2), understood=[read.Speak("2 < 3 & so on", 2)])
means("1.5 Play", Play(URL, loop=0), understood=[read.Play(URL, 0)])
means("1.5 Wait", Wait(length_s=3), understood=[read.Pause(3)])
means(
    "1.5 Hangup",
    Hangup(schedule_s=60, reason="busy"),
    Speak("Goodbye."),
    understood=[read.HangupVerb("busy", 60), read.Speak("Goodbye.")],
)
means("1.5 Redirect", Redirect(URL, method="GET"), understood=[read.Redirect(URL, "GET")])
means(
    "1.5 Gather",
    Gather(URL, (Speak("Press one."),), input_type="dtmf speech", execution_timeout_s=5, num_digits=1),
    understood=[read.Gather(URL, "POST", "dtmf speech", 5, "#", 1, (read.Speak("Press one."),))],
)
means(
    "1.5 Record",
    Record(URL, callback_url=URL, max_length_s=30, file_format="wav"),
    understood=[read.Record(URL, "POST", False, URL, "POST", 30, "wav", False)],
)
means(
    "1.5 Dial",
    Dial((Number(TO),), (User("sip:desk@example.com"),), action=URL, timeout_s=30, caller_id=FROM),
    understood=[read.Dial((TO, "sip:desk@example.com"), URL, "POST", True, "", "POST", 30, 14_400, FROM)],
)
means(
    "1.5 Conference",
    Conference("desk", stay_alone=True, callback_url=URL),
    understood=[read.Conference("desk", URL, "POST", stay_alone=True)],
)
means(
    "1.5 PreAnswer, DTMF",
    PreAnswer((Speak("One moment."),)),
    Dtmf("1w2#"),
    understood=[read.PreAnswer((read.Speak("One moment."),)), read.Dtmf("1w2#")],
    answered=False,
)


@SCENES.walk("9.24 Record redirect default")
async def _(edge: Edge, call_id: str) -> None:
    assert b'redirect="false"' in render(Record(URL))


@SCENES.walk("1.5 Dial needs an answered leg")
async def _(edge: Edge, call_id: str) -> None:
    with pytest.raises(BadXml, match="Dial"):
        render(Dial((Number(TO),)))
    render(Speak("One moment."), Dial((Number(TO),)))


LEG = {"DialALegUUID": "a", "DialBLegUUID": "b", "DialBLegFrom": FROM, "DialBLegTo": TO, "DialBLegPosition": "1"}


@SCENES.walk("1.5 Dial callbacks")
async def _(edge: Edge, call_id: str) -> None:
    """New names and the older ones in lower case; each is kept, none is an end of our call."""
    async with edge.call(call_id) as caller:
        for event in ("DialAnswer", "DialConnected", "DialDigitsMatch", "DialHangup", "answer", "connected", "digits"):
            await post(edge, "/stream-status", {**LEG, "CallUUID": call_id, "Event": event})
            assert (await facts(edge, call_id))[f"{event}.DialBLegUUID"] == "b"
        await caller.goes_on()


@SCENES.walk("1.5 Dial action", "9.21 Dial action event")
async def _(edge: Edge, call_id: str) -> None:
    """The URL says what it is, not the event."""
    for event in ("DialAction", "Redirect"):
        for status in ("busy", "failed", "cancel", "timeout", "no-answer"):
            fields = {**LEG, "CallUUID": call_id, "Event": event, "DialStatus": status, "DialRingStatus": "true"}
            assert tags(await post(edge, "/dial-status", fields)) == ["Speak", "Hangup"]
        completed = {**LEG, "CallUUID": call_id, "Event": event, "DialStatus": "completed"}
        assert tags(await post(edge, "/dial-status", completed)) == ["Hangup"]


@SCENES.walk("1.5 RecordStop callback")
async def _(edge: Edge, call_id: str) -> None:
    await edge.answer(call_id)
    url = "https://media.vobiz.ai/v1/Account/MA_XXXXXXXX/Recording/r-1.mp3"
    stop = {"Event": "RecordStop", "CallUUID": call_id, "RecordingID": "r-1", "RecordUrl": url}
    stop |= {"RecordingDuration": "4", "RecordingDurationMs": "4020", "RecordingEndReason": "HungUp"}
    await post(edge, "/record-status", stop)
    assert (await facts(edge, call_id))["RecordStop.RecordUrl"] == url


@SCENES.walk("3.2 Record callback in snake_case")
async def _(edge: Edge, call_id: str) -> None:
    await edge.answer(call_id)
    fields = {"api_id": "a-1", "call_uuid": call_id, "recording_id": "r-1", "recording_duration_ms": "4020"}
    await post(edge, "/record-status", fields)
    assert (await facts(edge, call_id))["record-status.recording_id"] == "r-1"


@SCENES.walk("1.5 Conference events")
async def _(edge: Edge, call_id: str) -> None:
    async with edge.call(call_id) as caller:
        for event in ("ConferenceEnter", "ConferenceExit"):
            fields = {"Event": event, "CallUUID": call_id, "ConferenceName": "desk", "ConferenceMemberID": "7"}
            await post(edge, "/stream-status", fields)
            assert (await facts(edge, call_id))[f"{event}.ConferenceMemberID"] == "7"
        await caller.goes_on()


test_verbs = SCENES.test()
