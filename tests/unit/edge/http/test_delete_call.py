"""`DELETE /v1/calls/<id>`: 204 says that the call is over, and nothing else does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from common.agents.model import Agents
from common.bus.memory import MemoryBus, MemoryStreams
from common.protocol.messages import HangUp, Message
from common.protocol.redis_keys import edge_priority
from common.store import CallRecord
from common.store.memory import MemoryCallStore
from edge.http.api import END_SECONDS, Api
from edge.http.parameters import BadRequest
from edge.session.call import STOP_SECONDS
from tests.clock import VirtualLoop

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

CALL = "c-1"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualLoop}


class Carrier:
    """Its REST API, as far as a dialer has it: hangs up, refuses, or never answers."""

    def __init__(self, answers: bool | None) -> None:
        self._answers = answers
        self.told: list[str] = []

    async def hang_up(self, call_id: str) -> bool:
        self.told.append(call_id)
        if self._answers is None:
            await asyncio.sleep(3600)
        return bool(self._answers)


class Desk:
    """The API of one edge, and the edges that have calls."""

    def __init__(self, carrier: Carrier | None = None) -> None:
        streams = MemoryStreams()
        self.bus, self.store = MemoryBus(streams), MemoryCallStore(streams)
        self.api = Api(Agents({}), self.store, self.bus, carrier, "", "")  # type: ignore[arg-type]
        self.told: list[str] = []

    def edge(self, name: str, seconds: float = 0.3, then: str = "ends") -> None:
        """An edge that takes `seconds` to do what it is told: end the call, or let another edge have it first."""
        loop = asyncio.get_running_loop()

        async def act(call_id: str) -> None:
            await asyncio.sleep(seconds)
            await (self.store.start(call_id, then) if then != "ends" else self.store.end(call_id, "operator hung up"))

        def receive(entry_id: str, message: Message) -> None:
            if isinstance(message, HangUp):
                self.told.append(name)
                self.acting = loop.create_task(act(message.call_id))

        self.bus.subscribe(edge_priority(name), receive, lambda error: None)

    async def live(self, edge: str) -> None:
        await self.store.create(CallRecord(CALL))
        await self.store.start(CALL, edge)

    async def delete(self, call_id: str = CALL) -> tuple[int, str, float]:
        """Status, code of an error, seconds that it took."""
        scope = {"type": "http", "method": "DELETE", "path_params": {"id": call_id}, "headers": []}
        began = asyncio.get_running_loop().time()
        try:
            answer = (await self.api.hang_up(Request(scope))).status_code, ""
        except BadRequest as error:
            answer = error.status, error.code
        return *answer, asyncio.get_running_loop().time() - began

    async def status(self) -> str:
        record = await self.store.read(CALL)
        assert record is not None
        return record.status


@pytest.mark.parametrize("seconds", [0.0, 0.3, 4.5])
async def test_it_is_answered_once_the_call_is_over(seconds: float) -> None:
    desk = Desk()
    desk.edge("edge-a", seconds)
    await desk.live("edge-a")
    status, _, took = await desk.delete()
    assert (status, await desk.status(), desk.told) == (204, "ended", ["edge-a"])
    assert seconds <= took <= END_SECONDS
    assert (await desk.delete())[0] == 204  # it is over already


async def test_a_call_that_changes_its_edge_meanwhile_is_ended_there() -> None:
    desk = Desk()
    desk.edge("edge-a", then="edge-b")
    desk.edge("edge-b")
    await desk.live("edge-a")
    assert (await desk.delete())[0] == 204
    assert (await desk.status(), desk.told) == ("ended", ["edge-a", "edge-b"])


async def test_a_silent_edge_is_an_error_and_no_204() -> None:
    desk = Desk()
    await desk.live("edge-dead")
    status, code, took = await desk.delete()
    assert (status, code, await desk.status()) == (504, "edge_away", "live")
    assert took <= END_SECONDS + 1


async def test_if_the_edge_is_silent_the_carrier_is_told() -> None:
    desk = Desk(carrier := Carrier(True))
    await desk.live("edge-dead")
    assert (await desk.delete())[0] == 204
    record = await desk.store.read(CALL)
    assert record is not None
    assert (record.status, record.ended_because, carrier.told) == ("ended", "operator hung up", [CALL])


@pytest.mark.parametrize("answers", [False, None])
async def test_if_both_are_silent_it_says_so_in_time(answers: bool | None) -> None:
    desk = Desk(Carrier(answers))
    await desk.live("edge-dead")
    status, code, took = await desk.delete()
    assert (status, code, await desk.status()) == (504, "edge_away", "live")
    assert took <= END_SECONDS + STOP_SECONDS + 1


async def test_a_call_whose_stream_has_not_come_never_begins() -> None:
    desk = Desk()
    await desk.store.create(CallRecord(CALL))
    assert (await desk.delete())[0] == 204
    assert await desk.store.start(CALL, "edge-a") is None
    assert not await desk.store.reopen(CALL)


async def test_a_call_that_nobody_knows_is_not_found() -> None:
    assert (await Desk().delete("nobody"))[:2] == (404, "no_such_call")
