"""Applies a scripted fault to one WebSocket of a stand-in."""

import asyncio
import json
from typing import Any

from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from simulators.providers.faults import RETRY_AFTER_S, SLOW_S, Fault

HALF_DEAD_S = 60.0


class FaultySocket:
    """Sends and receives for a stand-in; `fault` happens after its number of sent messages."""

    def __init__(self, websocket: WebSocket, fault: Fault | None) -> None:
        self._websocket = websocket
        self._fault = fault
        self._sent = 0

    @property
    def kind(self) -> str:
        """The present fault; "" if none."""
        return self._fault.kind if self._fault is not None and self._sent >= self._fault.after else ""

    async def open(self, refusal: int = 0) -> bool:
        """Accept the socket, or refuse it with the fault's status or `refusal`; return whether it is open."""
        status = self._fault.status if self._fault is not None and self._fault.status else refusal
        if status:
            headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 429 else {}
            await self._websocket.send_denial_response(Response(status_code=status, headers=headers))
            return False
        await self._websocket.accept()
        return True

    async def send(self, message: dict[str, Any]) -> None:
        """Send one message, subject to the fault.  Raises WebSocketDisconnect if the client has disconnected."""
        kind = self.kind
        self._sent += 1
        if kind in ("stall", "half-dead"):
            return
        if kind == "close":
            await self._websocket.close(1011)
            raise WebSocketDisconnect(1011)
        if kind == "slow":
            await asyncio.sleep(SLOW_S)
        try:
            await self._websocket.send_text('{"type": "tran' if kind == "malformed" else json.dumps(message))
        except RuntimeError:  # starlette raises this for a socket that we closed
            raise WebSocketDisconnect(1006) from None

    async def receive(self) -> str | bytes:
        """Receive the next message.  Raises WebSocketDisconnect."""
        if self.kind == "half-dead":
            await asyncio.sleep(HALF_DEAD_S)
        if self.kind == "close" and self._fault is not None and self._fault.after == 0:
            await self._websocket.close(1011)
            raise WebSocketDisconnect(1011)
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code") or 1005)
        return message["text"] if message.get("text") is not None else message["bytes"]
