"""The webhooks and the dialer of a simulated edge: the real ones, asked without a socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import httpx
from starlette.applications import Starlette

from common.agents.model import Agents
from common.bus import Bus
from common.store import CallStore
from edge.http.webhook_auth import WebhookAuth
from edge.http.webhooks import Webhooks
from edge.outbound.destinations import OperatorLimits
from edge.outbound.dialer import Dialer, DialerOptions
from edge.transfer.orders import CallOrders
from edge.vobiz.signatures import Policy
from tests.simulation.bus import ProcessLedger

if TYPE_CHECKING:
    from tests.simulation.cluster import Edge

URL = "https://voice.example.com"


class EdgeWebhooks:
    """What serves the carrier's requests at one edge, and places its outbound calls."""

    def __init__(self, edge: Edge) -> None:
        ground = edge.ground
        assert ground.exchange is not None
        bus, store = cast(Bus, edge.bus), cast(CallStore, edge.store)
        client: Any = ground.exchange.rest(lambda: edge.process.dead)
        queue: Any = ProcessLedger(edge.network, cast(Any, ground.queue))
        options = DialerOptions(URL, calls_per_second=10.0, calls_at_once=20, secret=ground.secret)
        self.dialer = Dialer(edge.name, queue, (client, client), options)
        auth = WebhookAuth(store, Policy.OFF, (), "", ())
        limits = OperatorLimits()
        hooks = Webhooks(edge.calls, store, Agents({}), auth, self.dialer, URL, ground.secret, limits=limits)
        self.orders = CallOrders(bus, store, self.dialer, limits)
        edge.calls.order = self.orders.receive
        transport = httpx.ASGITransport(app=Starlette(routes=hooks.routes()))
        self._http = httpx.AsyncClient(transport=transport, base_url=URL)

    async def post(self, path: str, fields: Mapping[str, str]) -> bytes:
        """The answer to a request of the carrier."""
        answer = await self._http.post(path, data=dict(fields))
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return answer.content
