"""A caller is never handed on to a number of our own: they would come back to an agent, at our cost."""

import pytest

from common.agents.model import Agent, Agents
from tests.e2e.loopback_edge import FROM, TO, running_edge

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

OWN = "+91 (0) 12345 67890"


@pytest.mark.parametrize(
    ("fields", "fallback", "rung"),
    [
        ({"To": TO}, OWN, False),  # an agent for every number: only the call says which one is ours
        ({"To": "01234567890"}, OWN, False),
        ({"From": TO, "To": FROM, "Direction": "outbound"}, OWN, False),
        ({"To": TO}, "+91 98765 43210", True),
    ],
)
async def test_a_fallback_number_that_turns_out_to_be_ours_is_not_rung(
    fields: dict[str, str], fallback: str, rung: bool
) -> None:
    desk = Agent("desk", "Hello.", "Be brief.", numbers=("*",), fallback_number=fallback)
    async with running_edge(agents=Agents({"desk": desk}), calls_max=1) as edge:
        edge.calls.draining = True  # nobody is taken, so whoever calls is handed on
        reply = await edge.http.post("/answer", data={"CallUUID": "c-1", "From": FROM, **fields})
    assert ("<Dial" in reply.text) is rung
    assert "<Hangup" in reply.text
