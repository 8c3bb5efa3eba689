"""Strangers and crowds at the door of an edge; meanwhile a call goes on, and loses no frame.

Nothing here measures time: what is asked is whether every frame came, in order, and whether every table has its end.
"""

import asyncio
import base64
import hmac
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from websockets.exceptions import InvalidStatus

from common.audio.g711 import FRAME_MS
from common.protocol.messages import AudioIn, CallStarted
from edge.http.limits.rate_limit import Buckets
from edge.http.limits.slow_clients import HALF_OPEN_MAX
from edge.media.stream_pace import AHEAD_MS_MAX
from edge.session.calls import OPENING_MAX
from tests.e2e.loopback_edge import FROM, SECONDS, TO, Edge, Phone, phone, refused, running_edge, start_of
from tests.e2e.test_edge_http import xml_of

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

CALLS_MAX = 4
FAILURES = 20
TOKEN = "the account's token"


def few_failures() -> Buckets:
    """Twenty, and no more for as long as a test lasts."""
    return Buckets(at_once=FAILURES, per_second=0.001)


def signature(url: str, nonce: str = "12345678901234567890") -> dict[str, str]:
    """As Vobiz signs (V3)."""
    signed = base64.b64encode(hmac.digest(TOKEN.encode(), f"{url}.{nonce}".encode(), "sha256")).decode()
    return {"x-vobiz-signature-v3": signed, "x-vobiz-signature-v3-nonce": nonce}


@asynccontextmanager
async def call_in_progress(edge: Edge) -> AsyncIterator[Phone]:
    """A caller who says a numbered frame whenever there is a chance, and an agent who answers before and after."""
    async with edge.call("c-1") as caller:
        await caller.goes_on()
        before = len([message for message in caller.audio.got if isinstance(message, AudioIn)])
        said: list[bytes] = []
        over = asyncio.Event()

        async def talk() -> None:
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            while not over.is_set():
                if len(said) * FRAME_MS < AHEAD_MS_MAX / 2 + 1000 * (loop.time() - began_s):  # as a line may
                    said.append(len(said).to_bytes(4, "big") * 40)
                    await caller.say(said[-1])
                await asyncio.sleep(0)

        talking = asyncio.create_task(talk())
        try:
            yield caller
        finally:
            over.set()
            await talking
        heard = await caller.audio.until(AudioIn, before + len(said))
        assert [message.mulaw for message in heard[before:]] == said
        assert len(said) > 50
        await caller.goes_on()
        assert edge.calls.get("c-1") is not None


async def test_more_calls_than_there_are_places() -> None:
    async with running_edge(calls_max=CALLS_MAX) as edge, call_in_progress(edge):
        asked = [
            edge.http.post("/answer", data={"CallUUID": f"crowd-{number}", "From": FROM, "To": TO})
            for number in range(50)
        ]
        answers = Counter(xml_of(response)[0].tag for response in await asyncio.gather(*asked))
        places = CALLS_MAX - 1
        assert answers == {"Stream": places + 1, "Speak": 50 - places - 1}  # one more: somebody may not come


async def test_garbage_is_answered_429_after_a_while_and_valid_webhooks_are_not() -> None:
    async with running_edge(calls_max=CALLS_MAX, failures=few_failures()) as edge, call_in_progress(edge):
        limited = await edge.count("voice_failures_limited_total", kind="http")
        garbage = [edge.http.post("/answer", content=b"\xff\xfe{", headers={"content-type": "application/json"})]
        garbage += [edge.http.get(f"/wp-login-{number}.php") for number in range(FAILURES + 49)]
        statuses = [response.status_code for response in await asyncio.gather(*garbage)]
        assert set(statuses) == {400, 404, 429}
        assert statuses.count(429) == 50
        assert await edge.count("voice_failures_limited_total", kind="http") == limited + statuses.count(429)
        refusal = await edge.http.get("/wp-login.php")
        assert refusal.json()["error"]["code"] == "too_many_failures"
        assert int(refusal.headers["retry-after"]) >= 1
        assert len(edge.failures) == 1
        assert await edge.answer("c-2")  # from the very same address
        assert (await edge.http.get("/readyz")).status_code == 200


async def test_unsigned_webhooks_are_refused_and_signed_ones_never_limited() -> None:
    async with running_edge(tokens=(TOKEN,), failures=few_failures()) as edge:
        statuses = Counter()
        for number in range(FAILURES + 20):
            statuses[(await edge.http.post("/answer", data={"CallUUID": f"c-{number}"})).status_code] += 1
        assert statuses == {403: FAILURES, 429: 20}
        url = f"http://127.0.0.1:{edge.port}/answer"
        signed = await edge.http.post("/answer", data={"CallUUID": "c-1"}, headers=signature(url))
        assert signed.status_code == 200


