"""Section 4: who may call our webhooks and open our streams."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from edge.media.stream_token import FIRST_USE_SECONDS, mint
from edge.vobiz.signatures import Policy, redacted
from simulators.webhooks import signatures
from tests.conformance.captured import AGENT, answer, hangup, tags, verbs
from tests.conformance.scenes import Scenes
from tests.e2e.loopback_edge import SECRET, Edge, phone, refused, running_edge, start_of

pytestmark = pytest.mark.processes

SCENES = Scenes()
TOKEN, PARENT = "account token", "parent token"
PUBLIC = "https://voice.example.com"
V2, V3, MA2, MA3 = (f"X-Vobiz-Signature-{name}" for name in ("V2", "V3", "MA-V2", "MA-V3"))


async def answered(
    edge: Edge, headers: dict[str, str], call_id: str = "c-1", path: str = "/answer", **more: Any
) -> str:
    """The first verb of the reply, or the code of the refusal, which is a JSON 403."""
    response = await edge.http.post(path, data=answer(call_id, **more), headers={**AGENT, **headers})
    if response.status_code == 200:
        return tags(response)[0]
    assert response.status_code == 403
    return str(response.json()["error"]["code"])


def only(headers: dict[str, str], *names: str) -> dict[str, str]:
    """These signatures, and their nonces."""
    return {name: headers[name] for name in (*names, f"{V2}-Nonce", f"{V3}-Nonce")}


def verified(row: str, *names: str, token: str = TOKEN, right: bool = True) -> None:
    """A webhook that is signed like this, and not otherwise, is served, or refused if it is not `right`."""

    @SCENES.walk(row)
    async def _(_: Edge, call_id: str) -> None:
        async with running_edge(public_url=PUBLIC, tokens=(TOKEN, PARENT)) as edge:
            for name in names:
                signed = signatures(token, f"{PUBLIC}/answer", parent_token=PARENT)
                seen = await answered(edge, only(signed, name), call_id)
                assert seen == "Stream" if right else seen.startswith("signature_"), name
                signed[name] = signed[name][:-3] + ("AA=" if signed[name][-3:] != "AA=" else "BB=")
                assert await answered(edge, only(signed, name), call_id) in ("signature_wrong", "signature_missing")


verified("4 V1", "X-Vobiz-Signature", right=False)
verified("4 V2", V2)
verified("4 V3", V3)
verified("4 MA-V2 and MA-V3", MA2, MA3)
verified("9.14 signatures", V3, V2)


@SCENES.walk("4 baseURL without query")
async def _(_: Edge, call_id: str) -> None:
    async with running_edge(public_url=PUBLIC, tokens=(TOKEN,)) as edge:
        signed = signatures(TOKEN, f"{PUBLIC}/answer?dial=d-1&attempt=1#top")
        assert await answered(edge, signed, call_id, "/answer?dial=d-1&attempt=1") == "Stream"
        other_path = signatures(TOKEN, f"{PUBLIC}/hangup")
        assert await answered(edge, other_path, call_id) == "signature_wrong"


@SCENES.walk("4 nonce: the same request again is served", "4 nonce: another body is refused")
async def _(_: Edge, call_id: str) -> None:
    """Vobiz's own retry is the same request; a thief's is another one, even with only the V2 headers of it."""
    async with running_edge(public_url=PUBLIC, tokens=(TOKEN,)) as edge:
        signed = signatures(TOKEN, f"{PUBLIC}/answer")
        for _retry in range(3):
            assert await answered(edge, signed, call_id) == "Stream"
        assert await answered(edge, signed, "stolen") == "nonce_replayed"
        assert await answered(edge, only(signed, V2), "stolen") == "nonce_replayed"
        assert await answered(edge, only(signed, V3), "stolen") == "nonce_replayed"
        assert await answered(edge, signed, call_id, "/answer?dial=x") == "nonce_replayed"
        assert (await edge.http.get("/v1/calls/stolen")).status_code == 404
        assert await answered(edge, signed, call_id) == "Stream"


@SCENES.walk("4 comma-separated signatures")
async def _(_: Edge, call_id: str) -> None:
    async with running_edge(public_url=PUBLIC, tokens=(TOKEN,)) as edge:
        signed = only(signatures(TOKEN, f"{PUBLIC}/answer"), V3)
        stale = signatures("the token before", f"{PUBLIC}/answer")[V3]
        assert await answered(edge, {**signed, V3: f"{stale}, {signed[V3]}"}, call_id) == "Stream"
        assert await answered(edge, {**signed, V3: f"{stale},{stale}"}, call_id) == "signature_wrong"
        assert await answered(edge, {**signed, V3: ",".join([stale] * 9)}, call_id) == "signature_malformed"


CASES = {
    Policy.REQUIRED: {"right": "Stream", "wrong": "signature_wrong", "missing": "signature_missing"},
    Policy.IF_PRESENT: {"right": "Stream", "wrong": "signature_wrong", "missing": "Stream"},
    Policy.OFF: {"right": "Stream", "wrong": "Stream", "missing": "Stream"},
}


@SCENES.walk("4 missing under required, if-present and off", "4 wrong under required, if-present and off")
async def _(_: Edge, call_id: str) -> None:
    for policy, cases in CASES.items():
        async with running_edge(public_url=PUBLIC, tokens=(TOKEN,), policy=policy) as edge:
            for case, expected in cases.items():
                token = {"right": TOKEN, "wrong": "another token"}.get(case)
                headers = signatures(token, f"{PUBLIC}/answer") if token else {}
                reason = expected.removeprefix("Stream")
                before = await edge.count("voice_webhooks_refused_total", reason=reason)
                assert await answered(edge, headers, call_id) == expected, (policy, case)
                assert await edge.count("voice_webhooks_refused_total", reason=reason) == before + bool(reason)


@SCENES.walk("4 public URL behind a proxy")
async def _(_: Edge, call_id: str) -> None:
    """PUBLIC_URL decides, whether or not the proxy keeps its path; the Host that came is nothing to go by."""
    async with running_edge(public_url=f"{PUBLIC}/phone", tokens=(TOKEN,)) as edge:
        assert await answered(edge, signatures(TOKEN, f"{PUBLIC}/phone/answer"), call_id) == "Stream"
        stolen = signatures(TOKEN, "https://other.example.com/answer")
        assert await answered(edge, {**stolen, "Host": "other.example.com"}, call_id) == "signature_wrong"


@SCENES.walk("4 X-Forwarded from a configured proxy only")
async def _(_: Edge, call_id: str) -> None:
    """Without PUBLIC_URL.  A proxy also says for whom it asks, and that must not make it a stranger."""
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "voice.example.com"}
    for known in ({}, {"X-Forwarded-For": "203.0.113.7"}):
        async with running_edge(tokens=(TOKEN,), proxies=("127.0.0.0/8",)) as edge:
            signed = signatures(TOKEN, f"{PUBLIC}/answer") | forwarded | known
            assert await answered(edge, signed, call_id) == "Stream", known
            asked = await edge.http.post("/answer", data=answer(call_id), headers=signed)
            assert (verbs(asked)[0].text or "").startswith("wss://voice.example.com/ws/")
        async with running_edge(tokens=(TOKEN,), proxies=("192.0.2.0/24",)) as edge:
            signed = signatures(TOKEN, f"{PUBLIC}/answer") | forwarded | known
            assert await answered(edge, signed, call_id) == "signature_wrong", known
            own = signatures(TOKEN, f"{edge.http.base_url}/answer") | forwarded | known
            assert await answered(edge, own, call_id) == "Stream", known


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["a b", "[", "[::1", "a:99999", "a:0", "<&>", "x" * 300, "a@b"])
async def test_a_host_that_is_none_is_in_no_url(edge: Edge, call_id: str, host: str) -> None:
    """Without PUBLIC_URL the stream's URL is built from it, or from the address that was called; or it is refused."""
    for path in ("/answer", "/fallback"):
        response = await edge.http.post(path, data=answer(call_id), headers={"Host": host})
        if response.status_code == 200:
            assert (verbs(response)[0].text or "").startswith(f"ws://127.0.0.1:{edge.port}/ws/")
        else:
            assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_host")


