"""Tells which worker pools a call of an agent needs beside those that every call needs.  Pure."""

from __future__ import annotations

from collections.abc import Iterable

from common.agents.model import Agent
from common.protocol.redis_keys import TOOLS_POOL


def needs_tools(agent: Agent) -> bool:
    """Whether it, or an agent to which it may hand a call, has tools that the pool "tools" runs: HTTP requests, Python
    functions or MCP servers.

    Transfers and keys are carried out by the edge and the LLM worker, and need no such pool.
    """
    return any(one.tools or one.mcp or one.python for one in (agent, *agent.others.values()))


def more_pools(agents: Iterable[Agent]) -> str:
    """`CallRecord.more_pools` of a call that these agents may have, one after the other."""
    return TOOLS_POOL if any(map(needs_tools, agents)) else ""
