"""Connects a carrier, a voice server and a REST client, for the tests of the carrier."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.websockets import WebSocket

from simulators.carrier import Callee, CallRecord, Carrier, CarrierOptions
from simulators.script import Step
from simulators.voice_server import VoiceServer, silent

LOUD = base64.b64encode(b"\x80\x00" * 80).decode()  # 20 ms of loud audio
FROM, TO = "911234567890", "911234567891"
FAST: dict[str, Any] = {"time_scale": 0.01, "hangup_delay_ms": 0.0}


@dataclass
class Lab:
    """A carrier, a voice server, and a client of the carrier's REST API."""

    carrier: Carrier
    server: VoiceServer
    rest: httpx.AsyncClient

    async def dial(self, **more: Any) -> CallRecord:
        """Make a call by REST; return when it is live."""
        body = {"from": FROM, "to": TO, "answer_url": f"{self.server.url}/answer", **more}
        reply = await self.rest.post("Call/", json=body)
        assert reply.status_code == 201, reply.text
        return self.carrier.calls[reply.json()["request_uuid"]]

    async def whole(self, **more: Any) -> CallRecord:
        return await (await self.dial(**more)).over(10)


@asynccontextmanager
async def lab(agent: Any = silent, **options: Any) -> AsyncIterator[Lab]:
    async with VoiceServer(agent) as server, Carrier(CarrierOptions(**{**FAST, **options})) as carrier:
        headers = {"X-Auth-ID": carrier.options.auth_id, "X-Auth-Token": carrier.options.auth_token}
        base = f"{carrier.api_url}/Account/{carrier.options.auth_id}/"
        async with httpx.AsyncClient(base_url=base, headers=headers, trust_env=False, verify=False) as rest:
            server.documents["/answer"] = server.stream_xml()
            yield Lab(carrier, server, rest)


async def speak(socket: WebSocket, ms: int, name: str = "") -> None:
    for _ in range(ms // 20):
        media = {"contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": LOUD}
        await socket.send_json({"event": "playAudio", "media": media})
    if name:
        await socket.send_json({"event": "checkpoint", "name": name})


async def until(socket: WebSocket, event: str) -> dict[str, Any]:
    while True:
        message: dict[str, Any] = await socket.receive_json()
        if message["event"] == event:
            return message


async def greets(socket: WebSocket) -> None:
    await until(socket, "start")
    await speak(socket, 100, "greeting")
    await silent(socket)


def person(*script: Step, **more: Any) -> Callee:
    return Callee(script=script, **more)