@SCENES.walk("4 userinfo in the URL")
async def _(_: Edge, call_id: str) -> None:
    """Of Vobiz's two samples one signs it and one does not."""
    async with running_edge(public_url="https://user:word@voice.example.com", tokens=(TOKEN,)) as edge:
        for url in ("https://user:word@voice.example.com/hangup", "https://voice.example.com/hangup"):
            response = await edge.http.post("/hangup", data=hangup(call_id), headers=signatures(TOKEN, url))
            assert response.status_code == 200, url


@SCENES.walk("4 CallUUID must be known")
async def _(_: Edge, call_id: str) -> None:
    """A hangup of a call that nobody knows does nothing, and harms nobody's call."""
    async with running_edge(public_url=PUBLIC, tokens=(TOKEN,)) as edge:
        signed = signatures(TOKEN, f"{PUBLIC}/hangup")
        assert await answered(edge, signed, f"{call_id}-unheard-of", "/hangup", Event="Hangup") == "Hangup"
        assert await edge.store.read(f"{call_id}-unheard-of") is None


async def test_auth_tokens_in_headers_are_not_logged(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    """4 auth tokens in headers are not logged"""
    told = {"auth-token": "plain secret", "parent-auth-token": "plain secret", "User-Agent": "Vobiz"}
    assert "plain secret" not in redacted(told).values()
    with caplog.at_level(logging.DEBUG):
        async with running_edge(public_url=PUBLIC, tokens=(TOKEN,)) as signed:
            headers = {**told, **signatures("another", f"{PUBLIC}/answer")}
            assert await answered(signed, headers, "c-1") == "signature_wrong"
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("edge", "common"))]
    assert ours
    assert not [line for line in ours if "plain secret" in line or "c-1" in line]


