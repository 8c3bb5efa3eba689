"""Runs the platform as real processes: Redis, two edges behind a balancer, two workers per pool, the vendors.

    async with Fleet(plan) as fleet: ...

`victim("stt")` is the member with the most calls; `heal` restarts processes that were killed or stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from benchmarks.chaos.balancer import Backend, Balancer
from benchmarks.chaos.children import Children
from benchmarks.chaos.egress import Egress
from benchmarks.chaos.orders import ShopReport
from benchmarks.chaos.sentences import GREETING
from benchmarks.chaos.shop import STAGE_S
from benchmarks.chaos.store import Store
from benchmarks.chaos.transfers import PERSONS
from common.agents.needs import needs_tools
from common.agents.reading import load_agents
from common.protocol.redis_keys import ALL_POOLS, POOLS, TOOLS_POOL
from tools.ports import free_port

READY_S = 30.0
ASK_S = 2.0
SECRETS = {
    "API_TOKEN": "chaos-api-token-placeholder",
    "STREAM_SECRET": "chaos-stream-secret-placeholder",
    "DEEPGRAM_API_KEY": "chaos-deepgram-key-placeholder",
    "OPENAI_API_KEY": "chaos-openai-key-placeholder",
}
"""Placeholders of secrets, which no log may contain."""
MODELS = {
    "stt": ("nova-3", "nova-2"),
    "llm": ("gpt-4o-mini", "gpt-4o"),
    "tts": ("aura-2-thalia-en", "aura-2-orion-en"),
}
"""First and second provider of each pool."""
AGENT = f"""
name: chaos
numbers: ["*"]
greeting: {GREETING}
instructions: Repeat what you are asked.
turn: {{min_interruption_ms: 160, endpointing_ms: 500}}
limits: {{call_s: 600, silence_s: 60}}
"""
SHOP = "http://shop"
"""Stands for the address of the shop (shop.py) in an agent's file."""
ORDERING_AGENT = f"""{AGENT}
tools:
  place_order:
    description: Places an order.
    parameters: {{order: {{}}}}
    timeout_s: 3
    filler_after_ms: 0
    http: {{url: {SHOP}/order, method: POST, private_hosts: [127.0.0.1]}}
"""
TRANSFERRING_AGENT = f"{AGENT}transfer:\n" + "".join(
    f'  {name}: {{number: "{number}", ring_s: 10}}\n' for name, number in PERSONS.items()
)


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """Options of a fleet.  `modules` are the programs of the workers, by pool."""

    logs: Path
    members: int = 2
    edges: int = 2
    sentinel: bool = False
    drain_seconds: int = 2
    more: tuple[tuple[str, str], ...] = ()
    """Further settings of every process."""
    ways_out: bool = False
    """Whether each worker has its own connection to the vendors, which can be cut."""
    modules: tuple[tuple[str, str], ...] = tuple((pool, f"workers.{pool}") for pool in ALL_POOLS)
    agent: str = AGENT
    """The file of the agent, named chaos.  If it has tools, the fleet runs the pool tools, too."""
    python: str = ""
    """The text of its Python file; empty: it has none."""


class NotReady(Exception):
    """A process ended while it started, or took too long; the text names it."""


