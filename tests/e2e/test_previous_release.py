"""Old and new processes side by side on one call: whichever is exchanged first, the caller notices nothing.

Above all nobody hears a reply that was prepared and is not the answer: the last release knows nothing of such replies,
and would play one.
"""

from pathlib import Path

import pytest

from common.protocol.messages import EagerUserTurn, ReplyDiscarded, ReplyReleased
from tests.e2e.two_releases import ROOT, Caller, answered, calling, deployed, streaming, unpacked

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.anyio]

PREVIOUS = "bddd80e"
"""The last release, 0.1.0; it becomes a tag's name with the first tag."""
ANSWERS = {
    "ask one": "It is one.",
    "ask two": "It is two.",
    "I want": "What do you want?",
    "I want tea": "Tea it is.",
    "I want milk": "Milk it is.",
}


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = unpacked(PREVIOUS, tmp_path_factory.mktemp("previous"))
    if tree is None:
        pytest.skip(f"the previous release, {PREVIOUS}, is not in this clone: git fetch --unshallow")
    return tree


def trees(edge: Path, stt: Path, llm: Path, tts: Path) -> dict[str, Path]:
    return {"edge": edge, "stt": stt, "llm": llm, "tts": tts}


async def asks(caller: Caller, what: str, answer: str) -> None:
    before = caller.line.heard()
    await caller.says(f"ask {what}")
    await caller.hears(answer)
    assert caller.line.heard().removeprefix(before).strip() == answer


async def hesitates(caller: Caller, drink: str, answer: str) -> None:
    """The pause is long enough for ears to think that this may be all, and too short for an end."""
    before = caller.line.heard()
    await caller.says("I want", 700, f" {drink}")
    await caller.hears(answer)
    assert caller.line.heard().removeprefix(before).strip() == answer


async def test_the_edge_is_old_and_the_workers_become_new_ears_first(
    old: Path, valkey_url: str, tmp_path: Path
) -> None:
    async with deployed(valkey_url, tmp_path, trees(old, old, old, old), ANSWERS) as system, calling(system) as caller:
        await system.roll("stt", ROOT)
        await hesitates(caller, "tea", "Tea it is.")
        await system.roll("llm", ROOT)
        await hesitates(caller, "milk", "Milk it is.")
        await system.roll("tts", ROOT)
        await hesitates(caller, "tea", "Tea it is.")
        transcript = await caller.transcript()
        assert any(isinstance(event, EagerUserTurn) for event in transcript), (
            "the new ears did think that this may be all"
        )
    assert system.complaints() == []


async def test_the_edge_is_new_and_the_workers_become_new_ears_first(
    old: Path, valkey_url: str, tmp_path: Path
) -> None:
    async with deployed(valkey_url, tmp_path, trees(ROOT, old, old, old), ANSWERS) as system, calling(system) as caller:
        await asks(caller, "one", "It is one.")
        await system.roll("stt", ROOT)
        await hesitates(caller, "tea", "Tea it is.")
        await system.roll("llm", ROOT)
        await hesitates(caller, "milk", "Milk it is.")
        await system.roll("tts", ROOT)
        await hesitates(caller, "tea", "Tea it is.")
        await asks(caller, "two", "It is two.")
        transcript = await caller.transcript()
        assert any(isinstance(event, ReplyDiscarded) for event in transcript), (
            "all are new now, and answers are prepared"
        )
        assert any(isinstance(event, ReplyReleased) for event in transcript)
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
