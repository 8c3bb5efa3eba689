"""Accidents on the media socket, one by one, as the server sees them."""

import base64
from typing import Any

import pytest
from starlette.websockets import WebSocket, WebSocketDisconnect

from simulators.lab import lab, person
from simulators.script import Press, Wait
from simulators.stream import WireOptions
from simulators.stream_messages import Spelling
from simulators.uplink import Disturbance

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

NO_CLOSE = 1005
"""What uvicorn calls a connection that was lost without a close frame; other servers say 1006."""


class Listener:
    """An agent that remembers every message and close code, socket by socket."""

    def __init__(self) -> None:
        self.sockets: list[list[dict[str, Any]]] = []
        self.codes: list[int] = []

    async def __call__(self, socket: WebSocket) -> None:
        messages: list[dict[str, Any]] = []
        self.sockets.append(messages)
        try:
            while True:
                messages.append(await socket.receive_json())
        except WebSocketDisconnect as closed:
            self.codes.append(closed.code)

    def events(self, socket: int = 0) -> list[str]:
        return [message["event"] for message in self.sockets[socket]]

    def sizes(self) -> set[int]:
        media = [message["media"] for message in self.sockets[0] if message["event"] == "media"]
        return {len(base64.b64decode(each["payload"])) for each in media}


async def heard(wire: WireOptions, wait_ms: float = 200, attributes: str = "", **more: Any) -> Listener:
    """One call with this wire, in which the callee says nothing and hangs up."""
    listener = Listener()
    script = more.pop("script", (Wait(wait_ms),))
    async with lab(listener, callee=person(*script), wire_options=wire) as it:
        if attributes:
            it.server.documents["/answer"] = it.server.stream_xml(attributes)
        call = await it.whole()
        assert call.failures == []
    return listener


async def test_media_before_start_and_a_second_start() -> None:
    listener = await heard(WireOptions(media_before_start=2, disturbance=Disturbance(second_start_after=6)))
    events = listener.events()
    assert events[:3] == ["media", "media", "start"]
    assert events.count("start") == 2
    starts = [message["start"]["streamId"] for message in listener.sockets[0] if message["event"] == "start"]
    assert starts[0] == starts[1]


async def test_the_carrier_loses_the_socket_and_comes_again_with_a_new_stream() -> None:
    listener = await heard(WireOptions(break_after_ms=(80.0,), retry_pause_ms=20), 300)
    first, second = (socket[0]["start"] for socket in listener.sockets)
    assert first["callId"] == second["callId"]
    assert first["streamId"] != second["streamId"]
    assert listener.codes == [NO_CLOSE, 1000]


async def test_a_call_that_is_over_comes_back_as_a_phantom() -> None:
    listener = Listener()
    async with lab(listener, callee=person(Wait(60)), wire_options=WireOptions(phantom_after_ms=20)) as it:
        call = await it.whole()
        assert [asked.fields["Event"] for asked in it.server.asked] == ["StartApp", "Hangup"]
    assert call.streams[0].phantom == "kept open"  # this server does not look
    assert listener.events(1) == ["start"] + ["media"] * 5
    assert listener.sockets[1][0]["start"]["callId"] == call.call_id


async def test_ends_without_and_with_a_stop() -> None:
    assert (await heard(WireOptions(abort_close=True), 60)).codes == [NO_CLOSE]
    listener = await heard(WireOptions(send_stop=True), 60)
    assert listener.sockets[0][-1] == {
        "event": "stop",
        "streamId": listener.sockets[0][0]["start"]["streamId"],
        "reason": "call_ended",
    }
    assert "stop" not in (await heard(WireOptions(), 60)).events()


async def test_odd_sizes_doubles_gaps_and_unknown_events() -> None:
    assert (await heard(WireOptions(disturbance=Disturbance(odd_frames=True)))).sizes() == {80, 208, 8, 320, 184}
    doubled = await heard(WireOptions(disturbance=Disturbance(duplicate_every=1, unknown_every=3)))
    media = doubled.events().count("media")
    assert media % 2 == 0
    assert doubled.events().count("networkQuality") == media // 2 // 3
    gaps = await heard(WireOptions(disturbance=Disturbance(gap_every=4, gap_frames=3)), 400)
    assert gaps.events().count("media") <= 10


async def test_a_server_that_plays_frames_of_any_size_breaks_no_rule() -> None:
    """20 ms is what we send; the carrier plays whatever whole samples it gets, to the checkpoint."""
    sizes = (1, 80, 161, 333, 4000)

    async def plays(socket: WebSocket) -> None:
        stream_id = (await socket.receive_json())["start"]["streamId"]
        for size in sizes:
            media = {"contentType": "audio/x-mulaw", "sampleRate": 8000}
            payload = base64.b64encode(b"\x00" * size).decode()
            await socket.send_json({"event": "playAudio", "media": {**media, "payload": payload}})
        await socket.send_json({"event": "checkpoint", "streamId": stream_id, "name": "all"})
        while (await socket.receive_json())["event"] != "playedStream":
            pass
        await socket.close()

    async with lab(plays, callee=person(Wait(5_000))) as it:
        (result,) = (await it.whole()).streams
    ((name, _),) = result.heard_checkpoints
    ((begun_ms, ended_ms),) = result.agent_spans_ms
    assert (result.violations, name) == ([], "all")
    assert ended_ms - begun_ms >= sum(sizes) / 8 - 20


@pytest.mark.parametrize(("rate", "size"), [(8000, 320), (16000, 640)])
async def test_l16(rate: int, size: int) -> None:
    both = f'bidirectional="true" keepCallAlive="true" contentType="audio/x-l16;rate={rate}"'
    listener = await heard(WireOptions(light=True), attributes=both)
    assert listener.sizes() == {size}
    assert listener.sockets[0][0]["start"]["mediaFormat"] == {"encoding": "audio/x-l16", "sampleRate": rate}


async def test_a_key_in_both_shapes() -> None:
    pressed = (Press("5"), Wait(50))
    for flat, digit in ((False, {"dtmf"}), (True, {"digit"})):
        listener = await heard(WireOptions(Spelling(flat_digit=flat)), script=pressed)
        (message,) = [message for message in listener.sockets[0] if message["event"] == "dtmf"]
        assert digit <= set(message)
