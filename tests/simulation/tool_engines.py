"""What runs the tools in a simulated process of the pool: each request goes to the receiver, as by HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from common.agents.model import Agent
from common.agents.tools import Tool
from tests.simulation.processes import Process
from tests.simulation.receiver import NoAnswer, Receiver
from workers.tools.arguments import schema_of
from workers.tools.interfaces import CallableTool, ToolError, ToolRequest


@dataclass(frozen=True, slots=True)
class SimulatedEngines:
    """See `workers.tools.agent_tools.ToolEngines`, and its `http`."""

    receiver: Receiver
    process: Process

    @property
    def http(self) -> SimulatedEngines:
        """What makes the tools that are HTTP requests."""
        return self

    def tool(self, name: str, tool: Tool) -> CallableTool:
        """See `workers.tools.engines.http.HttpTools.tool`."""

        async def run(request: ToolRequest) -> str:
            if self.process.dead:
                await asyncio.Event().wait()  # it is about to be cancelled, and sends nothing any more
            try:
                return await self.receiver.ask(request.key, name, dict(request.arguments))
            except NoAnswer as error:
                raise ToolError(error.outcome, error.text) from None

        return CallableTool(name, "http", tool, tool.description, schema_of(tool), run)

    def open_python(self, agent: Agent) -> None:
        """No agent has a Python file."""
