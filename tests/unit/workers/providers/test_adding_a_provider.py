"""A provider is one file and one line: here a whole one, used through the very table and failover of a process."""

from collections.abc import AsyncIterator, Mapping

import pytest

from workers.llm.engines.catalog import VENDORS
from workers.llm.model_chain import ModelChain
from workers.providers.catalog import Vendor, build_provider
from workers.providers.interfaces import Down, Piece
from workers.runtime.process import ProviderPool

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


# --- the file: workers/llm/parrot.py ---


class Parrot:
    """Says what it hears."""

    def __init__(self, word: str) -> None:
        self._word = word

    async def reply(self, dialogue, tools=(), said: str = "") -> AsyncIterator[Piece]:
        yield f"{self._word}: {dialogue[-1]['content']}"

    async def warm(self) -> None: ...

    async def aclose(self) -> None: ...


# --- the line in VENDORS ---

LINE = {"parrot": Vendor(lambda model, environ: Parrot(model), "parrot/<word>")}


def build(spec: str, environ: Mapping[str, str]):
    return build_provider("language model", spec, environ, {**VENDORS, **LINE})


class Broken(Parrot):
    async def reply(self, dialogue, tools=(), said: str = "") -> AsyncIterator[Piece]:
        raise Down("no voice today")
        yield ""


async def told(providers: ProviderPool, *specs: str) -> list[object]:
    model_chain = ModelChain(providers.choose(specs))
    return [event async for event in model_chain.reply([{"role": "user", "content": "hi"}], [], lambda: "", "call-1")]


async def test_it_is_built_asked_and_freed_like_every_other():
    providers = ProviderPool("llm", build, {})
    providers.check(["parrot/polly", "local/receptionist"])
    assert await told(providers, "parrot/polly", "local/receptionist") == ["polly: hi"]
    await providers.aclose()


async def test_it_takes_over_from_another_that_fails():
    LINE["broken"] = Vendor(lambda model, environ: Broken(model), "broken/<word>")
    try:
        assert (await told(ProviderPool("llm", build, {}), "broken/x", "parrot/polly"))[-1] == "polly: hi"
    finally:
        del LINE["broken"]


async def test_errors_name_it_among_the_known():
    with pytest.raises(ValueError, match="parrot/<word>"):
        build("nobody/knows", {})


async def test_a_provider_that_cannot_be_used_here_is_left_out_while_another_is_left():
    providers = ProviderPool("llm", build, {})
    assert [source.spec for source in providers.choose(["openai/gpt-4o-mini", "parrot/polly"]).sources] == [
        "parrot/polly"
    ]
    with pytest.raises(ValueError, match="OPENAI_API_KEY"):
        providers.choose(["openai/gpt-4o-mini"])
