"""All tools of one agent together: who wins a name, what is offered, and what is said while a source is not there."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from common.agents.model import Agent, parse
from common.call.acts import ToolOutcome
from tests.contract.tool_servers import request
from tests.deadlines import WAIT_S
from workers.tools.agent_tools import AgentTools, ToolEngines
from workers.tools.engines.mcp import ListedTool, McpConnection
from workers.tools.interfaces import ToolError

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

CLINIC = """
from voice import tool

@tool(meanwhile="Looking.")
def slots(day: str) -> str:
    "List free slots."
    return f"{day}: nine"

@tool
def ping() -> str: return "python"
"""


class ServerDouble(McpConnection):
    """A server that says what it is told to say."""

    def __init__(self, name: str, tools: tuple[str, ...]) -> None:
        self.name = name
        self.tools = tuple(ListedTool(tool, "", {"type": "object", "properties": {}}) for tool in tools)
        self.watchers = set()

    async def listed(self) -> None:
        if not self.tools:
            await asyncio.Event().wait()

    async def run(self, tool: str, request: object) -> str:
        return f"{self.name}'s {tool}"


class EnginesDouble(ToolEngines):
    """With servers that need no process."""

    def __init__(self, folder: Path, **servers: tuple[str, ...]) -> None:
        super().__init__(dict(os.environ), folder)
        self.servers = {name: ServerDouble(name, tools) for name, tools in servers.items()}

    def open_mcp(self, name: str, server: object) -> tuple[str, McpConnection]:
        return name, self.servers[name]

    def close_mcp(self, key: str) -> None: ...


def agent(**more: object) -> Agent:
    document = {"name": "clinic", "greeting": "Hello.", "instructions": "x", **more}
    found, problems = parse(document)
    assert found is not None, problems
    return found


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    (tmp_path / "clinic.py").write_text(CLINIC)
    yield tmp_path


@pytest.fixture
async def opened() -> AsyncIterator[AsyncExitStack]:
    """Closes what it is given, also after a failure: a child that lives on would keep the event loop from closing."""
    async with AsyncExitStack() as stack:
        yield stack


async def ready(tools: AgentTools, changed: asyncio.Event) -> None:
    async with asyncio.timeout(WAIT_S):
        while "python" not in tools.offers():
            changed.clear()
            await changed.wait()


async def test_names_and_offers_of_all_sources(folder: Path, opened: AsyncExitStack):
    """The file wins over Python, Python over servers, the first server over the second, built-ins over all."""
    engines = EnginesDouble(folder, crm=("ping", "look-up", "end_call"), erp=("look-up", "stock"))
    opened.push_async_callback(engines.aclose)
    http = {"http": {"url": "https://shop.example.com/x"}}
    of_file = {"order": http, "slots": {"timeout_s": 5}, "stock": {"description": "Of the file.", "repeatable": "yes"}}
    mine = agent(tools=of_file, mcp={"crm": {"command": ["x"]}, "erp": {"command": ["y"]}})
    changed = asyncio.Event()
    tools = AgentTools(mine, engines, changed.set)
    opened.push_async_callback(tools.aclose)
    await ready(tools, changed)
    offers = {
        source: [each["function"]["name"] for each in json.loads(offer.tools)]
        for source, offer in tools.offers().items()
    }
    assert offers == {
        "python": ["slots", "ping"],
        "crm": ["crm_ping", "look-up", "crm_end_call"],
        "erp": ["erp_look-up", "stock"],
    }
    assert json.loads(tools.offers()["python"].options) == {"slots": {"meanwhile": ["Looking."], "timeout_s": 5}}
    assert await (await tools.find("slots")).run(request({"day": "Monday"})) == "Monday: nine"
    assert (await tools.find("slots")).options.timeout_s == 5
    assert await (await tools.find("ping")).run(request({})) == "python"
    assert await (await tools.find("crm_ping")).run(request({})) == "crm's ping"
    assert await (await tools.find("erp_look-up")).run(request({})) == "erp's look-up"
    stock = await tools.find("stock")
    assert (stock.description, stock.options.repeatable) == ("Of the file.", True)
    assert (await tools.find("order")).kind == "http"
    with pytest.raises(ToolError) as raised:
        await tools.find("fly")
    assert raised.value.outcome is ToolOutcome.REFUSED


async def test_an_agent_without_a_python_file_takes_back_what_another_agent_offered(
    tmp_path: Path, opened: AsyncExitStack
):
    engines = EnginesDouble(tmp_path)
    opened.push_async_callback(engines.aclose)
    tools = AgentTools(agent(), engines, lambda: None)
    opened.push_async_callback(tools.aclose)
    assert tools.offers()["python"].tools == "[]"


async def test_calls_share_a_process_and_a_changed_file_is_for_new_calls(folder: Path, opened: AsyncExitStack):
    (folder / "clinic.py").write_text(
        "import os\nfrom voice import tool\n@tool\ndef pid() -> int: return os.getpid()\n"
    )
    engines = EnginesDouble(folder)
    opened.push_async_callback(engines.aclose)

    async def pid(tools: AgentTools) -> str:
        return await (await tools.find("pid")).run(request({}))

    first, second = AgentTools(agent(), engines, lambda: None), AgentTools(agent(), engines, lambda: None)
    assert await pid(first) == await pid(second)
    (folder / "clinic.py").write_text("from voice import tool\n@tool\ndef pid() -> str: return 'new'\n")
    third = AgentTools(agent(), engines, lambda: None)
    assert await pid(third) == "new"
    assert (await pid(first)).isdecimal(), "a call keeps what it began with"
    for tools in (first, second, third):
        await tools.aclose()


async def test_a_broken_file_is_said_and_harms_no_other_tool(
    folder: Path, opened: AsyncExitStack, caplog: pytest.LogCaptureFixture
):
    (folder / "clinic.py").write_text("import nothing_here")
    engines = EnginesDouble(folder)
    opened.push_async_callback(engines.aclose)
    mine = agent(tools={"slots": {"timeout_s": 5}, "order": {"http": {"url": "https://shop.example.com/x"}}})
    tools = AgentTools(mine, engines, lambda: None)
    opened.push_async_callback(tools.aclose)
    assert (await tools.find("order")).kind == "http"
    with pytest.raises(ToolError) as raised:
        await tools.find("slots")
    assert raised.value.outcome is ToolOutcome.FAILED
    assert "ModuleNotFoundError at clinic.py:1" in caplog.text
