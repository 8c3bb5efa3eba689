"""The tools pool in a call: each tool is run once whoever dies, its result is told, and what is not known is said."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from common.agents.tools import Tool
from common.protocol.acts import ToolReturned, ToolSays, ToolsCalled, ToolsOffered
from common.protocol.messages import CallEnded
from common.store.effects import Effect, EffectState
from tests.calls.tool_pool import CALL, Shop, ToolPool
from workers.tools.interfaces import CallableTool, ToolRequest
from workers.tools.outcomes import UNKNOWN

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


@pytest.fixture
async def opened() -> AsyncIterator[Callable]:
    pools: list[ToolPool] = []

    async def open_pool(*tools: CallableTool, **more: str) -> ToolPool:
        pools.append(await ToolPool.open(*tools, **more))
        return pools[-1]

    yield open_pool
    for pool in pools:
        await pool.close()


def outcomes(results: list[ToolReturned]) -> list[tuple[int, str, str]]:
    return [(result.n, result.outcome, result.result) for result in results]


async def test_a_tool_is_run_and_its_result_is_in_the_log(opened: Callable):
    shop = Shop()
    pool = await opened(shop.tool())
    pool.hire()
    pool.calls("book")
    (result,) = await pool.returned(1)
    assert (result.outcome, result.result, result.took_ms) == ("done", "order 1", 1000)
    assert shop.orders == [f"{CALL}:2:0"]
    assert shop.arguments == [{"day": "Monday"}]


STATES = {
    # where the member dies -> (orders, outcome) of a tool that may not be repeated
    "before begin": (1, "done"),
    "after begin": (0, "unknown"),
    "before finish": (1, "unknown"),
    "after finish": (1, "done"),
    "before write": (1, "done"),
    "after write": (1, "done"),
}


@pytest.mark.parametrize("dies", STATES)
async def test_a_member_dies_in_a_state_of_the_tool(opened: Callable, dies: str):
    shop = Shop()
    pool = await opened(shop.tool())
    dead = pool.hire(dies)
    pool.calls("book")
    await asyncio.sleep(2)
    assert dead.store.dead, "it died where it should"
    pool.hire()
    ((n, outcome, text),) = outcomes(await pool.returned(1))
    await asyncio.sleep(5)
    assert (len(shop.orders), outcome) == STATES[dies]
    assert n == 0 and (text == UNKNOWN if outcome == "unknown" else text == "order 1")


@pytest.mark.parametrize("seconds", [0.3, 0.8])
async def test_a_member_dies_while_the_tool_runs(opened: Callable, seconds: float):
    shop = Shop()
    pool = await opened(shop.tool())
    dead = pool.hire()
    pool.calls("book")
    await asyncio.sleep(seconds)
    await dead.kill()
    pool.hire()
    assert outcomes(await pool.returned(1)) == [(0, "unknown", UNKNOWN)]
    await asyncio.sleep(5)
    assert len(shop.orders) == (1 if seconds > 0.5 else 0)


@pytest.mark.parametrize("dies", STATES)
async def test_a_repeatable_tool_is_run_again_with_the_same_key(opened: Callable, dies: str):
    shop = Shop(repeatable=True)
    pool = await opened(shop.tool())
    pool.hire(dies)
    pool.calls("book")
    await asyncio.sleep(2)
    pool.hire()
    ((_, outcome, _),) = outcomes(await pool.returned(1))
    await asyncio.sleep(5)
    assert outcome == "done"
    assert set(shop.orders) == {f"{CALL}:2:0"}
    assert len(shop.orders) == (2 if dies == "before finish" else 1)


async def test_a_member_that_is_told_to_go_finishes_its_tools_and_the_next_one_has_the_result(opened: Callable):
    shop = Shop()
    shop.seconds = 6.0
    pool = await opened(shop.tool())
    leaving = pool.hire()
    pool.calls("book")
    await asyncio.sleep(1)
    pool.hire()
    await leaving.stop()
    ((_, outcome, text),) = outcomes(await pool.returned(1))
    assert (outcome, text, len(shop.orders)) == ("done", "order 1", 1)


async def test_a_member_that_goes_and_dies_on_the_way_leaves_an_unknown_outcome(opened: Callable):
    shop = Shop(timeout_s=10)
    shop.seconds = 6.0
    pool = await opened(shop.tool())
    leaving = pool.hire()
    pool.calls("book")
    await asyncio.sleep(1)
    pool.hire()
    going = asyncio.create_task(leaving.stop())
    await asyncio.sleep(1)
    await leaving.kill()
    await going
    assert outcomes(await pool.returned(1)) == [(0, "unknown", UNKNOWN)]


async def test_a_member_that_froze_and_was_replaced_writes_no_result(opened: Callable):
    shop = Shop()
    shop.seconds = 4.0
    pool = await opened(shop.tool())
    frozen = pool.hire()
    pool.calls("book")
    await asyncio.sleep(1)
    frozen.store.away = True  # cut off from Redis; its tool goes on
    pool.hire()
    assert outcomes(await pool.returned(1)) == [(0, "unknown", UNKNOWN)]
    await asyncio.sleep(5)
    frozen.store.away = False
    await asyncio.sleep(5)
    assert [each.outcome for each in pool.events if isinstance(each, ToolReturned)] == ["unknown"]
    assert len(shop.orders) == 1


@pytest.mark.parametrize("seconds", [0.0, 0.6])
async def test_redis_is_away_for_a_while_and_the_tool_is_run_once(opened: Callable, seconds: float):
    """Before the tool begins, or when its result is to be recorded."""
    shop = Shop()
    pool = await opened(shop.tool())
    member = pool.hire()
    await asyncio.sleep(1)
    pool.calls("book")
    await asyncio.sleep(seconds)
    member.store.away = True
    await asyncio.sleep(4)
    member.store.away = False
    ((_, outcome, text),) = outcomes(await pool.returned(1))
    assert (outcome, text, len(shop.orders)) == ("done", "order 1", 1)


async def test_an_order_is_finished_although_the_caller_has_hung_up(opened: Callable):
    shop = Shop()
    shop.seconds = 8.0
    pool = await opened(shop.tool())
    pool.hire()
    pool.calls("book")
    await asyncio.sleep(1)
    pool.says(CallEnded(1, "caller hung up", 0))
    await pool.store.end(CALL, "caller hung up")
    await asyncio.sleep(10)
    assert len(shop.orders) == 1
    known = await pool.store.begin_effect(Effect(CALL, 2, 0))
    assert (known.state, known.result) == (EffectState.DONE, "done\norder 1")


async def test_no_tool_is_begun_once_the_call_is_over(opened: Callable):
    shop = Shop()
    pool = await opened(shop.tool())
    pool.says(CallEnded(1, "caller hung up", 0))
    pool.calls("book")
    pool.hire()
    await asyncio.sleep(3)
    assert shop.orders == []


async def test_tools_of_one_round_run_side_by_side_unless_one_wants_to_be_alone(opened: Callable):
    shop = Shop()
    pool = await opened(shop.tool("a"), shop.tool("b"), shop.tool("c"))
    pool.hire()
    pool.calls("a", "b", "c")
    await pool.returned(3)
    assert shop.most_at_once == 3
    alone = Shop(parallel=False)
    pool.shelf = type(pool.shelf)({"a": shop.tool("a"), "x": alone.tool("x"), "y": alone.tool("y")})
    pool.members[0].stopping.set()
    pool.hire()
    shop.most_at_once = 0
    pool.calls("a", "x", "y", "a", turn=3)
    results = await pool.returned(7)
    assert [result.n for result in results[3:]] == [0, 1, 2, 3], "in order"
    assert (shop.most_at_once, alone.most_at_once) == (1, 1)


async def test_a_tool_that_hangs_ends_at_its_timeout_and_the_others_do_not_wait(opened: Callable):
    slow, shop = Shop(timeout_s=3), Shop()
    slow.seconds = 1e6
    pool = await opened(slow.tool("slow"), shop.tool())
    pool.hire()
    pool.calls("slow", "book")
    (first, second) = await pool.returned(2)
    assert (first.n, first.outcome, first.took_ms) == (1, "done", 1000)
    assert (second.n, second.outcome, second.took_ms) == (0, "timeout", 3000)
    assert "within 3 seconds" in second.result and "do not try again" in second.result


async def test_what_cannot_be_run_is_told(opened: Callable):
    shop = Shop()
    pool = await opened(shop.tool())
    pool.hire()
    pool.calls("fly", "book", "end_call", arguments="{")
    results = await pool.returned(2)
    assert [(each.n, each.outcome) for each in sorted(results, key=lambda each: each.n)] == [
        (0, "refused"), (1, "refused"),
    ]  # fmt: skip
    assert shop.orders == []


async def test_what_the_llm_worker_has_refused_is_not_run(opened: Callable):
    shop = Shop()
    pool = await opened(shop.tool())
    pool.hire()
    await asyncio.sleep(1)
    pool.says(ToolsCalled(2, 0, (("id", "book", "{}"),), 1))
    pool.says(ToolReturned(2, 0, "refused", "Not done again."))
    await asyncio.sleep(3)
    assert shop.orders == []


async def test_a_tool_may_speak_while_it_runs_and_see_its_call(opened: Callable):
    seen: list[ToolRequest] = []

    async def look(request: ToolRequest) -> str:
        seen.append(request)
        for number in range(3):
            request.say(f"Still looking {number}.")
            await asyncio.sleep(0.5)
        return "found"

    pool = await opened(CallableTool("look", "python", Tool(), "", {"type": "object", "properties": {}}, look))
    pool.hire()
    pool.calls("look", arguments="")
    await pool.returned(1)
    said = [(each.turn, each.n, each.text) for each in pool.events if isinstance(each, ToolSays)]
    assert said == [(2, 0, "Still looking 0."), (2, 0, "Still looking 1."), (2, 0, "Still looking 2.")]
    context = seen[0].context
    assert (context.agent, context.caller, context.called) == ("shop", "911234567890", "911234567891")
    assert context.variables == {"town": "Pune"}


async def test_an_offer_is_written_once_for_a_call_and_again_when_it_changes(opened: Callable):
    pool = await opened(Shop().tool(), offer="[1]")
    dead = pool.hire()
    await asyncio.sleep(1)
    await dead.kill()
    pool.hire()
    await asyncio.sleep(5)
    assert [each.tools for each in pool.events if isinstance(each, ToolsOffered)] == ["[1]"]
    pool.shelf.offer = "[1, 2]"
    pool.calls("book")
    await pool.returned(1)
    assert [each.tools for each in pool.events if isinstance(each, ToolsOffered)] == ["[1]", "[1, 2]"]


async def test_an_error_of_an_engine_is_told_and_harms_nobody(opened: Callable):
    async def breaks(request: ToolRequest) -> str:
        raise ZeroDivisionError("a secret")

    broken = CallableTool("broken", "mcp", Tool(), "", {"type": "object", "properties": {}}, breaks)
    shop = Shop()
    pool = await opened(broken, shop.tool())
    pool.hire()
    pool.calls("broken", "book")
    results = {each.n: each for each in await pool.returned(2)}
    assert (results[0].outcome, results[1].outcome) == ("failed", "done")
    assert "secret" not in results[0].result
