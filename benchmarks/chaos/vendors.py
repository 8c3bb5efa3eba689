"""`python -m benchmarks.chaos.vendors --port N`: simulates the vendors of a chaos run by their documented protocols.

    /v1/listen            Deepgram: speech to text (hearing.py)
    /v1/speak             Deepgram Aura: text to tones, faster than real time
    /v1/chat/completions  OpenAI: the answers of sentences.py, word by word

Every reply is a function of the request alone, so a repeated request gets the same reply.
The model calls the tool of the shop (shop.py) before it answers, if it is offered it, and transfers the caller at every
second sentence (transfers.py), if it may.
`POST /_down {"models": [...]}` names the models that are down from now on: their open connections break, new ones are
refused with 503.  `GET /_asked` counts the chat requests of each sentence.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from benchmarks.chaos.hearing import Listening
from benchmarks.chaos.sentences import answer
from benchmarks.chaos.shop import TOOL, Shop
from benchmarks.chaos.tones import spoken
from benchmarks.chaos.transfers import TOOL as TRANSFER
from benchmarks.chaos.transfers import person_for
from common.audio.g711 import FRAME_BYTES

HEARD_S = 0.05
"""Delay from the audio to its message."""
FIRST_TOKEN_S = 0.12
TOKEN_S = 0.01
FIRST_SOUND_S = 0.08
CHUNK_BYTES, CHUNK_S = 10 * FRAME_BYTES, 0.08
"""200 ms of audio take 80 ms: fast, but slow enough that a kill hits the middle of a clause."""
MESSAGES_MAX = 1000
"""Most messages queued on one speech-to-text socket."""
DOWN = Response('{"error": {"message": "stand-in: down"}}', 503, media_type="application/json")


@dataclass(slots=True)
class Vendors:
    """The routes, and the models that are down."""

    down: set[str] = field(default_factory=set)
    asked: Counter[str] = field(default_factory=Counter)
    shop: Shop = field(default_factory=Shop)
    _open: dict[asyncio.Task[Any], str] = field(default_factory=dict)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                WebSocketRoute("/v1/listen", self.listen),
                Route("/v1/speak", self.speak, methods=["POST"]),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/_down", self.break_down, methods=["POST"]),
                Route("/_asked", self.asked_counts),
                *self.shop.routes(),
            ]
        )

    # --- speech to text ---

    async def listen(self, socket: WebSocket) -> None:
        """Serve one speech-to-text socket."""
        if not socket.headers.get("authorization", "").startswith("Token "):
            return await socket.send_denial_response(Response(status_code=401))
        model = socket.query_params.get("model", "")
        if model in self.down:
            return await socket.send_denial_response(Response(status_code=503))
        await socket.accept()
        with self._breakable(model), contextlib.suppress(WebSocketDisconnect, RuntimeError):
            try:
                await self._hear(socket)
            except asyncio.CancelledError:
                if model not in self.down:
                    raise
                await socket.close(1011)
        return None

    async def _hear(self, socket: WebSocket) -> None:
        listening = Listening(socket.query_params)
        due: asyncio.Queue[tuple[float, str]] = asyncio.Queue(MESSAGES_MAX)
        loop = asyncio.get_running_loop()
        sending = asyncio.create_task(_send_due(socket, due), name="sending")
        try:
            while (received := await socket.receive())["type"] != "websocket.disconnect":
                messages: list[dict[str, Any]] = []
                if audio := received.get("bytes"):
                    messages = listening.feed(audio)
                else:
                    match json.loads(received["text"]).get("type"):
                        case "Finalize":
                            messages = listening.finalize()
                        case "CloseStream":
                            await socket.send_text(json.dumps(listening.metadata()))
                            return await socket.close(1000)
                for message in messages:
                    due.put_nowait((loop.time() + HEARD_S, json.dumps(message)))
        finally:
            sending.cancel()
            await asyncio.wait([sending])
        return None

    # --- text to speech ---

    async def speak(self, request: Request) -> Response:
        """Synthesize one clause."""
        query = request.query_params
        if query.get("model", "") in self.down:
            return DOWN
        if (query.get("encoding"), query.get("sample_rate"), query.get("container")) != ("mulaw", "8000", "none"):
            return Response('{"err_code": "expected mulaw, 8000, none"}', 400)
        audio = spoken((await request.json())["text"])
        return StreamingResponse(self._sound(query.get("model", ""), audio), media_type="audio/mulaw")

    async def _sound(self, model: str, audio: bytes) -> AsyncIterator[bytes]:
        await asyncio.sleep(FIRST_SOUND_S)
        for at in range(0, len(audio), CHUNK_BYTES):
            if model in self.down:
                raise ConnectionAbortedError("stand-in: down")
            yield audio[at : at + CHUNK_BYTES]
            await asyncio.sleep(CHUNK_S)

    # --- chat completions ---

    async def chat(self, request: Request) -> Response:
        """Stream one reply."""
        body = await request.json()
        if body["model"] in self.down:
            return DOWN
        if order := self.shop.order_to_place(body["messages"], body.get("tools") or ()):
            return StreamingResponse(self._call(body["model"], TOOL, {"order": order}), media_type="text/event-stream")
        if person := _person_to_ask(body["messages"], body.get("tools") or ()):
            called = self._call(body["model"], TRANSFER, {"target": person})
            return StreamingResponse(called, media_type="text/event-stream")
        asked = [str(m["content"]) for m in body["messages"] if _is_callers(m)]
        whole = answer(asked[-1] if asked else "")
        self.asked[asked[-1] if asked else ""] += 1
        begun = _begun(body["messages"])
        rest = whole[len(begun) :].strip() if whole.startswith(begun) else whole
        return StreamingResponse(self._tokens(body["model"], rest), media_type="text/event-stream")

    async def _tokens(self, model: str, text: str) -> AsyncIterator[str]:
        await asyncio.sleep(FIRST_TOKEN_S)
        for word in text.split(" "):
            if model in self.down:
                raise ConnectionAbortedError("stand-in: down")
            yield _event(model, {"delta": {"content": f"{word} "}, "finish_reason": None})
            await asyncio.sleep(TOKEN_S)
        for line in _end(model, "stop", len(text)):
            yield line

    async def _call(self, model: str, name: str, values: dict[str, str]) -> AsyncIterator[str]:
        """Call a tool."""
        await asyncio.sleep(FIRST_TOKEN_S)
        if model in self.down:
            raise ConnectionAbortedError("stand-in: down")
        function = {"name": name, "arguments": json.dumps(values)}
        call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        yield _event(model, {"delta": {"tool_calls": [call]}, "finish_reason": None})
        for line in _end(model, "tool_calls", len(function["arguments"])):
            yield line

    async def models(self, request: Request) -> Response:
        """Answer the request of `OpenAIChat.warm`."""
        return JSONResponse({"object": "list", "data": []})

    # --- control by the benchmark ---

    async def break_down(self, request: Request) -> Response:
        """Set the models that are down from now on."""
        self.down = set((await request.json())["models"])
        for task, model in self._open.items():
            if model in self.down:
                task.cancel()
        return JSONResponse({"down": sorted(self.down)})

    async def asked_counts(self, request: Request) -> Response:
        """Return the number of chat requests for each sentence."""
        return JSONResponse(self.asked)

    @contextlib.contextmanager
    def _breakable(self, model: str) -> Any:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = model
        try:
            yield
        finally:
            del self._open[task]


async def _send_due(socket: WebSocket, due: asyncio.Queue[tuple[float, str]]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        at, text = await due.get()
        await asyncio.sleep(max(0.0, at - loop.time()))
        if socket.client_state is not WebSocketState.CONNECTED:
            return
        try:
            await socket.send_text(text)
        except (WebSocketDisconnect, RuntimeError):
            return


def _is_callers(message: dict[str, Any]) -> bool:
    """Return whether the message is the caller's; the platform writes its own in brackets."""
    return message["role"] == "user" and not re.fullmatch(r"\(.*|(\[[^]]*\] ?)+", str(message["content"]), re.DOTALL)