class Fleet:
    """The platform, as an async context manager.  `url` is the balancer's address."""

    def __init__(self, plan: FleetPlan) -> None:
        self._plan = plan
        self._folder = tempfile.TemporaryDirectory(prefix="voice-chaos-")
        folder = Path(self._folder.name)
        (folder / "agents").mkdir()
        self._vendors_port, port = free_port(), free_port()
        agent = plan.agent.replace(SHOP, f"http://127.0.0.1:{self._vendors_port}/shop")
        (folder / "agents" / "chaos.yaml").write_text(agent)
        if plan.python:
            (folder / "agents" / "chaos.py").write_text(plan.python)
        with_tools = any(map(needs_tools, load_agents(folder / "agents").by_name.values()))
        self.pools = (*POOLS, TOOLS_POOL) if with_tools else POOLS
        self.url = f"http://127.0.0.1:{port}"
        self.children = Children(plan.logs, os.environ)
        self.store = Store(self.children, folder, plan.sentinel)
        self._ports = {name: free_port() for name in self.members()}
        workers = [name for pool in self.pools for name in self.members(pool)] if plan.ways_out else []
        self.ways_out = {name: Egress(free_port(), self._vendors_port) for name in workers}
        self.balancer = Balancer(port, [Backend(self._ports[name]) for name in self.members("edge")])
        self._settings = self._environ(folder / "agents")
        self._http = httpx.AsyncClient(timeout=ASK_S, trust_env=False)

    def members(self, kind: str = "") -> list[str]:
        """Return the names of all processes of a kind ("stt", "edge"), or of all kinds."""
        counts = {**dict.fromkeys(self.pools, self._plan.members), "edge": self._plan.edges}
        return [f"{one}-{n + 1}" for one in counts if kind in ("", one) for n in range(counts[one])]

    async def __aenter__(self) -> Self:
        try:
            await self.store.start()
            command = (sys.executable, "-m", "benchmarks.chaos.vendors", "--port", str(self._vendors_port))
            self.children.start("vendors", command)
            for way in self.ways_out.values():
                await way.open()
            for name in self.members():
                self.start(name)
            await self.ready()
            await self.balancer.__aenter__()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.balancer.__aexit__(kind, error, trace)
        await self._stop()

    async def _stop(self) -> None:
        await self._http.aclose()
        for way in self.ways_out.values():
            way.cut()
        await self.children.stop(self.members())
        await self.children.stop()
        self._folder.cleanup()

    def start(self, name: str) -> None:
        """Start a member under its former name and port."""
        kind = name.partition("-")[0]
        module = "edge" if kind == "edge" else dict(self._plan.modules)[kind]
        port = {"HTTP_PORT" if kind == "edge" else "METRICS_PORT": str(self._ports[name])}
        way = self._vendors_at(self.ways_out[name].port) if name in self.ways_out else {}
        self.children.start(name, (sys.executable, "-m", module), {**self._settings, **way, **port})

    async def ready(self, names: list[str] | None = None) -> None:
        """Wait until these members are ready.  Raises NotReady."""
        for name in names or self.members():
            try:
                async with asyncio.timeout(READY_S):
                    while not await self._is_ready(name):
                        if self.children.ended(name):
                            raise NotReady(f"{name} ended with code {self.children.code(name)} while it started")
                        await asyncio.sleep(0.05)
            except TimeoutError:
                raise NotReady(f"{name} was not ready within {READY_S:.0f} s") from None

    async def heal(self) -> list[str]:
        """Restart ended processes and wait until all are ready; return the ended ones.  Raises NotReady."""
        ended = [name for name in self.members() if self.children.ended(name)]
        for server in self.store.servers:
            if self.children.ended(server.name):
                ended.append(server.name)
                self.store.restart(server)
        await self.store.primary()
        for name in self.members():
            if self.children.ended(name):
                self.start(name)
        await self.ready()
        return ended

    async def victim(self, kind: str) -> str:
        """Return the member with the most calls; without calls, the first that answers."""
        held = {name: await self._calls(name) for name in self.members(kind)}
        return max(held, key=lambda name: held[name])

    async def calls_held(self) -> dict[str, int]:
        """Return the number of calls of every process; -1 without an answer."""
        return {name: await self._calls(name) for name in self.members()}

    def node(self, name: str) -> str:
        """Return a member's id on the bus, from the first lines of its log; "" if it is not there."""
        found = re.findall(
            rf"\b{name.partition('-')[0]}-[A-Za-z0-9-]+-[0-9a-f]{{8}}(?= is up)", self.children.log(name)
        )
        return found[-1] if found else ""

    async def break_down(self, *models: str) -> None:
        """Set the models that are down from now on."""
        await self._http.post(f"http://127.0.0.1:{self._vendors_port}/_down", json={"models": models})

    async def asked(self) -> dict[str, int]:
        """Return the number of chat requests for each sentence."""
        reply = await self._http.get(f"http://127.0.0.1:{self._vendors_port}/_asked")
        return dict(reply.json())

    async def open_shop(self) -> None:
        """Empty the orders of the shop."""
        await self._http.post(f"http://127.0.0.1:{self._vendors_port}/_shop")

    async def shop(self) -> ShopReport:
        """Return the orders of the shop, and what the model was told."""
        found = (await self._http.get(f"http://127.0.0.1:{self._vendors_port}/_shop")).json()
        return ShopReport(found["placed"], frozenset(found["shown"]), found["notes"])

    async def shop_reaches(self, stage: str) -> None:
        """Wait until an order comes to this stage, a few seconds at most."""
        await self._http.get(
            f"http://127.0.0.1:{self._vendors_port}/_shop/next", params={"stage": stage}, timeout=STAGE_S + ASK_S
        )

    async def transcript(self, call_id: str) -> str:
        """Return a finished call's events as the API sends them; "" if they cannot be read."""
        headers = {"authorization": f"Bearer {SECRETS['API_TOKEN']}"}
        text = ""
        with contextlib.suppress(httpx.HTTPError):
            async with self._http.stream("GET", f"{self.url}/v1/calls/{call_id}/events", headers=headers) as reply:
                async for piece in reply.aiter_text():
                    text += piece
        return text

    async def _is_ready(self, name: str) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return (await self._http.get(f"http://127.0.0.1:{self._ports[name]}/readyz")).status_code == 200
        return False

    async def metrics(self, name: str) -> str:
        """Return a member's /metrics; "" without an answer."""
        with contextlib.suppress(httpx.HTTPError):
            return (await self._http.get(f"http://127.0.0.1:{self._ports[name]}/metrics")).text
        return ""

    async def _calls(self, name: str) -> int:
        text = await self.metrics(name)
        found = re.search(r"^voice_calls_active\{.*\} ([0-9.e+]+)", text, re.MULTILINE)
        return int(float(found[1])) if found else 0 if text else -1

    def _vendors_at(self, port: int) -> dict[str, str]:
        return {"DEEPGRAM_BASE_URL": f"ws://127.0.0.1:{port}", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}

    def _environ(self, agents: Path) -> Mapping[str, str]:
        return {
            "PYTHONUNBUFFERED": "1",
            "REDIS_URL": self.store.url,
            "HTTP_HOST": "127.0.0.1",
            "PUBLIC_URL": self.url,
            "AGENTS_DIR": str(agents),
            "DRAIN_SECONDS": str(self._plan.drain_seconds),
            "CALLS_MAX": "60",
            "STT_PROVIDER": ",".join(f"deepgram/{model}" for model in MODELS["stt"]),
            "LLM_PROVIDER": ",".join(f"openai/{model}" for model in MODELS["llm"]),
            "TTS_PROVIDER": ",".join(f"deepgram/{model}" for model in MODELS["tts"]),
            **self._vendors_at(self._vendors_port),
            "WEBHOOK_SIGNATURES": "off",
            "VOBIZ_AUTH_ID": "",
            "VOBIZ_AUTH_TOKEN": "",
            **SECRETS,
            **dict(self._plan.more),
        }
