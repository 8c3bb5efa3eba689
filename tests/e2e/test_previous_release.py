"""Processes of this release and of the last one on one call: whichever is exchanged first, the caller notices nothing.

Above all nobody hears a reply that was prepared and is not the answer.
"""

from pathlib import Path

import pytest

from common.protocol.messages import EagerUserTurn, ReplyDiscarded, ReplyReleased
from tests.e2e.two_releases import ROOT, Caller, answered, calling, deployed, newest_release, streaming, unpack

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.anyio]

ANSWERS = {
    "ask one": "It is one.",
    "ask two": "It is two.",
    "I want": "What do you want?",
    "I want tea": "Tea it is.",
    "I want milk": "Milk it is.",
}


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tag = newest_release()
    if not tag:
        pytest.skip("no release is tagged yet, or this clone has no tags: git fetch --tags --unshallow")
    return unpack(tag, tmp_path_factory.mktemp("previous"))


def trees(edge: Path, stt: Path, llm: Path, tts: Path) -> dict[str, Path]:
    return {"edge": edge, "stt": stt, "llm": llm, "tts": tts}


async def asks(caller: Caller, what: str, answer: str) -> None:
    before = caller.line.heard()
    await caller.says(f"ask {what}")
    await caller.hears(answer)
    assert caller.line.heard().removeprefix(before).strip() == answer


async def hesitates(caller: Caller, drink: str, answer: str) -> None:
    """The pause is long enough for an eager end of turn, and too short for an end of turn."""
    before = caller.line.heard()
    await caller.says("I want", 700, f" {drink}")
    await caller.hears(answer)
    assert caller.line.heard().removeprefix(before).strip() == answer


@pytest.mark.parametrize("edge", ["old", "new"])
async def test_the_workers_become_new_in_the_wrong_order(edge: str, old: Path, valkey_url: str, tmp_path: Path) -> None:
    first = trees(old if edge == "old" else ROOT, old, old, old)
    async with deployed(valkey_url, tmp_path, first, ANSWERS) as system, calling(system) as caller:
        await asks(caller, "one", "It is one.")
        await system.roll("stt", ROOT)
        await hesitates(caller, "tea", "Tea it is.")
        await system.roll("llm", ROOT)
        await hesitates(caller, "milk", "Milk it is.")
        await system.roll("tts", ROOT)
        await hesitates(caller, "tea", "Tea it is.")
        await asks(caller, "two", "It is two.")
        transcript = await caller.transcript()
        for kind in (EagerUserTurn, ReplyDiscarded, ReplyReleased):
            assert any(isinstance(event, kind) for event in transcript), f"no {kind.__name__}: nothing was prepared"
    assert system.complaints() == []


async def test_one_worker_is_new_and_goes_back_to_what_it_was(old: Path, valkey_url: str, tmp_path: Path) -> None:
    async with deployed(valkey_url, tmp_path, trees(old, old, ROOT, old), ANSWERS) as system, calling(system) as caller:
        await asks(caller, "one", "It is one.")
        await system.roll("llm", old)
        await system.roll("tts", ROOT)
        await asks(caller, "two", "It is two.")
        await system.roll("tts", old)
        await asks(caller, "one", "It is one.")
    assert system.complaints() == []


@pytest.mark.parametrize("first", ["old", "new"])
async def test_a_call_goes_from_an_edge_to_one_of_the_other_release(
    first: str, old: Path, valkey_url: str, tmp_path: Path
) -> None:
    """Answered by one, with its stream at the other, and after a broken connection back at the first."""
    one, other = (old, ROOT) if first == "old" else (ROOT, old)
    async with deployed(valkey_url, tmp_path, {**trees(one, ROOT, ROOT, ROOT), "edge-2": other}, ANSWERS) as system:
        path = await answered(system, "edge", "call-1")
        async with streaming(system, "edge-2", path, "call-1") as caller:
            await caller.hears("Hello.")
            await hesitates(caller, "tea", "Tea it is.")
            await caller.is_answered()
        async with streaming(system, "edge", path, "call-1") as caller:
            await hesitates(caller, "milk", "Milk it is.")
            await asks(caller, "one", "It is one.")
    assert system.complaints() == []