def _person_to_ask(messages: list[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> str:
    """The target to which the model transfers the caller now; "" if it answers."""
    last = max((index for index, message in enumerate(messages) if _is_callers(message)), default=-1)
    if last < 0 or TRANSFER not in [tool["function"]["name"] for tool in tools]:
        return ""
    called = any(message.get("tool_calls") for message in messages[last:])
    return "" if called else person_for(str(messages[last]["content"]))


def _begun(messages: list[dict[str, Any]]) -> str:
    """Return the beginning of the answer: the assistant's messages after the caller's last one."""
    last = max((index for index, message in enumerate(messages) if _is_callers(message)), default=-1)
    spoken = [str(message["content"] or "") for message in messages[last + 1 :] if message["role"] == "assistant"]
    return " ".join(filter(None, spoken))


def _event(model: str, choice: dict[str, Any]) -> str:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": model}
    return f"data: {json.dumps({**chunk, 'choices': [{'index': 0, **choice}]})}\n\n"


def _end(model: str, reason: str, tokens: int) -> tuple[str, ...]:
    """The last lines of a reply."""
    usage = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}
    last = {"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": usage}
    return _event(model, {"delta": {}, "finish_reason": reason}), f"data: {json.dumps(last)}\n\n", "data: [DONE]\n\n"


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos.vendors")
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    config = uvicorn.Config(
        Vendors().app(), "127.0.0.1", port, log_level="critical", lifespan="off", ws="websockets-sansio",
        loop="uvloop", ws_ping_interval=None, timeout_graceful_shutdown=1,
    )  # fmt: skip
    uvicorn.Server(config).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
