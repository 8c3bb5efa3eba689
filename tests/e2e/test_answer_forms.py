"""The two forms in which Vobiz's pages write the stream: the fake carrier reads both, and the call is the same."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from common.agents.model import Agent, Agents
from simulators.answer import Stream
from simulators.carrier.document import read_document
from tests.e2e.loopback_edge import FROM, TO, running_edge

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

DESK = Agents({"desk": Agent("desk", "Hello {{name}}.", "x", variables={"name": "caller"}, numbers=("*",))})


@pytest.mark.parametrize(("answer_xml", "element"), [("text", "Stream"), ("connect", "Connect")])
@pytest.mark.parametrize("path", ["/answer", "/fallback"])
async def test_either_form_is_the_same_conversation(answer_xml: str, element: str, path: str) -> None:
    async with running_edge(answer_xml=answer_xml) as edge:
        response = await edge.http.post(path, data={"CallUUID": "c-1", "From": FROM, "To": TO})
        assert ElementTree.fromstring(response.content)[0].tag == element
        stream = read_document(response.status_code, "application/xml", response.content)[0]
        assert isinstance(stream, Stream)
        assert stream.url.startswith("ws://") and "/ws/" in stream.url
        assert (stream.bidirectional, stream.keep_call_alive, stream.content_type) == (
            True, True, "audio/x-mulaw;rate=8000",
        )  # fmt: skip
        assert stream.max_retries == 3 and stream.status_callback_url is not None


async def test_an_inbound_call_is_greeted_without_braces() -> None:
    async with running_edge(DESK) as edge:
        await edge.http.post("/answer", data={"CallUUID": "c-1", "From": FROM, "To": TO})
        record = await edge.store.read("c-1")
        assert record is not None and record.agent["greeting"] == "Hello caller."
