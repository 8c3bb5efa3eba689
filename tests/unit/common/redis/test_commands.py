"""Awaited commands on one connection: one write a turn, one repetition, one deadline for a server that is silent."""

import asyncio
from collections.abc import Callable
from typing import Any

import hiredis
import pytest

from common.redis.commands import REACH_SECONDS, SILENT_SECONDS, RedisCommands, script
from common.redis.connection import RedisConnection
from tests.clock import VirtualLoop

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

READ_ONLY = b"-READONLY You can't write against a read only replica.\r\n"
ADD = "return redis.call('INCR', KEYS[1])"


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": VirtualLoop}


class Wire(asyncio.Transport):
    """Our end of a connection to a server that answers at once, or never."""

    def __init__(self, server: "Server", connection: RedisConnection) -> None:
        super().__init__()
        self.server, self.connection, self.closed = server, connection, False
        self.reader = hiredis.Reader()

    def write(self, data: bytes) -> None:
        self.reader.feed(data)
        commands = []
        while (command := self.reader.gets()) is not False:
            commands.append([word.decode() for word in command])
        self.server.writes.append(commands)
        if answers := b"".join(filter(None, map(self.server.answer, commands))):
            asyncio.get_running_loop().call_later(self.server.delay_s, self._say, answers)

    def _say(self, answers: bytes) -> None:
        if not self.closed:
            self.connection.data_received(answers)

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class Server:
    """Counts up for each command but SCRIPT LOAD; `answer` may be replaced."""

    def __init__(self) -> None:
        self.writes: list[list[list[str]]] = []
        self.wires: list[Wire] = []
        self.lost = self.asked_to_connect = 0
        self.delay_s = 0.0
        self.refuses: Exception | None = None
        self.count = 0
        self.answer: Callable[[list[str]], bytes | None] = self.counted
        self.commands = RedisCommands(self.connect, self.note_lost)

    async def connect(self) -> RedisConnection:
        self.asked_to_connect += 1
        if self.refuses is not None:
            raise self.refuses
        connection = RedisConnection()
        self.wires.append(Wire(self, connection))
        connection.connection_made(self.wires[-1])
        return connection

    def note_lost(self) -> None:
        self.lost += 1

    def counted(self, command: list[str]) -> bytes:
        if command[:2] == ["SCRIPT", "LOAD"]:
            return b"+digest\r\n"
        self.count += 1
        return f":{self.count}\r\n".encode()

    def break_off(self) -> None:
        self.wires[-1].closed = True
        self.wires[-1].connection.connection_lost(None)


@pytest.fixture
async def server():
    server = Server()
    yield server
    server.commands.close()


def silent(command: list[str]) -> None:
    return None


async def seconds_of(asking: Any) -> tuple[Any, float]:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    return await asking, loop.time() - began_s


async def test_all_commands_of_a_turn_leave_in_one_write_and_each_gets_its_own_reply(server: Server):
    first = await server.commands.ask([("GET", "a")])
    asked = [[("GET", str(number))] * (1 + number % 3) for number in range(10)]
    replies = await asyncio.gather(*map(server.commands.ask, asked))
    assert [len(write) for write in server.writes] == [1, sum(map(len, asked))]
    assert [*first, *(one for some in replies for one in some)] == [*range(1, 2 + sum(map(len, asked)))]


async def test_a_script_is_loaded_once_by_each_connection(server: Server):
    for _ in range(3):
        await server.commands.ask([script(ADD, ["a"]), script(ADD, ["b"])])
    server.break_off()
    await server.commands.ask([script(ADD, ["a"])])
    flat = [command for write in server.writes for command in write]
    loads = [at for at, command in enumerate(flat) if command[0] == "SCRIPT"]
    assert loads == [0, 7]
    assert flat[7][2] == ADD
    assert flat[8][:3] == ["EVALSHA", flat[1][1], "1"]


async def test_a_server_that_lost_its_scripts_gets_them_again(server: Server):
    await server.commands.ask([script(ADD, ["a"])])
    known = False

    def forgetful(command: list[str]) -> bytes:
        nonlocal known
        known = known or command[0] == "SCRIPT"
        return server.counted(command) if known else b"-NOSCRIPT No matching script.\r\n"

    server.answer = forgetful
    assert await server.commands.ask([script(ADD, ["a"])]) == [2]
    assert len(server.wires) == 1


async def test_a_script_that_no_loading_helps_is_an_error_and_no_loop(server: Server):
    server.answer = lambda command: b"-NOSCRIPT No matching script.\r\n"
    (reply,) = await server.commands.ask([script(ADD, ["a"])])
    assert isinstance(reply, hiredis.ReplyError)


async def test_what_a_broken_connection_did_not_answer_is_sent_once_more_in_order(server: Server):
    server.answer = silent
    asking = [asyncio.create_task(server.commands.ask([("SET", name, 1), ("GET", name)])) for name in "ab"]
    await asyncio.sleep(0.1)
    server.answer = server.counted
    server.break_off()
    assert await asyncio.gather(*asking) == [[1, 2], [3, 4]]
    assert server.writes[0] == server.writes[1]
    assert server.lost == 1


async def test_a_half_answered_pipeline_is_sent_again_as_a_whole(server: Server):
    server.answer = lambda command: b":0\r\n" if command[1] == "a" else None
    asking = asyncio.create_task(server.commands.ask([("GET", "a"), ("GET", "b")]))
    await asyncio.sleep(0.1)
    server.answer = server.counted
    server.break_off()
    assert await asking == [1, 2]


