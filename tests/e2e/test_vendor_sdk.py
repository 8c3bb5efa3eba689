"""The carrier's own Python SDK drives our fake of the carrier: the two were not written from one page.

What the SDK sends the fake must take, what the fake answers the SDK must understand, the XML that it writes the fake
must read as it reads ours, and the signatures that it checks the fake must make.  Its base URL is a constant; an
adapter of its session leads the requests to the fake instead.
"""

from __future__ import annotations

import asyncio
import base64
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from hmac import digest
from typing import Any

import pytest

from edge.vobiz.signatures import SignatureVerdict, verify
from edge.vobiz.xml import Dial, Hangup, Number, Play, Record, Redirect, Speak, Stream, Wait, render
from simulators.carrier import Callee
from simulators.carrier.document import read_document
from simulators.lab import FROM, TO, Lab, lab
from simulators.script import Wait as Pause

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

TOKEN = "simulated-token"
VENDOR = "https://api.vobiz.ai"
URL = "https://voice.example.com"


@pytest.fixture(autouse=True)
def quiet_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK reads `.env` into the environment when it is imported, and has escapes that newer Pythons warn of."""
    monkeypatch.setenv("PYTHON_DOTENV_DISABLED", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import vobiz.rest
        import vobiz.xml  # noqa: F401


class Sdk:
    """The SDK's client; its calls run in a thread, so that the fake can answer."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def __call__(self, name: str, *about: Any, **more: Any) -> Any:
        resource, _, verb = name.partition(".")
        return await asyncio.to_thread(getattr(getattr(self._client, resource), verb), *about, **more)


@asynccontextmanager
async def calling(token: str = TOKEN, **options: Any) -> AsyncIterator[tuple[Lab, Sdk]]:
    import vobiz.rest
    from requests.adapters import HTTPAdapter

    class ToTheFake(HTTPAdapter):
        def send(self, request: Any, **more: Any) -> Any:
            request.url = request.url.replace(VENDOR, it.carrier.url)
            return super().send(request, **{**more, "proxies": None})

    async with lab(**options) as it:
        with vobiz.rest.Client(it.carrier.options.auth_id, token) as client:
            client.session.trust_env = False
            client.session.mount(VENDOR, ToTheFake())
            yield it, Sdk(client)


async def up(it: Lab, sdk: Sdk, **more: Any) -> str:
    """A call that was answered, and whose stream is open."""
    fired = await sdk("calls.create", FROM, TO, f"{it.server.url}/answer", **more)
    assert fired.message == "call fired"
    while not it.server.sockets:
        await asyncio.sleep(0.005)
    return str(fired.request_uuid)


STAYS = Callee(script=(Pause(60_000),))


async def test_the_sdk_places_finds_and_ends_a_call() -> None:
    async with calling(callee=STAYS) as (it, sdk):
        call_id = await up(it, sdk, ring_timeout=30, hangup_url=f"{it.server.url}/hangup")
        assert (await sdk("calls.list_live")).calls == [call_id]
        assert (await sdk("calls.list_queued")).calls == []
        assert (await sdk("calls.get_live", call_id)).call_status == "in-progress"
        await sdk("calls.transfer", call_id, legs="aleg", aleg_url=f"{it.server.url}/answer", aleg_method="POST")
        await sdk("calls.hangup", call_id)
        assert (await it.carrier.calls[call_id].over(10)).cause is not None


async def test_the_sdk_finds_a_ringing_call_among_the_queued_and_nowhere_else() -> None:
    from vobiz.exceptions import ResourceNotFoundError, ValidationError

    async with calling(callee=Callee("no-answer"), time_scale=1.0) as (it, sdk):
        call_id = (await sdk("calls.create", FROM, TO, f"{it.server.url}/answer")).request_uuid
        assert (await sdk("calls.list_queued")).calls == [call_id]
        assert (await sdk("calls.list_live")).calls == []
        assert (await sdk("calls.get_queued", call_id)).call_status == "queued"
        with pytest.raises(ResourceNotFoundError):
            await sdk("calls.get_live", call_id)
        with pytest.raises(ValidationError):
            await sdk("calls.get", call_id)  # status is required


