"""Which pools the edge offers a call to: those that its agent needs."""

from __future__ import annotations

import pytest

from common.agents.model import Agent, Agents
from common.agents.tools import HttpRequest, Tool
from common.protocol.messages import CallOffered
from common.protocol.redis_keys import ALL_POOLS, POOLS, TOOLS_POOL, pool_calls
from tests.e2e.loopback_edge import ANY_AGENT, running_edge

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

SHOP = Agent(
    "shop", "Hello.", "Be brief.", numbers=("*",), tools={"order": Tool(http=HttpRequest("https://shop.example.com"))}
)


@pytest.mark.parametrize(("agents", "pools"), [(ANY_AGENT, POOLS), (Agents({"shop": SHOP}), ALL_POOLS)])
async def test_a_call_is_offered_to_the_pools_that_its_agent_needs(agents: Agents, pools: tuple[str, ...]) -> None:
    async with running_edge(agents=agents) as edge:
        offers = {pool: edge.follow(pool_calls(pool)) for pool in ALL_POOLS}
        async with edge.call("c-1"):
            for pool in pools:
                assert await offers[pool].until(CallOffered) == [CallOffered("c-1")]
        record = await edge.store.read("c-1")
        assert record is not None
        assert record.pools == pools
        assert (await edge.store.unheld(["c-1"]))["c-1"] == set(pools)
        offered = await edge.store.take_offers(TOOLS_POOL, "tools-1", 1, 10)
        assert [call_id for _, call_id in offered] == (["c-1"] if TOOLS_POOL in pools else [])
