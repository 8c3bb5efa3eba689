"""Webhooks that strangers forge: of a live call, with another call's URL, with one that is late, altered or none."""

import json
import time

import httpx
import pytest

from edge.http.webhook_urls import GIVEN_ONLY
from edge.outbound.state import Plan
from edge.session.url_proof import Proof, check, of_call, of_dial
from tests.e2e.loopback_edge import SECRET, given, running_edge
from tests.e2e.test_edge_http import xml_of
from tests.e2e.test_webhook_events import HELPED, dialed, tell

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

NOW = 1_800_000_000.0


def proven_call(url: str) -> str:
    """The call, or the outbound call, for which the URL of ours is good."""
    query, path = query_of(url), url.partition("?")[0].rpartition("/")[2]
    assert check(SECRET, f"/{path}", query, time.time()) is Proof.GOOD
    return query.get("call") or query["dial"]


def query_of(url: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in url.partition("?")[2].split("&"))


def test_a_proof_is_good_for_its_path_its_subject_and_its_time() -> None:
    of_c = query_of(of_call(SECRET, "/after-stream", "c-1", NOW))
    assert check(SECRET, "/after-stream", of_c, NOW) is Proof.GOOD
    assert check(SECRET, "/after-stream", of_c, NOW + 1) is Proof.EXPIRED
    assert check(SECRET, "/stream-status", of_c, NOW) is Proof.FORGED
    assert check(SECRET, "/after-stream", {**of_c, "call": "c-2"}, NOW) is Proof.FORGED
    assert check(SECRET, "/after-stream", {**of_c, "dial": "out-1"}, NOW) is Proof.FORGED
    later = f"{int(NOW) + 99}.{of_c['proof'].partition('.')[2]}"
    for proof in (later, "x", "1." + "a" * 24, of_c["proof"] + "a", of_c["proof"][:-1]):
        assert check(SECRET, "/after-stream", {**of_c, "proof": proof}, NOW) is Proof.FORGED
    assert check(b"another secret", "/after-stream", of_c, NOW) is Proof.FORGED
    assert check(b"newer," + SECRET, "/after-stream", of_c, NOW) is Proof.GOOD  # the secret was replaced meanwhile
    of_d = query_of(of_dial(SECRET, "/ring", "out-1", "2", NOW))
    assert check(SECRET, "/ring", of_d, NOW) is Proof.GOOD
    assert check(SECRET, "/ring", {**of_d, "attempt": "1"}, NOW) is Proof.FORGED
    assert check(SECRET, "/ring", {}, NOW) is Proof.NONE


def test_without_a_secret_urls_are_as_they_were() -> None:
    assert of_call(None, "/after-stream", "c-1", NOW) == "/after-stream"
    assert of_dial(None, "/ring", "out-1", "2", NOW) == "/ring?dial=out-1&attempt=2"


async def test_every_url_of_an_answer_names_the_call_and_proves_it() -> None:
    async with running_edge() as edge:
        stream, after = xml_of(await edge.http.post("/answer", data={"CallUUID": "c-1"}))
        for url in (after.text or "", stream.get("statusCallbackUrl") or ""):
            assert proven_call(url) == "c-1"


async def test_so_does_the_url_that_follows_a_person_who_is_rung() -> None:
    async with running_edge(HELPED) as edge:
        await tell(edge, "/answer", "c-1")
        await edge.store.end("c-1", "carrier")
        _, after_stream, _ = xml_of(await tell(edge, "/after-stream", "c-1"))
        edge.calls.draining = True
        _, turned_away, _ = xml_of(await tell(edge, "/answer", "c-2"))
        assert [proven_call(dial.get("action") or "") for dial in (after_stream, turned_away)] == ["c-1", "c-2"]


async def test_so_does_the_url_of_the_message_for_a_machine(valkey_url: str) -> None:
    asked: list[httpx.Request] = []

    def carrier(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={})

    plan = Plan(machine="message", message="Please call us back.")
    async with dialed(valkey_url, plan, httpx.MockTransport(carrier)) as (edge, _, dial):
        query = {"dial": dial.dial_id, "attempt": "1"}
        told = {"Event": "MachineDetection", "Machine": "true"}
        assert (await edge.http.post("/machine", params=query, data=told)).status_code == 200
        url = json.loads(asked[-1].content)["aleg_url"]
        assert "/voicemail?" in url
        assert proven_call(url) == dial.dial_id


@pytest.mark.parametrize("path", sorted(GIVEN_ONLY))
@pytest.mark.parametrize("event", ["Hangup", "Redirect", "StopStream"])
async def test_a_stranger_forges_no_webhook_of_a_live_call(path: str, event: str) -> None:
    forged = [
        path,
        given(path, "another"),
        given(path, "another").replace("another", "c-1"),
        of_call(SECRET, path, "c-1", time.time() - 1),
        of_call(b"guessed, and of some length", path, "c-1", time.time() + 60),
        of_dial(SECRET, path, "out-1", "1", time.time() + 60),
        given("/answer", "c-1").replace("/answer", path),
    ]
    async with running_edge() as edge, edge.call("c-1") as caller:
        for url in forged:
            response = await edge.http.post(url, data={"CallUUID": "c-1", "Event": event})
            assert response.status_code == 403, url
            assert response.json()["error"]["code"].startswith("url_")
        for name in ("RequestUUID", "ALegUUID", "call_uuid"):
            assert (await edge.http.post(path, data={name: "c-1", "Event": event})).status_code == 403
        both = {"CallUUID": "c-1", "call": "c-1", "Event": event}
        assert (await edge.http.post(given(path, "another"), data=both)).status_code == 403
        await caller.goes_on()
        assert await edge.count("voice_webhooks_refused_total", reason="url_forged") > 0


async def test_a_call_that_an_older_release_answered_needs_no_proof() -> None:
    async with running_edge(secret=None) as older:
        assert "proof" not in (await older.http.post("/answer", data={"CallUUID": "c-1"})).text
        assert (await older.http.post("/stream-status", data={"CallUUID": "c-1"})).status_code == 200
    async with running_edge() as edge:
        assert (await edge.http.post("/stream-status", data={"CallUUID": "unheard-of"})).status_code == 200