async def test_the_sdk_plays_speaks_records_and_presses_keys() -> None:
    async with calling(callee=STAYS) as (it, sdk):
        call_id = await up(it, sdk)
        call = it.carrier.calls[call_id]
        await sdk("calls.play_audio", call_id, [f"{URL}/a.mp3", f"{URL}/b.mp3"], legs="both", loop=False, mix=True)
        await sdk("calls.stop_audio", call_id)
        await sdk("calls.speak_text", call_id, "Hello.", voice="MAN", language="en-IN", legs="both")
        await sdk("calls.stop_speak", call_id)
        for leg in ("aleg", "bleg", "both"):
            await sdk("calls.send_digits", call_id, "1w#", leg)
        assert call.digits == ["1w#"] * 3
        first = await sdk("calls.start_recording", call_id, time_limit=600, record_channel_type="stereo")
        second = await sdk("calls.start_recording", call_id, file_format="wav")
        await sdk("calls.stop_recording", call_id, url=first.url)
        shelf = it.carrier.recordings.shelf
        assert [shelf[one.recording_id].stop_ms is None for one in (first, second)] == [False, True]
        assert [shelf[one.recording_id].channel_type for one in (first, second)] == ["stereo", "mono"]
        await sdk("calls.stop_recording", call_id)
        assert [one.recording_id for one in (await sdk("recordings.list", call_uuid=call_id, limit=5)).objects] == [
            *(first.recording_id, second.recording_id)
        ]
        await sdk("recordings.delete", first.recording_id)
        await sdk("recordings.bulk_delete", recording_format="wav")
        assert not it.carrier.recordings.shelf


async def test_the_sdk_reads_the_records_of_calls_by_their_filters() -> None:
    async with calling(callees={TO: Callee("busy")}, callee=Callee(hangs_up_after_ms=1)) as (it, sdk):
        for to in (TO, TO, "919876543210"):
            await it.whole(to=to)
        answer = await sdk("cdrs.list", page=1, per_page=1, to_number=TO[-10:], call_direction="outbound")
        assert (answer.pagination.total, answer.pagination.has_next, len(answer.data)) == (2, True, 1)
        assert answer.data[0].hangup_cause_code == 3010
        summary = (await sdk("cdrs.list")).summary
        assert (summary.totalCalls, summary.answeredCalls, summary.answerRate) == (3, 1, 33)
        assert summary.avgCallDuration.endswith("s")
        assert (await sdk("cdrs.list", hangup_cause="USER_BUSY")).pagination.total == 2
        today = answer.data[0].start_time[:10]
        assert (await sdk("cdrs.list", start_date=today, end_date=today)).pagination.total == 3
        assert (await sdk("cdrs.list", start_date="2020-01-01", end_date="2020-01-02")).data == []
        assert (await sdk("cdrs.list", min_duration=3600)).data == []


async def test_the_sdk_sets_up_applications_and_numbers() -> None:
    async with calling() as (it, sdk):
        app_id = (await sdk("applications.create", "desk", f"{URL}/answer", hangup_url=f"{URL}/hangup")).app_id
        assert (await sdk("applications.get", app_id)).answer_url == f"{URL}/answer"
        await sdk("applications.update", app_id, answer_url=f"{URL}/other")
        assert [one.answer_url for one in (await sdk("applications.list", page=1, size=20)).objects] == [f"{URL}/other"]
        number = next(iter(it.carrier.account.numbers))
        await sdk("applications.attach_number", number, app_id)
        assert [one.application_id for one in (await sdk("phone_numbers.list", page=1, per_page=20)).items] == [app_id]
        await sdk("applications.detach_number", number)
        await sdk("applications.delete", app_id)
        bought = (await sdk("phone_numbers.list_inventory", country="IN")).items[0].e164
        await sdk("phone_numbers.purchase_from_inventory", bought, currency="INR")
        await sdk("phone_numbers.release", bought)
        assert list(it.carrier.account.numbers) == [number]
        assert (await sdk("accounts.get_concurrency", it.carrier.options.auth_id)).concurrent_calls == 0


async def test_the_sdk_understands_what_the_fake_says_no_with() -> None:
    from vobiz.exceptions import AuthenticationError, InvalidRequestError, ResourceNotFoundError, ValidationError

    async with calling() as (it, sdk):
        with pytest.raises(ValidationError):
            await sdk("calls.create", FROM, "nobody", f"{URL}/answer")
        with pytest.raises(ResourceNotFoundError):
            await sdk("calls.hangup", "no-such-call")
        app_id = (await sdk("applications.create", "desk", f"{URL}/answer")).app_id
        await sdk("applications.attach_number", next(iter(it.carrier.account.numbers)), app_id)
        with pytest.raises(InvalidRequestError):
            await sdk("applications.delete", app_id)
    async with calling(token="wrong") as (_, sdk):
        with pytest.raises(AuthenticationError):
            await sdk("calls.list_live")


# --- XML --------------------------------------------------------------------------------------------------------------

WS = "wss://voice.example.com/ws/token?x=1&y=2"


