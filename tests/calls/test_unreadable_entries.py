"""Somebody writes what is no message into every stream of a live call, and the caller notices nothing."""

from __future__ import annotations

import json

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.bus import START
from common.call.resume import ListeningPosition
from common.protocol.messages import UserTurn
from common.protocol.redis_keys import POOLS, call_audio, call_events, edge_audio, edge_priority, pool_calls
from tests.calls.phone import CALL, Phone, answered_call
from tests.fuzz.garbage import RAWS, unreadable
from tests.hypothesis_profile import examples

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

STREAMS = (
    call_audio(CALL),
    call_events(CALL),
    edge_audio("edge-1"),
    edge_priority("edge-1"),
    *map(pool_calls, POOLS),
)
ANSWERS = {"hours": "Nine to six.", "thanks": "You are welcome."}


async def goes_on(phone: Phone) -> None:
    """The caller is heard, and answered, and nothing of any process has ended."""
    before = phone.heard
    await phone.says("hours")
    await phone.hears("Nine to six.")
    await phone.silence()
    await phone.says("thanks")
    await phone.hears("You are welcome.")
    assert phone.heard == f"{before}Nine to six.You are welcome."
    assert not phone.call.lifecycle.over
    assert not any(worker.task.done() for worker in phone.workers)
    assert phone.still_running


@pytest.mark.parametrize(
    "entry",
    [
        msgpack.packb([70, {"call-1": 1}, "error"]),
        msgpack.packb([80, {"call-1": 1}]),
        msgpack.packb([60, [CALL], 1, 1, 1, 0, 0, b"\xff" * 160]),
        msgpack.packb([51, 1, 2**62]),
        msgpack.packb([2, 1, float("nan"), float("nan"), b"\xff" * 160]),
    ],
    ids=["hang-up of a map", "offer of a map", "audio of a list", "a clause beyond all", "a frame at no time"],
)
async def test_an_entry_of_another_shape_ends_no_process(entry: bytes) -> None:
    async with answered_call(ANSWERS) as phone:
        await phone.hears("Hello.")
        for stream in STREAMS:
            phone.streams.append_raw(stream, entry)
        await phone.after(1)
        await goes_on(phone)


async def test_a_known_list_of_everything_ends_no_process() -> None:
    async with answered_call(ANSWERS) as phone:
        await phone.hears("Hello.")
        for raw in RAWS:
            for stream in STREAMS:
                phone.streams.append_raw(stream, raw)
        await phone.after(1)
        await goes_on(phone)


@given(st.lists(st.tuples(st.sampled_from(STREAMS), unreadable(CALL, "edge-1")), min_size=20, max_size=60))
@settings(max_examples=examples(8), deadline=None, suppress_health_check=list(HealthCheck))
async def test_whatever_nobody_can_read_harms_nobody(entries: list[tuple[str, bytes]]) -> None:
    async with answered_call(ANSWERS) as phone:
        await phone.hears("Hello.")
        for stream, raw in entries:
            phone.streams.append_raw(stream, raw)
        await phone.after(1)
        await goes_on(phone)


@pytest.mark.parametrize(
    "checkpoint",
    ["{", "[]", "null", "[" * 10_000, '{"utterance": "one"}', '{"utterance": -1}', '{"utterance": 1, "entry": "$"}',
     '{"utterance": 1, "entry": ["0-0"]}', '{"utterance": NaN}', '{"utterance": 1e999}', '"\\ud800"', "\ud800"],
)  # fmt: skip
async def test_a_checkpoint_that_nobody_can_read_is_the_start_of_the_call(checkpoint: str) -> None:
    assert ListeningPosition.of(checkpoint) == ListeningPosition(0, START)


async def test_a_checkpoint_of_another_release_is_read() -> None:
    assert ListeningPosition.of(json.dumps({"utterance": 3, "entry": "17-0", "more": [1]})) == ListeningPosition(
        3, "17-0"
    )
    assert json.loads(ListeningPosition(3, "17-0").checkpoint()) == {"utterance": 3, "entry": "17-0"}


async def test_ears_that_take_over_with_such_a_checkpoint_hear_the_caller() -> None:
    async with answered_call(ANSWERS) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Nine to six.")
        phone.leaves_checkpoint("stt", '{"utterance": 1, "entry": "nowhere"}')
        dead = phone.worker("stt")
        phone.hire("stt")
        await dead.kill()
        await phone.after(3)
        await phone.says("thanks")
        await phone.hears("You are welcome.")
        assert [said.text for said in phone.events if isinstance(said, UserTurn)][-1] == "thanks"