# --- the WebSocket's token ---------------------------------------------------------------------------------------


@SCENES.walk("4 WebSocket token: bound to its call")
async def _(edge: Edge, call_id: str) -> None:
    async with edge.call(f"{call_id}-other") as other:
        async with phone(await edge.answer(call_id)) as caller:
            await caller.send(start_of(f"{call_id}-other"))
            assert await caller.until_closed() == 1008
        await other.goes_on()
    assert await refused(edge.token_url(mint(b"another deployment", call_id, time.time()))) == (403, "bad_token")
    unheard_of = mint(SECRET, f"{call_id}-unheard-of", time.time())
    assert await refused(edge.token_url(unheard_of)) == (403, "call_is_over")


@SCENES.walk("4 WebSocket token: 60 s to the first connect")
async def _(edge: Edge, call_id: str) -> None:
    assert FIRST_USE_SECONDS == 60
    await edge.answer(call_id)
    assert await refused(edge.token_url(mint(SECRET, call_id, time.time() - 61))) == (403, "token_expired")
    async with phone(edge.token_url(mint(SECRET, call_id, time.time() - 50))):
        assert await edge.store.read(call_id) is not None


@SCENES.walk("4 WebSocket token: again while its call lives")
async def _(edge: Edge, call_id: str) -> None:
    async with edge.call(call_id) as caller:
        old = edge.token_url(mint(SECRET, call_id, time.time() - 3600))
        async with phone(old) as again:
            again.take(edge, call_id)
            await again.send(start_of(call_id))
            assert await caller.until_closed() == 1000
            await edge.http.post("/hangup", data=hangup(call_id))
            await again.until_closed()
    assert await refused(old) == (403, "call_is_over")
    assert await refused(caller.url) == (403, "call_is_over")


test_auth_tokens_in_headers_are_not_logged = pytest.mark.anyio(test_auth_tokens_in_headers_are_not_logged)
test_signed = SCENES.test()
