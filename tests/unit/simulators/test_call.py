"""Whole calls of the simulated caller over loopback, against a server written here by hand."""

import asyncio
import base64
import json
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs

import pytest
from websockets.asyncio.server import ServerConnection, serve

from simulators.call import Caller, CallOptions
from simulators.result import CallResult
from simulators.script import BadScript, BargeIn, Press, Say, Step, Wait, WaitForAgent, WaitForHangUp
from simulators.stream import WireOptions
from simulators.stream_messages import Spelling
from simulators.vobiz import main
from tests.deadlines import WAIT_S

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

Agent: TypeAlias = Callable[[ServerConnection, "Seen"], Awaitable[None]]
LOUD = base64.b64encode(b"\x80\x00" * 80).decode()  # 20 ms that nobody could miss


class Seen:
    """What the server got: webhooks by path, and every message of the sockets, media apart."""

    def __init__(self) -> None:
        self.webhooks: list[tuple[str, dict[str, str]]] = []
        self.events: list[dict[str, Any]] = []
        self.media: list[dict[str, Any]] = []
        self.sockets = 0

    async def until(self, socket: ServerConnection, event: str) -> dict[str, Any]:
        """Take messages until one is an `event`."""
        while True:
            message = json.loads(await asyncio.wait_for(socket.recv(), WAIT_S))
            (self.media if message["event"] == "media" else self.events).append(message)
            if message["event"] == event:
                return dict(message)

    async def loud(self, socket: ServerConnection) -> None:
        """Take messages until the caller can be heard."""
        while True:
            payload = base64.b64decode((await self.until(socket, "media"))["media"]["payload"])
            if sum(byte & 0x7F < 0x40 for byte in payload) > 20:
                return