async def test_sockets_without_a_token_and_many_with_the_same() -> None:
    async with running_edge(calls_max=CALLS_MAX, failures=few_failures()) as edge, call_in_progress(edge):
        stolen = await edge.answer("c-2")
        async with AsyncExitStack() as sockets:
            for _ in range(OPENING_MAX):
                await sockets.enter_async_context(phone(stolen))
            for _ in range(5):
                assert await refused(stolen) == (503, "too_many_sockets")
            async with edge.call("c-3"):  # there is a place left for others
                outcomes = Counter([await refused(edge.token_url("x")) for _ in range(FAILURES + 20)])
                assert outcomes == {(403, "bad_token"): FAILURES, (429, "too_many_failures"): 20}
        async with phone(await edge.answer("c-4")) as later:
            await later.send(start_of("c-4"))


async def test_connections_that_never_ask_are_closed_before_they_crowd_out_others() -> None:
    async with running_edge(calls_max=CALLS_MAX) as edge, call_in_progress(edge):
        crowded = await edge.count("voice_half_open_closed_total", reason="crowded out")
        silent = [await asyncio.open_connection("127.0.0.1", edge.port) for _ in range(HALF_OPEN_MAX + 20)]
        try:
            async with asyncio.timeout(SECONDS):
                for reader, _ in silent[:20]:  # the oldest
                    with pytest.raises(ConnectionResetError):
                        if await reader.read() == b"":
                            raise ConnectionResetError
            assert await edge.answer("c-2")
            assert await edge.count("voice_half_open_closed_total", reason="crowded out") >= crowded + 20
            assert not silent[-1][0].at_eof()
        finally:
            for _, writer in silent:
                writer.transport.abort()


async def test_half_a_request_gets_no_more_than_its_time() -> None:
    """The deadline itself is tested on a table without a clock; here, that each half request is in it."""
    async with running_edge(calls_max=CALLS_MAX) as edge, call_in_progress(edge):
        crowded = await edge.count("voice_half_open_closed_total", reason="crowded out")
        dripping = []
        for number in range(HALF_OPEN_MAX + 10):
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            head = b"POST /answer HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n"
            writer.write(head + (b"\r\nCallUUID=" if number % 2 else b""))
            dripping.append((reader, writer))
        await edge.counted(crowded + 8, "voice_half_open_closed_total", reason="crowded out")
        assert await edge.answer("c-2")
        for _, writer in dripping:
            writer.transport.abort()


@pytest.mark.parametrize(
    ("when_busy", "said"), [("apology", ["Speak", "Hangup"]), ("reject", ["Hangup"]), ("busy", ["Hangup"])]
)
async def test_what_a_caller_meets_when_the_edge_is_full_is_a_setting(when_busy: str, said: list[str]) -> None:
    async with running_edge(calls_max=1, when_busy=when_busy) as edge, edge.call("c-1"):
        told = xml_of(await edge.http.post("/answer", data={"CallUUID": "c-2", "From": FROM, "To": TO}))
        assert [verb.tag for verb in told] == said
        assert told[-1].get("reason") == {"apology": None, "reject": "rejected", "busy": "busy"}[when_busy]
        outbound = {"CallUUID": "c-3", "From": FROM, "To": TO, "Direction": "outbound"}
        assert xml_of(await edge.http.post("/answer", data=outbound))[0].tag == "Speak"


async def test_an_overloaded_edge_answers_no_call_and_keeps_its_word_to_those_it_answered() -> None:
    async with running_edge() as edge:
        edge.calls.overloaded = lambda: True
        url = await edge.answer("c-2")  # there is nobody whom it could hurt
        edge.calls.overloaded = lambda: False
        async with edge.call("c-1") as caller:
            refusals = await edge.count("voice_calls_refused_total", reason="overloaded")
            edge.calls.overloaded = lambda: True
            assert xml_of(await edge.http.post("/answer", data={"CallUUID": "c-3"}))[0].tag == "Speak"
            assert await edge.count("voice_calls_refused_total", reason="overloaded") == refusals + 1
            ready = await edge.http.get("/readyz")
            assert (ready.status_code, ready.text) == (503, "not ready: overloaded\n")
            async with phone(url) as answered:
                answered.take(edge, "c-2")
                await answered.send(start_of("c-2"))
                await answered.events.until(CallStarted)
                await answered.goes_on()
            await caller.goes_on()
            edge.calls.overloaded = lambda: False
            assert (await edge.http.get("/readyz")).status_code == 200


async def test_a_call_comes_back_to_a_full_edge_that_has_it() -> None:
    async with running_edge(calls_max=1) as edge, edge.call("c-1") as caller:
        try:
            async with phone(caller.url) as again:
                again.take(edge, "c-1")
                await again.send(start_of("c-1"))
                await again.events.until(CallStarted, 2)
                again.epoch = 2
                await again.goes_on()
        except InvalidStatus as error:
            pytest.fail(f"refused with {error.response.status_code}")
