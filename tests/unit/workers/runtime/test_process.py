"""A worker process whose way to its vendor is cut: its probe says so, it asks now and then, and is ready again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from common.settings import Settings
from tests.deadlines import WAIT_S
from tools.ports import free_port
from workers.providers.interfaces import Down, ProviderError
from workers.runtime.process import ProviderPool, serve

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

SPEC = "test/it"


class Vendor:
    """Answers, unless the way to it is cut."""

    cut = False

    async def warm(self) -> None: ...

    async def aclose(self) -> None: ...

    async def reply(self, dialogue: Any) -> AsyncIterator[str]:
        if self.cut:
            raise Down("no way out")
        yield "Yes."


async def asked(providers: ProviderPool[Any]) -> None:
    """A call asks for a reply."""
    source = providers.choose([SPEC]).choose(())
    assert source is not None
    with source.use() as use:
        async for _ in source.provider.reply(()):
            use.worked()


async def test_a_worker_without_a_way_out_is_not_ready_and_finds_out_when_it_is_again(valkey_url: str) -> None:
    vendor, port = Vendor(), free_port()
    providers: ProviderPool[Any] = ProviderPool("llm", lambda spec, environ: vendor, {})  # type: ignore[arg-type]
    settings = Settings(redis_url=valkey_url, metrics_port=port, llm_provider=SPEC)
    working = asyncio.create_task(serve("llm", settings, providers, lambda *about: None))  # type: ignore[arg-type]

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:

        async def until(status: int) -> str:
            async with asyncio.timeout(WAIT_S):
                while True:
                    assert not working.done(), working.exception()
                    try:
                        response = await http.get("/readyz")
                    except httpx.ConnectError:
                        response = httpx.Response(0)
                    if response.status_code == status:
                        return response.text
                    await asyncio.sleep(0.05)

        assert await until(200) == "ready\n"
        vendor.cut = True
        for _ in range(3):
            with pytest.raises(ProviderError):
                await asked(providers)
        assert await until(503) == "not ready: no provider can be reached\n"
        vendor.cut = False
        await until(200)  # no call asked, so the process did
    working.cancel()
    await asyncio.wait([working])