async def test_a_connection_that_breaks_twice_is_an_error(server: Server):
    server.answer = silent
    asking = asyncio.create_task(server.commands.ask([("GET", "a")]))
    for _ in range(2):
        await asyncio.sleep(0.1)
        server.break_off()
    assert isinstance(await asking, ConnectionError)
    server.answer = server.counted
    assert await server.commands.ask([("GET", "a")]) == [1]


async def test_a_server_that_refuses_connections_is_tried_twice_and_all_who_wait_learn_why(server: Server):
    server.refuses = ConnectionRefusedError()
    outcomes, took_s = await seconds_of(asyncio.gather(*(server.commands.ask([("GET", "a")]) for _ in range(3))))
    assert [type(outcome) for outcome in outcomes] == [ConnectionRefusedError] * 3
    assert (server.asked_to_connect, took_s < 0.2) == (2, True)
    server.refuses = None
    assert await server.commands.ask([("GET", "a")]) == [1]


async def test_a_replica_is_left_and_the_primary_asked(server: Server):
    server.answer = lambda command: READ_ONLY if len(server.wires) == 1 else server.counted(command)
    assert await asyncio.gather(*(server.commands.ask([("SET", "a", 1)]) for _ in range(3))) == [[1], [2], [3]]
    assert (len(server.wires), server.lost, server.wires[0].closed) == (2, 1, True)


async def test_a_server_that_stays_a_replica_is_an_error_after_one_repetition(server: Server):
    server.answer = lambda command: READ_ONLY
    (reply,) = await server.commands.ask([("SET", "a", 1)])
    assert isinstance(reply, hiredis.ReplyError)
    assert (len(server.writes), server.wires[-1].closed) == (2, True)


async def test_a_silent_server_loses_its_connection_and_what_waits_goes_to_the_next(server: Server):
    server.answer = silent
    asking = asyncio.create_task(seconds_of(server.commands.ask([("GET", "a")])))
    await asyncio.sleep(1)
    server.answer = server.counted
    assert await asking == ([1], SILENT_SECONDS)
    assert server.lost == 1


async def test_a_silent_server_costs_one_deadline_and_then_one_command_at_a_time_is_tried(server: Server):
    server.answer = silent
    outcomes, took_s = await seconds_of(asyncio.gather(*(server.commands.ask([("GET", "a")]) for _ in range(20))))
    assert {type(outcome) for outcome in outcomes} == {TimeoutError}
    assert took_s == REACH_SECONDS
    assert server.commands.silent
    testing = asyncio.create_task(server.commands.ask([("GET", "a")]))
    await asyncio.sleep(0)
    for _ in range(3):
        with pytest.raises(ConnectionError, match="another command tests it"):
            await server.commands.ask([("GET", "a")])
    assert isinstance(await testing, TimeoutError)
    server.answer = server.counted
    assert await server.commands.ask([("GET", "a")]) == [1]
    assert len(await asyncio.gather(*(server.commands.ask([("GET", "a")]) for _ in range(3)))) == 3


async def test_a_connect_that_takes_too_long_is_a_silent_server(server: Server):
    server.refuses = TimeoutError()
    assert isinstance(await server.commands.ask([("GET", "a")]), TimeoutError)
    assert server.commands.silent


async def test_a_slow_server_is_not_silent(server: Server):
    server.delay_s = SILENT_SECONDS - 0.1
    for number in range(1, 4):
        assert await server.commands.ask([("GET", "a")]) == [number]
    assert len(server.wires) == 1


async def test_a_cancelled_command_leaves_the_others_their_own_replies(server: Server):
    server.delay_s = 0.2
    asking = [asyncio.create_task(server.commands.ask([("GET", str(number))])) for number in range(4)]
    await asyncio.sleep(0.1)
    asking[1].cancel()
    assert [await asking[at] for at in (0, 2, 3)] == [[1], [3], [4]]
    early = asyncio.create_task(server.commands.ask([("GET", "a")]))
    await asyncio.sleep(0)
    early.cancel()
    assert await server.commands.ask([("GET", "a")]) == [5], "it was not sent"


async def test_a_process_that_stood_still_reads_its_answers_before_it_judges(server: Server):
    """A loop may run its timers before it reads its sockets."""
    server.answer = silent
    asking = asyncio.create_task(server.commands.ask([("GET", "a")]))
    await asyncio.sleep(0.1)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.call_later(0.1, loop._advance, 60)
    loop.call_at(loop.time() + 60.12, server.wires[0].connection.data_received, b":7\r\n")
    assert await asking == [7]


async def test_nothing_wakes_a_client_that_has_nothing_to_do(server: Server):
    assert await server.commands.ask([]) == []
    await server.commands.ask([("GET", "a")])
    await asyncio.sleep(SILENT_SECONDS)
    assert server.commands._timer is None


async def test_a_closed_client_answers_nobody(server: Server):
    server.answer = silent
    asking = asyncio.create_task(server.commands.ask([("GET", "a")]))
    await asyncio.sleep(0.1)
    server.commands.close()
    assert isinstance(await asking, ConnectionError)
    with pytest.raises(ConnectionError, match="closed"):
        await server.commands.ask([("GET", "a")])
    assert server.wires[0].closed
