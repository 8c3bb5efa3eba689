"""Tools of MCP servers, over both transports, against a real server: shared, guarded, found again after it broke."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from common.agents.tools import McpServer
from common.call.acts import ToolOutcome
from tests.contract.mcp_server import mcp_over_http
from tests.contract.tool_servers import request
from tests.deadlines import SOON_S, WAIT_S
from workers.tools.engines.mcp import McpConnection
from workers.tools.interfaces import ToolError

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

SECRET = "pw-5ecret-98765"
ENVIRONMENT = {**os.environ, "CLINIC_PW": SECRET, "OTHER_SECRET": "another"}
ROOT = Path(__file__).parents[2]
COMMAND = McpServer(
    command=(sys.executable, "-m", "tests.contract.mcp_server"),
    env={"CLINIC_PASSWORD": "${CLINIC_PW}", "PYTHONPATH": str(ROOT)},
)


@asynccontextmanager
async def connected(server: McpServer) -> AsyncIterator[McpConnection]:
    connection = McpConnection("clinic", server, ENVIRONMENT)
    connection.start()
    try:
        async with asyncio.timeout(WAIT_S):
            await connection.listed()
        yield connection
    finally:
        await connection.aclose()


@pytest.fixture(params=["stdio", "http"])
async def clinic(request: pytest.FixtureRequest) -> AsyncIterator[McpConnection]:
    if request.param == "stdio":
        async with connected(COMMAND) as connection:
            yield connection
        return
    async with mcp_over_http() as url, connected(McpServer(url, private_hosts=("127.0.0.1",))) as connection:
        yield connection


async def fails(clinic: McpConnection, tool: str) -> ToolError:
    with pytest.raises(ToolError) as raised:
        await clinic.run(tool, request({}))
    return raised.value


async def test_its_tools_are_listed_and_called_with_the_key(clinic: McpConnection):
    listed = {tool.name: tool for tool in clinic.tools}
    assert {"slots", "fails", "waits"} <= set(listed)
    assert listed["slots"].description == "List free slots."
    assert listed["slots"].parameters["required"] == ["day"]
    assert await clinic.run("slots", request({"day": "Monday"})) == "Monday: nine, ten; key call-1:2:0"


async def test_its_error_is_told(clinic: McpConnection):
    error = await fails(clinic, "fails")
    assert (error.outcome, "no such patient" in error.text) == (ToolOutcome.FAILED, True)
    assert (await fails(clinic, "slots")).outcome is ToolOutcome.FAILED, "an argument is missing"
    assert (await fails(clinic, "nothing")).outcome is ToolOutcome.FAILED


async def test_a_call_that_hangs_is_given_up_and_others_go_on(clinic: McpConnection):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await clinic.run("waits", request({}))
    assert (await clinic.run("slots", request({"day": "Monday"}))).startswith("Monday")


async def test_a_new_tool_is_found_when_the_list_changes(clinic: McpConnection):
    changed = asyncio.Event()
    clinic.watchers.add(changed.set)
    await clinic.run("learns", request({}))
    async with asyncio.timeout(SOON_S):
        await changed.wait()
    assert "learned" in {tool.name for tool in clinic.tools}


async def test_a_command_has_the_variables_of_its_declaration_and_no_others():
    async with connected(COMMAND) as clinic:
        names = set((await clinic.run("environment", request({}))).split(","))
        assert "CLINIC_PASSWORD" in names
        assert names <= {"CLINIC_PASSWORD", "PYTHONPATH", "PATH", "HOME", "LANG", "LC_CTYPE"}
        assert await clinic.run("password", request({})) == "[secret]"


async def test_a_command_that_dies_is_started_again_and_the_outcome_is_unknown():
    async with connected(COMMAND) as clinic:
        error = await fails(clinic, "exits")
        assert (error.outcome, "may or may not" in error.text) == (ToolOutcome.UNKNOWN, True)
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    assert (await clinic.run("slots", request({"day": "Friday"}))).startswith("Friday")
                    break
                except ToolError:
                    await asyncio.sleep(0.1)


async def test_a_private_address_is_not_reached(caplog: pytest.LogCaptureFixture):
    async with mcp_over_http() as url:
        connection = McpConnection("clinic", McpServer(url), ENVIRONMENT)
        connection.start()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await connection.listed()
        await connection.aclose()
        assert (await fails(connection, "slots")).text.startswith("The tool's server cannot be reached")
    assert "no connection to the MCP server clinic" in caplog.text


async def test_only_the_named_tools_are_taken():
    async with connected(McpServer(command=COMMAND.command, env=COMMAND.env, tools=("slots", "gone"))) as clinic:
        assert [tool.name for tool in clinic.tools] == ["slots"]
