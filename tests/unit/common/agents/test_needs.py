"""Which agents need the pool tools, and that a call keeps the Python file with which it began."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.agents.acts import MenuEntry, TransferTarget
from common.agents.files import PYTHON_BYTES_MAX
from common.agents.model import Agent, BadAgents, from_document, to_document
from common.agents.needs import more_pools, needs_tools
from common.agents.reading import load_agents
from common.agents.tools import HttpRequest, McpServer, Tool
from common.agents.variables import for_inbound
from common.store import CallRecord

pytestmark = pytest.mark.fast

AGENT = "greeting: Hello.\ninstructions: Be kind.\n"
PLAIN = Agent("desk", "Hello.", "Be kind.")
SHOP = Agent("desk", "Hello.", "Be kind.", tools={"order": Tool(http=HttpRequest("https://shop.example.com"))})


@pytest.mark.parametrize(
    ("agent", "needed"),
    [
        (PLAIN, False),
        (SHOP, True),
        (Agent("desk", "", "x", mcp={"shop": McpServer(url="https://mcp.example.com/mcp")}), True),
        (Agent("desk", "", "x", python="0123456789ab"), True),
        (Agent("desk", "", "x", transfer={"boss": TransferTarget("+91 12345 67890")}), False),
        (Agent("desk", "", "x", keypad={"1": MenuEntry(say="Nine to six.")}), False),
    ],
)
def test_only_agents_with_tools_of_their_own_need_the_pool(agent: Agent, needed: bool) -> None:
    assert needs_tools(agent) is needed
    assert CallRecord("c-1", more_pools=more_pools([agent])).pools[3:] == (("tools",) if needed else ())


def test_a_call_that_may_be_handed_to_such_an_agent_needs_it_too() -> None:
    assert more_pools([PLAIN, SHOP]) == "tools"
    assert needs_tools(Agent("front", "", "x", transfer_to=("desk",), others={"desk": SHOP}))
    assert more_pools([]) == ""


def test_a_python_file_beside_an_agents_file_is_part_of_its_version(tmp_path: Path) -> None:
    (tmp_path / "desk.yaml").write_text(AGENT)
    (tmp_path / "shop_client.py").write_text("# a module of theirs\n")
    plain = load_agents(tmp_path).by_name["desk"]
    assert (plain.python, plain.version) == ("", PLAIN.version)
    (tmp_path / "desk.py").write_text("one = 1\n")
    first = load_agents(tmp_path).by_name["desk"]
    (tmp_path / "desk.py").write_text("one = 2\n")
    second = load_agents(tmp_path).by_name["desk"]
    assert len({agent.version for agent in (plain, first, second)}) == 3
    assert first.python and first.python != second.python
    inbound = for_inbound(second)
    assert inbound is not None
    assert from_document(json.loads(json.dumps(to_document(inbound)))) == second, "it travels with the call"


def test_a_python_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "desk.yaml").write_text(AGENT)
    (tmp_path / "desk.py").write_text("#" * (PYTHON_BYTES_MAX + 1))
    (tmp_path / "shop.yaml").write_text("name: shop-front\n" + AGENT)
    (tmp_path / "shop.py").write_text("")
    (tmp_path / "till.yaml").write_text("python: 0123456789ab\n" + AGENT)
    with pytest.raises(BadAgents) as told:
        load_agents(tmp_path)
    large, ignored, unknown = (problem.replace(f"{tmp_path}/", "") for problem in told.value.problems)
    assert large == "desk.yaml:1: its Python file desk.py is larger than 256 KiB; move parts to a package"
    assert ignored.startswith("shop.yaml:1: the file shop.py would be ignored")
    assert unknown.startswith("till.yaml:1: unknown key 'python'"), "it is no key of the file"
