"""The start of a worker: providers get ready within their own deadlines, and no fault of theirs is a traceback."""

import asyncio
from typing import Any

import pytest

from tests.clock import VirtualLoop
from workers.providers.interfaces import Down, Rejected
from workers.runtime.process import ProviderPool, _ready

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualLoop}


class Provider:
    """Gets ready in so many seconds, or fails."""

    def __init__(self, seconds: float = 0.0, error: Exception | None = None) -> None:
        self.seconds = seconds
        self.error = error
        self.warm_now = False

    async def warm(self) -> None:
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        self.warm_now = True

    async def aclose(self) -> None: ...


def providers(*made: Provider) -> tuple[ProviderPool[Any], list[str]]:
    by_spec = {f"test/{number}": provider for number, provider in enumerate(made)}
    return ProviderPool("llm", lambda spec, environ: by_spec[spec], {}), list(by_spec)


async def test_providers_get_ready_at_the_same_time():
    both = Provider(5.0), Provider(6.0)
    began = asyncio.get_running_loop().time()
    made, specs = providers(*both)
    await made.warm(specs)
    assert asyncio.get_running_loop().time() - began == pytest.approx(6.0, abs=0.1)
    assert all(provider.warm_now for provider in both)


@pytest.mark.parametrize("error", [AttributeError("data"), UnicodeError("idna"), KeyError("models"), OSError("no")])
async def test_whatever_a_provider_raises_is_a_line_of_the_log(error: Exception, caplog: pytest.LogCaptureFixture):
    made, specs = providers(Provider(error=error), Provider())
    await made.warm(specs)
    assert f"test/0 could not get ready ({type(error).__name__})" in caplog.text
    alone, specs = providers(Provider(error=error))
    with pytest.raises(Down, match="could not get ready"):
        await alone.warm(specs)


async def test_a_wrong_key_stops_the_start_though_another_provider_is_ready():
    made, specs = providers(Provider(), Provider(error=Rejected("the key")))
    with pytest.raises(Rejected, match="the key"):
        await made.warm(specs)


async def test_a_process_that_is_asked_to_stop_while_it_gets_ready_does_not_wait_for_that():
    slow = Provider(60.0)
    made, specs = providers(slow)
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(1.0, stop.set)
    began = asyncio.get_running_loop().time()
    async with _ready(made, specs, [], stop):
        assert stop.is_set() and not slow.warm_now
    assert asyncio.get_running_loop().time() - began == pytest.approx(1.0, abs=0.1)
