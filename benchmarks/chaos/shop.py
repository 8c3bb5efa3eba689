"""The receiver of a tool that costs money, and the part of the model's stand-in that calls it.

    POST /shop/order         places `{"order": ...}`; counts by `Idempotency-Key`, and refuses no second one
    GET /_shop/next?stage=   waits until an order comes to this stage: asked, placed or answered
    GET /_shop, POST /_shop  the orders that were placed, and those whose result the model was shown; forget all

It does what it is asked whether or not the other side still waits.  Some orders are placed and never answered.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.chaos.sentences import DIGITS

TOOL = "place_order"
PLACE_S, ANSWER_S, SLOW_S = 0.15, 0.15, 1.0
STAGES = ("asked", "placed", "answered")
STAGE_S = 8.0
"""Longest wait for an order to come to a stage."""
NEVER_S = 60.0
ORDERS_OF_TEN_WITHOUT_ANSWER, SLOW_ORDERS_OF_TEN = (4, 9), (2, 6)
"""Last digits of the orders that are placed and never answered, or late."""
PENDING = "There is no result yet"
_QUESTION = re.compile(rf"ask (({'|'.join(DIGITS)}) ({'|'.join(DIGITS)}) by ({'|'.join(DIGITS)}) ({'|'.join(DIGITS)}))")
_NOTE = re.compile(rf"\[{TOOL} has returned:")


@dataclass(slots=True)
class Shop:
    """The orders that were placed, and those whose result the model was shown."""

    placed: Counter[str] = field(default_factory=Counter)
    """Idempotency key -> how often it was placed."""
    shown: set[str] = field(default_factory=set)
    """Orders whose result stood in a chat."""
    notes: Counter[str] = field(default_factory=Counter)
    """Caller -> how many late results stood in one chat."""
    _reached: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    _working: set[asyncio.Task[None]] = field(default_factory=set)

    def routes(self) -> list[Route]:
        """The routes of the stand-in."""
        return [
            Route("/shop/order", self.order, methods=["POST"]),
            Route("/_shop", self.report),
            Route("/_shop", self.forget, methods=["POST"]),
            Route("/_shop/next", self.next),
        ]

    async def order(self, request: Request) -> Response:
        """Place an order."""
        order = str((await request.json())["order"])
        digit = DIGITS.index(order.split()[1])
        key = request.headers.get("idempotency-key", "")
        self._reach("asked")
        done = asyncio.get_running_loop().create_future()
        working = asyncio.create_task(self._carry_out(key, SLOW_S if digit in SLOW_ORDERS_OF_TEN else PLACE_S, done))
        self._working.add(working)
        working.add_done_callback(self._working.discard)
        await done
        if digit in ORDERS_OF_TEN_WITHOUT_ANSWER:
            await asyncio.sleep(NEVER_S)
        await asyncio.sleep(ANSWER_S)
        self._reach("answered")
        return JSONResponse({"placed": order})

    async def _carry_out(self, key: str, seconds: float, done: asyncio.Future[None]) -> None:
        await asyncio.sleep(seconds)
        self.placed[key] += 1
        self._reach("placed")
        if not done.done():
            done.set_result(None)

    def _reach(self, stage: str) -> None:
        self._reached.pop(stage, asyncio.Event()).set()

    async def next(self, request: Request) -> Response:
        """Wait for a stage."""
        try:
            async with asyncio.timeout(STAGE_S):
                await self._reached[request.query_params["stage"]].wait()
        except TimeoutError:
            return Response(status_code=204)
        return JSONResponse({})

    async def report(self, request: Request) -> Response:
        """The orders that were placed, and those whose result the model was shown."""
        return JSONResponse({"placed": self.placed, "shown": sorted(self.shown), "notes": self.notes})

    async def forget(self, request: Request) -> Response:
        """Begin anew."""
        for kept in (self.placed, self.shown, self.notes):
            kept.clear()
        return JSONResponse({})

    # --- the model ---

    def order_to_place(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> str:
        """The order for which the model calls the tool now; "" if it answers."""
        self._note(messages)
        if TOOL not in [tool["function"]["name"] for tool in tools]:
            return ""
        last = max((at for at, message in enumerate(messages) if _orders(message)), default=-1)
        if last < 0 or any(message.get("tool_calls") for message in messages[last:]):
            return ""
        return _orders(messages[last])[-1]

    def _note(self, messages: Sequence[dict[str, Any]]) -> None:
        """Take note of the results in a chat."""
        orders = {
            call["id"]: str(json.loads(call["function"]["arguments"]).get("order", ""))
            for message in messages
            for call in message.get("tool_calls") or ()
        }
        for message in messages:
            if message["role"] == "tool" and not str(message["content"]).startswith(PENDING):
                self.shown.add(orders.get(message["tool_call_id"], ""))
        notes = sum(len(_NOTE.findall(str(message["content"]))) for message in messages if message["role"] == "user")
        if notes and orders:
            caller = next(iter(orders.values())).partition(" by ")[2]
            self.notes[caller] = max(self.notes[caller], notes)


def _orders(message: dict[str, Any]) -> list[str]:
    """The orders in a message of the caller."""
    if message["role"] != "user":
        return []
    return [str(found[0]) for found in _QUESTION.findall(str(message["content"]).lower())]
