"""A carrier that asks what follows the stream, or for the document again, of a call that has ended."""

import pytest

from tests.e2e.loopback_edge import running_edge
from tests.e2e.test_webhook_events import APOLOGY, HELPED, tags, tell

pytestmark = [pytest.mark.processes, pytest.mark.anyio]


async def test_a_call_whose_connection_was_lost_goes_on_if_the_carrier_asks_what_to_do_with_it() -> None:
    async with running_edge(HELPED) as edge:
        await tell(edge, "/answer", "c-1")
        await edge.store.end("c-1", "carrier")
        assert tags(await tell(edge, "/after-stream", "c-1", Event="Redirect")) == APOLOGY
        for path in ("/fallback", "/answer"):
            assert tags(await tell(edge, path, "c-1", Event="Redirect")) == ["Stream", "Redirect"]
        await tell(edge, "/hangup", "c-1")
        for path in ("/after-stream", "/fallback", "/answer"):
            assert tags(await tell(edge, path, "c-1", Event="Redirect")) == ["Hangup"]


async def test_a_caller_whom_no_worker_took_is_asked_to_call_again() -> None:
    async with running_edge(HELPED) as edge:
        await tell(edge, "/answer", "c-1")
        await edge.store.end("c-1", "no worker")
        response = await tell(edge, "/after-stream", "c-1", Event="Redirect")
        assert tags(response) == APOLOGY
        assert "call again" in response.text