async def speak(socket: ServerConnection, ms: int, name: str | None = None) -> None:
    for _ in range(ms // 20):
        media = {"contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": LOUD}
        await socket.send(json.dumps({"event": "playAudio", "media": media}))
    if name:
        await socket.send(json.dumps({"event": "checkpoint", "name": name}))


XML = '<Response><Stream bidirectional="true" keepCallAlive="true" {more}>ws://127.0.0.1:{port}/ws</Stream></Response>'


@asynccontextmanager
async def server(
    agent: Agent, more: str = 'contentType="audio/x-mulaw;rate=8000"', xml: str = XML
) -> AsyncIterator[tuple[CallOptions, Seen]]:
    """An answer webhook in ten lines of HTTP, and a socket with `agent` behind it."""
    seen = Seen()

    async def on_socket(socket: ServerConnection) -> None:
        seen.sockets += 1
        await agent(socket, seen)

    async def on_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path, lower = head.split()[1], head.lower()
        length = int(lower.split("content-length: ")[1].split()[0])
        form = {key: values[0] for key, values in parse_qs((await reader.readexactly(length)).decode()).items()}
        assert "user-agent: vobiz\r\n" in lower
        seen.webhooks.append((path, form))
        body = xml.format(port=sockets.sockets[0].getsockname()[1], more=more)
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n".encode())
        writer.write(b"Connection: close\r\n\r\n" + body.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with serve(on_socket, "127.0.0.1", 0) as sockets:
        http = await asyncio.start_server(on_http, "127.0.0.1", 0)
        async with http:
            base = f"http://127.0.0.1:{http.sockets[0].getsockname()[1]}"
            yield CallOptions(f"{base}/answer", f"{base}/hangup", "+911234567890", "+911234567899"), seen


async def call(options: CallOptions, *script: Step) -> CallResult:
    async with asyncio.timeout(WAIT_S):
        return await Caller(options).call(script)


async def test_a_call_from_the_answer_webhook_to_the_hangup_webhook(tmp_path: Path) -> None:
    async def agent(socket: ServerConnection, seen: Seen) -> None:
        await seen.until(socket, "start")
        await speak(socket, 200, "greeting")
        await seen.until(socket, "playedStream")
        await seen.loud(socket)
        await seen.until(socket, "nothing")  # until the caller hangs up

    async with server(agent) as (options, seen):
        wav = tmp_path / "call.wav"
        options = CallOptions(options.answer_url, options.hangup_url, "+911234567890", "+911234567899", wav=wav)
        result = await call(options, WaitForAgent(silence_ms=50), Say("yes"))

    (answer_path, asked), (hangup_path, hung_up) = seen.webhooks
    assert (answer_path, hangup_path) == ("/answer", "/hangup")
    assert (asked["Event"], asked["CallStatus"], asked["Direction"]) == ("StartApp", "ringing", "inbound")
    assert (asked["From"], asked["To"]) == ("911234567890", "911234567899")
    assert asked["CallUUID"] == hung_up["CallUUID"] == seen.events[0]["start"]["callId"] == result.call_id
    assert (hung_up["Event"], hung_up["HangupCauseCode"], hung_up["HangupSource"]) == ("Hangup", "4000", "Caller")
    assert seen.events[0]["start"]["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000}
    assert [frame["media"]["chunk"] for frame in seen.media] == list(range(1, len(seen.media) + 1))
    times = [int(frame["media"]["timestamp"]) for frame in seen.media]
    assert {later - earlier for earlier, later in pairwise(times)} <= {19, 20, 21}

    assert result.failures == []
    assert (result.ended_by, result.how, result.hangup_status) == ("caller", "hung up", 200)
    assert [name for name, _ in result.heard_checkpoints] == ["greeting"]
    ((began_ms, ended_ms),) = result.agent_spans_ms
    assert ended_ms - began_ms == pytest.approx(200, abs=40)  # sent in one burst, played in real time
    assert result.frames_sent == pytest.approx(result.duration_ms / 20, abs=3)
    assert result.violations == []
    assert result.turns[0].text == "Yes."
    assert wav.stat().st_size == pytest.approx(44 + result.duration_ms * 32, rel=0.05)
    tracks = array("h", wav.read_bytes()[44:])
    speech = result.turns[0].speech
    assert speech is not None
    said = slice(round(speech.first_sound_ms * 8), round(speech.last_sound_ms * 8))
    heard = slice(round(began_ms * 8), round(ended_ms * 8))
    caller, agent_track = tracks[0::2], tracks[1::2]
    assert (max(caller[said]) > 5000, any(caller[heard])) == (True, False)
    assert (any(agent_track[said]), min(agent_track[heard]) < -20000) == (False, True)
    json.dumps(result.to_json())


async def test_the_caller_talks_over_the_agent_and_is_answered() -> None:
    async def agent(socket: ServerConnection, seen: Seen) -> None:
        await seen.until(socket, "start")
        await speak(socket, 5000, "never heard")
        await seen.loud(socket)
        await socket.send('{"event":"clearAudio"}')
        await speak(socket, 20)  # too early: lost in the race
        await seen.until(socket, "clearedAudio")
        for _ in range(40):
            await seen.until(socket, "media")
        await speak(socket, 100)
        await asyncio.sleep(0.2)
        await socket.send('{"event":"stop"}')
        await socket.wait_closed()

    async with server(agent) as (options, seen):
        result = await call(options, BargeIn("yes", after_ms=100), WaitForHangUp(3000))

    assert result.failures == []
    assert (result.ended_by, result.how) == ("agent", "stop")
    turn = result.turns[0]
    assert turn.barge_in is not None
    assert turn.barge_in.became_silent
    assert turn.barge_in.clear_ms is not None
    assert 10 <= turn.barge_in.clear_ms < 500  # the frame's own 20 ms and the way; a busy machine takes longer
    assert turn.barge_in.raced_bytes == 160
    assert turn.barge_in.dropped_bytes == pytest.approx(turn.barge_in.dropped_ms * 8, abs=1)
    assert turn.answer is not None
    assert 300 < turn.answer.latency_ms < 1500  # 40 frames after the acknowledgement
    assert result.heard_checkpoints == []
    assert seen.webhooks[-1][1]["HangupCauseCode"] == "4010"  # nothing follows <Stream>


async def test_an_agent_that_says_nothing_fails_the_step_and_the_script_goes_on() -> None:
    async def agent(socket: ServerConnection, seen: Seen) -> None:
        await seen.until(socket, "dtmf")
        await socket.send('{"event":"hello"}')
        await seen.until(socket, "nothing")

    async with server(agent) as (options, seen):
        result = await call(options, WaitForAgent(deadline_ms=100), Press("5"), Wait(100))

    assert result.failures == ["step 1 (wait-for-agent): the agent said nothing within 0.1 s"]
    assert seen.events[-1]["dtmf"]["digit"] == "5"
    assert result.violations == ["unknown event 'hello'"]


async def test_a_broken_socket_is_opened_again_as_the_same_call() -> None:
    async def agent(socket: ServerConnection, seen: Seen) -> None:
        await seen.until(socket, "start")
        if seen.sockets == 1:
            socket.transport.abort()
            return
        await speak(socket, 100)
        await seen.until(socket, "nothing")

    async with server(agent, 'contentType="audio/x-mulaw;rate=8000" maxRetries="2"') as (options, seen):
        result = await call(options, WaitForAgent(silence_ms=50, deadline_ms=3000))

    first, second = (event["start"] for event in seen.events)
    assert first["callId"] == second["callId"]
    assert first["streamId"] != second["streamId"]
    assert result.failures == []
    (drop,) = result.drops
    assert (drop["code"], drop["resumed_ms"] > drop["at_ms"] + 400) == (1006, True)


async def test_the_older_carrier() -> None:
    async def agent(socket: ServerConnection, seen: Seen) -> None:
        await seen.until(socket, "stop")
        await socket.wait_closed()

    async with server(agent, 'contentType="audio/x-l16;rate=16000"') as (options, seen):
        wire = WireOptions(Spelling(flat_start=True), media_before_start=3, send_stop=True)
        result = await call(CallOptions(options.answer_url, wire_options=wire), Wait(150))

    assert result.failures == []
    assert [event["event"] for event in seen.events] == ["start", "stop"]
    assert seen.events[0]["contentType"] == "audio/x-l16;rate=16000"
    assert {len(base64.b64decode(frame["media"]["payload"])) for frame in seen.media} == {640}


@pytest.mark.parametrize(
    ("xml", "error"),
    [
        (XML.replace("/ws<", "/ws?a=1&b=2<"), "8011 Invalid Answer XML"),
        (XML.replace("{port}", "1"), "the media stream was refused: ConnectionRefusedError"),
    ],
)
async def test_a_call_that_never_gets_its_stream(xml: str, error: str) -> None:
    async def agent(socket: ServerConnection, seen: Seen) -> None:
        raise AssertionError("nobody connects")

    async with server(agent, xml=xml) as (options, seen):
        result = await call(options, Say("yes"))

    assert result.error is not None
    assert result.error.startswith(error)
    assert seen.webhooks[-1][1]["Event"] == "Hangup"


async def test_a_script_with_an_unknown_recording_is_refused_before_the_call() -> None:
    with pytest.raises(BadScript, match="no recording 'hum'"):
        await Caller(CallOptions("http://127.0.0.1:1/answer")).call([Say("hum")])


async def test_the_command_places_calls_side_by_side_and_says_how_they_went(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def agent(socket: ServerConnection, seen: Seen) -> None:
        await seen.until(socket, "start")
        if seen.sockets == 1:
            await speak(socket, 100)
        await seen.until(socket, "nothing")

    (tmp_path / "script.json").write_text('[{"do": "wait-for-agent", "silence_ms": 20, "deadline_ms": 400}]')
    async with server(agent) as (options, _):
        command = ["--answer-url", options.answer_url, "--script", str(tmp_path / "script.json"), "--calls", "2"]
        code = await asyncio.to_thread(main, [*command, "--json", str(tmp_path / "calls.json")])

    calls = json.loads((tmp_path / "calls.json").read_text())["calls"]
    assert [len(call["failures"]) for call in calls] == [0, 1]
    assert code == 1
    printed = capsys.readouterr().out
    assert "2 calls, 1 failed, 0 caller turns" in printed
    assert "call 2             FAILED step 1 (wait-for-agent): the agent said nothing within 0.4 s" in printed


def test_the_command_refuses_a_script_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--answer-url", "http://127.0.0.1:1/answer", "--script", "none.json"]) == 2
    assert "cannot play the script" in capsys.readouterr().err
