"""All scripted vendors behind one port: each by its own name and key, and one of them with a bad minute."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from common.settings import Settings
from simulators.loopback_server import LoopbackServer
from simulators.providers.bad_minutes import BadMinutes, Plan
from simulators.providers.cast import KEY, BadCastScript, Cast, CastScript, read_cast_script, settings
from simulators.providers.openai_chat import Answer
from tests.deadlines import WAIT_S

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

SECONDS = WAIT_S
LISTEN = "/deepgram/v1/listen?model=nova-3&encoding=mulaw&sample_rate=8000"
DEEPGRAM_KEY = {"Authorization": f"Token {KEY}"}
DEMO = Path(__file__).parents[4] / "simulators" / "providers" / "demo.json"


async def test_two_vendors_with_the_same_path_are_told_apart():
    async with (
        LoopbackServer(Cast(CastScript())) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=SECONDS) as client,
    ):
        openai = await client.get("/openai/v1/models", headers={"authorization": f"Bearer {KEY}"})
        elevenlabs = await client.get("/elevenlabs/v1/models", headers={"xi-api-key": KEY})
        strange = await client.get("/nobody/v1/models")
    assert openai.json()["object"] == "list"
    assert elevenlabs.json()[0]["model_id"]
    assert strange.status_code == 404


def test_its_settings_are_settings_of_the_stack():
    chosen = settings("http://127.0.0.1:1")
    assert {name.lower() for name in chosen} <= set(Settings.__dataclass_fields__)
    Settings.from_env(chosen)


async def test_a_bad_minute_of_one_vendor_breaks_its_sockets_and_no_others():
    cast = Cast(CastScript())
    plan = Plan(3600.0, 3600.0)  # it begins at once
    minutes = BadMinutes(cast.app("deepgram"), cast.routes["deepgram"], cast.faults["deepgram"], plan)
    cast.wrap("deepgram", minutes)
    async with LoopbackServer(cast, ws="websockets-sansio") as server, asyncio.timeout(SECONDS):
        url = "ws" + server.url.removeprefix("http")
        async with connect(url + LISTEN, additional_headers=DEEPGRAM_KEY, proxy=None) as socket:
            await socket.send(b"\xff" * 160)
            running = asyncio.create_task(minutes.run())
            with pytest.raises(ConnectionClosed) as broken:
                while True:
                    await socket.recv()
            assert broken.value.rcvd is not None
            assert broken.value.rcvd.code == 1011
        with pytest.raises(InvalidStatus) as refused:
            await connect(url + LISTEN, additional_headers=DEEPGRAM_KEY, proxy=None)
        assert refused.value.response.status_code == 503
        assert cast.faults["openai"].always is None
        running.cancel()
        await asyncio.wait([running])


def test_the_demos_script_ends_the_call():
    script = read_cast_script(DEMO)
    assert script.speeches[0] == "Hello."
    assert [answer.tool for answer in script.answers] == [""] * 6 + ["end_call"]


@pytest.mark.parametrize(
    "document", ["", "[]", '{"said": []}', {"said": [], "answers": ["x"]}, {"said": ["x"], "answers": [{"tool": "y"}]}]
)
def test_what_is_no_script_is_refused(document: object, tmp_path: Path):
    path = tmp_path / "script.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(BadCastScript, match=r"script\.json: expected"):
        read_cast_script(path)


def test_a_script_may_name_a_tool(tmp_path: Path):
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"said": ["Bye."], "answers": ["Yes?", {"text": "Goodbye.", "tool": "end_call"}]}))
    assert read_cast_script(path) == CastScript(("Bye.",), (Answer("Yes?"), Answer("Goodbye.", "end_call")))