def _stream(xml: Any) -> Any:
    return xml.StreamElement(
        WS, bidirectional=True, audioTrack="inbound", streamTimeout=3600, contentType="audio/x-mulaw;rate=8000",
        keepCallAlive=True, statusCallbackUrl=f"{URL}/stream-status", statusCallbackMethod="POST",
    )  # fmt: skip


def _dial(xml: Any) -> Any:
    dial = xml.DialElement(action=f"{URL}/dial-status", method="POST", timeout=30, caller_id=FROM)
    return dial.add(xml.NumberElement(TO))


VERBS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "Stream": (_stream, Stream(WS, stream_timeout_s=3600, status_callback_url=f"{URL}/stream-status", max_retries=0)),
    "Dial": (_dial, Dial((Number(TO),), action=f"{URL}/dial-status", timeout_s=30, caller_id=FROM)),
    "Speak": (lambda xml: xml.SpeakElement("Fish & chips", voice="WOMAN", language="en-US"), Speak("Fish & chips")),
    "Play": (lambda xml: xml.PlayElement(f"{URL}/a.mp3"), Play(f"{URL}/a.mp3")),
    "Wait": (lambda xml: xml.WaitElement(length=3), Wait(length_s=3)),
    "Redirect": (lambda xml: xml.RedirectElement(f"{URL}/next", method="POST"), Redirect(f"{URL}/next")),
    "Hangup": (lambda xml: xml.HangupElement(reason="busy"), Hangup("busy")),
    "Record": (
        lambda xml: xml.RecordElement(action=f"{URL}/recorded", max_length=600, record_session=True),
        Record(action=f"{URL}/recorded", max_length_s=600, record_session=True),
    ),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_the_fake_reads_a_verb_of_the_sdk_as_it_reads_ours(verb: str) -> None:
    import vobiz.xml

    theirs, ours = VERBS[verb]
    document = vobiz.xml.ResponseElement()
    document.add(theirs(vobiz.xml))
    written = (document.to_string().encode(), render(ours, answered=True))
    read = [read_document(200, "application/xml", xml) for xml in written]
    assert read[0] == read[1]


# --- signatures -------------------------------------------------------------------------------------------------------


async def test_the_sdk_accepts_the_signatures_of_the_fakes_webhooks() -> None:
    from vobiz.utils import validate_signature

    async with lab(callee=Callee(script=(Pause(20),))) as it:
        await it.whole(answer_url=f"{it.server.url}/answer?dial=out-1&attempt=1")
        (asked,) = it.server.of("StartApp")
        nonce, signature = (asked.headers[f"x-vobiz-signature-v2{end}"] for end in ("-nonce", ""))
        url = f"{it.server.url}/answer?dial=out-1&attempt=1"
        assert validate_signature(url, nonce, signature, TOKEN)
        assert not validate_signature(url, nonce, signature, "another token")
        assert not validate_signature(f"{it.server.url}/hangup", nonce, signature, TOKEN)


NONCE = "12345678901234567890"
HOOK = f"{URL}/hangup?dial=out-1"
PARAMS = {"CallUUID": "c-1", "Event": "Hangup"}


def _v3_of_the_sdk(method: str = "POST") -> str:
    """Plivo's scheme: query and parameters are signed, too."""
    from vobiz.utils.signature_v3 import construct_get_url, construct_post_url, get_signature_v3, validate_v3_signature

    built = construct_get_url(HOOK, dict(PARAMS)) if method == "GET" else construct_post_url(HOOK, PARAMS)
    signature = get_signature_v3(TOKEN, built.decode(), NONCE).decode()
    assert validate_v3_signature(method, HOOK, NONCE, TOKEN, signature, params=dict(PARAMS))
    return str(signature)


def _v2(token: str = TOKEN) -> str:
    return base64.b64encode(digest(token.encode(), f"{URL}/hangup{NONCE}".encode(), sha256)).decode()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_v3_signature_of_the_sdk_is_plivos_and_counts_only_with_a_right_v2_beside_it(method: str) -> None:
    v3 = {"X-Vobiz-Signature-V3": _v3_of_the_sdk(method), "X-Vobiz-Signature-V3-Nonce": NONCE}
    v2 = {"X-Vobiz-Signature-V2": _v2(), "X-Vobiz-Signature-V2-Nonce": NONCE}
    wrong_v2 = {**v2, "X-Vobiz-Signature-V2": _v2("another token")}
    verdicts = [verify(headers, [HOOK], [TOKEN]).verdict for headers in (v3, {**v3, **v2}, v2, {**v3, **wrong_v2})]
    assert verdicts == [SignatureVerdict.WRONG, SignatureVerdict.VALID, SignatureVerdict.VALID, SignatureVerdict.WRONG]
