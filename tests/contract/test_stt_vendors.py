"""What every rented ear owes the call, and what it does when its vendor fails: each adapter with each fault.

The stand-ins speak the vendors' wire on loopback.  A caller's line ("......####......", 100 ms a sign) is fed at once,
as a replay is, and goes on in silence at six times the pace of time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from simulators.providers.faults import Fault, Kind
from tests.contract.stt_servers import BRIEF, KEY, LABS, PATIENT, Lab, Opened, line, opened, phone
from tests.deadlines import WAIT_S
from workers.providers.interfaces import (
    Busy,
    Down,
    EagerEndOfTurn,
    EndOfTurn,
    ListenOptions,
    ProviderError,
    Rejected,
    SpeechEnd,
    SpeechStart,
    SpeechToText,
    SttEvent,
    SttStream,
)

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

PATIENCE_S = WAIT_S
SENTENCE = "I would like to book an appointment."
SECOND = "For tomorrow at three."
CALL = "......############"
"""600 ms of silence, 1200 ms of speech; the line's silence follows."""
ONSET_MS = 300
"""So far off an onset may be: some vendors only say that speech began, not when."""
BRISK = ListenOptions(endpointing_ms=300)
HASTY = {**BRIEF, "connect_s": 0.5}
"""Less than the second that the fault "slow" takes to open."""
FAULT_S = 0.1
"""By then a fault has struck."""
EVERY_LAB = pytest.mark.parametrize("lab", LABS.values(), ids=LABS)
VENDORS = {name: lab for name, lab in LABS.items() if not lab.variant}
EVERY_VENDOR = pytest.mark.parametrize("lab", VENDORS.values(), ids=VENDORS)


def is_utterance(heard: SttEvent) -> bool:
    return isinstance(heard, EndOfTurn)


async def until(ear: SttStream, last: Callable[[SttEvent], bool] = is_utterance) -> list[SttEvent]:
    heard: list[SttEvent] = []
    async with asyncio.timeout(PATIENCE_S):
        async for event in ear:
            heard.append(event)
            if last(event):
                return heard
    raise AssertionError(f"the ear ended after {heard}")


async def sentence(
    ears: SpeechToText, strip: str = CALL, position_ms: int = 0, options: ListenOptions = BRISK
) -> list[SttEvent]:
    """What a fresh ear hears of a call, up to the utterance."""
    async with ears.listen(options) as ear, line(ear, strip, position_ms):
        return await until(ear)


def paired(heard: list[SttEvent]) -> bool:
    """Does every Onset have its one Offset before the next Onset and before the Utterance or the Likely?"""
    speaking = False
    for event in heard:
        match event:
            case SpeechStart() if not speaking:
                speaking = True
            case SpeechEnd() if speaking:
                speaking = False
            case EagerEndOfTurn() | EndOfTurn() if not speaking:
                pass  # silent, as it must be
            case _:
                return False
    return True


# --- all is well ----------------------------------------------------------------------------------------------------


@EVERY_LAB
async def test_a_sentence_is_heard_where_it_was_spoken(lab: Lab) -> None:
    async with opened(lab, SENTENCE) as vendor:
        heard = await sentence(vendor.ears, CALL, 40_000)
        await vendor.left_alone()
    start, end, near = 40_600, 41_800, lab.tolerance_ms
    onset, utterance = heard[0], heard[-1]
    assert paired(heard), heard
    assert isinstance(onset, SpeechStart) and abs(onset.position_ms - start) <= max(near, ONSET_MS)
    assert isinstance(utterance, EndOfTurn) and utterance.text == SENTENCE
    assert abs(utterance.start_ms - start) <= near and abs(utterance.end_ms - end) <= near
    assert onset.position_ms < utterance.end_ms <= utterance.decided_ms
    last_offset = [event for event in heard if isinstance(event, SpeechEnd)][-1]
    assert abs(last_offset.position_ms - end) <= near
    if lab.likely:
        assert [event.text for event in heard if isinstance(event, EagerEndOfTurn)][-1:] == [SENTENCE]


@EVERY_LAB
async def test_two_turns_come_in_order(lab: Lab) -> None:
    async with opened(lab, SENTENCE, SECOND) as vendor:
        strip = CALL + "..............." + "########"
        async with vendor.ears.listen(ListenOptions()) as ear, line(ear, strip):
            heard = await until(ear, lambda event: is_utterance(event) and event.text == SECOND)  # type: ignore[union-attr]
    spoken = [event for event in heard if isinstance(event, EndOfTurn)]
    assert [utterance.text for utterance in spoken] == [SENTENCE, SECOND] and paired(heard), heard
    assert abs(spoken[1].start_ms - 3_300) <= lab.tolerance_ms


@EVERY_LAB
async def test_a_short_pause_belongs_to_the_turn(lab: Lab) -> None:
    async with opened(lab, SENTENCE) as vendor:
        heard = await sentence(vendor.ears, "......######.######")
    assert [event.text for event in heard if isinstance(event, EndOfTurn)] == [SENTENCE]
    assert abs(heard[-1].end_ms - 1_900) <= lab.tolerance_ms  # type: ignore[union-attr]


@EVERY_LAB
async def test_missing_audio_shifts_no_position(lab: Lab) -> None:
    async with opened(lab, SENTENCE) as vendor:
        hole = " " * 30
        heard = await sentence(vendor.ears, "......" + hole + CALL)
    utterance = heard[-1]
    assert isinstance(utterance, EndOfTurn)
    assert abs(utterance.start_ms - 4_200) <= lab.tolerance_ms
    assert abs(utterance.end_ms - 5_400) <= lab.tolerance_ms


@EVERY_LAB
async def test_audio_that_comes_twice_is_heard_once(lab: Lab) -> None:
    async with opened(lab, SENTENCE) as vendor, vendor.ears.listen(ListenOptions()) as ear:
        phone(ear, CALL)
        async with line(ear, CALL):
            heard = await until(ear)
    assert abs(heard[-1].end_ms - 1_800) <= lab.tolerance_ms  # type: ignore[union-attr]


@EVERY_LAB
async def test_many_calls_at_once_do_not_mix(lab: Lab) -> None:
    async with opened(lab, SENTENCE) as vendor:
        calls = [sentence(vendor.ears, CALL, position_ms) for position_ms in range(0, 20_000, 1_000)]
        for number, heard in enumerate(await asyncio.gather(*calls)):
            utterance = heard[-1]
            assert isinstance(utterance, EndOfTurn) and utterance.text == SENTENCE
            assert abs(utterance.start_ms - 1_000 * number - 600) <= lab.tolerance_ms
        await vendor.left_alone()


# --- refused --------------------------------------------------------------------------------------------------------


@EVERY_VENDOR
@pytest.mark.parametrize(("kind", "error"), [("unauthorised", Rejected), ("busy", Busy), ("broken", Down)])
async def test_a_refusal_is_told_apart(lab: Lab, kind: Kind, error: type[ProviderError]) -> None:
    async with opened(lab, SENTENCE) as vendor:
        vendor.standin.faults.coming.append(Fault(kind))
        with pytest.raises(error) as caught:
            await sentence(vendor.ears)
        assert KEY not in str(caught.value) and "127.0.0.1" not in str(caught.value)
        assert (await sentence(vendor.ears))[-1].text == SENTENCE  # type: ignore[union-attr]


@EVERY_VENDOR
async def test_a_wrong_key_is_found_before_the_first_call(lab: Lab) -> None:
    async with opened(lab, SENTENCE) as vendor:
        await vendor.ears.warm()
        await vendor.left_alone()
        wrong = lab.ears(vendor.url, "another key", PATIENT)
        with pytest.raises(Rejected, match="does not accept the key"):
            await wrong.warm()
        with pytest.raises(Rejected, match="does not accept the key"):
            await sentence(wrong)
        vendor.standin.faults.coming.append(Fault("broken"))
        await vendor.ears.warm()  # down now is no reason to stop


@EVERY_VENDOR
async def test_a_server_that_is_not_there_or_does_not_answer_is_down(lab: Lab) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(Down, match="in time"):
                await sentence(lab.ears(url, KEY, HASTY))
    with pytest.raises(Down, match="cannot be reached"):
        await sentence(lab.ears(url, KEY, HASTY))


@EVERY_VENDOR
async def test_a_server_that_opens_too_slowly_is_down(lab: Lab) -> None:
    async with opened(lab, SENTENCE, deadlines=HASTY) as vendor:
        vendor.standin.faults.coming.append(Fault("slow"))
        with pytest.raises(Down, match="in time"):
            await sentence(vendor.ears)


# --- failing in the middle ------------------------------------------------------------------------------------------


@EVERY_VENDOR
@pytest.mark.parametrize(
    ("kind", "after"), [("close", 0), ("close", 3), ("stall", 2), ("half-dead", 2), ("malformed", 2), ("slow", 2)]
)
async def test_after_every_fault_a_fresh_ear_hears_the_whole_sentence(lab: Lab, kind: Kind, after: int) -> None:
    async with opened(lab, SENTENCE, deadlines=BRIEF) as vendor:
        vendor.standin.faults.coming.append(Fault(kind, after))
        if kind in lab.harmless:
            heard = await sentence(vendor.ears)
        else:
            with pytest.raises(Down):
                assert not is_utterance((await sentence(vendor.ears))[-1]), "the sentence was cut short"
            heard = await sentence(vendor.ears)
        assert [event.text for event in heard if isinstance(event, EndOfTurn)] == [SENTENCE]
        await vendor.left_alone()


@EVERY_VENDOR
async def test_a_turn_does_not_hang_on_a_final_that_never_comes(lab: Lab) -> None:
    async with opened(lab, SENTENCE, deadlines=BRIEF) as vendor:
        vendor.standin.faults.coming.append(Fault("no final"))
        heard = await sentence(vendor.ears)
        assert paired(heard), heard
        assert [event.text for event in heard if isinstance(event, EndOfTurn)] == [SENTENCE]
        assert abs(heard[-1].end_ms - 1_800) <= max(250, lab.tolerance_ms)  # type: ignore[union-attr]


@EVERY_VENDOR
async def test_a_turn_is_over_although_the_audio_stops(lab: Lab) -> None:
    async with opened(lab, SENTENCE, deadlines=BRIEF) as vendor, vendor.ears.listen(BRISK) as ear:
        phone(ear, CALL + ".")  # and nothing more: the edge is gone
        heard = await until(ear)
    words = heard[-1].text  # type: ignore[union-attr]
    assert words and SENTENCE.startswith(words)


@EVERY_VENDOR
async def test_leaving_frees_the_socket_at_once(lab: Lab) -> None:
    async with opened(lab, SENTENCE) as vendor:
        tasks = asyncio.all_tasks()
        async with vendor.ears.listen(ListenOptions()) as ear:
            phone(ear, CALL)
            await until(ear, lambda event: isinstance(event, SpeechStart))
            assert vendor.standin.open == 1
        await vendor.left_alone()
        assert {task for task in asyncio.all_tasks() - tasks if "stt stream" in task.get_name()} == set()
        ear.feed(10_000, b"\xff" * 160)  # late audio is ignored
        assert not any([is_utterance(event) async for event in ear])


@EVERY_VENDOR
@pytest.mark.parametrize("kind", [None, "half-dead"])
async def test_a_call_that_is_cancelled_frees_the_socket(lab: Lab, kind: Kind | None) -> None:
    async with opened(lab, SENTENCE) as vendor:
        if kind:
            vendor.standin.faults.coming.append(Fault(kind, 1))
        heard = asyncio.Event()

        async def call(vendor: Opened) -> None:
            async with vendor.ears.listen(ListenOptions()) as ear, line(ear, CALL):
                if kind is None:
                    await until(ear, lambda event: isinstance(event, SpeechStart))
                else:
                    await asyncio.sleep(FAULT_S)
                heard.set()
                await asyncio.Event().wait()

        calling = asyncio.create_task(call(vendor))
        async with asyncio.timeout(PATIENCE_S):
            await heard.wait()
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
            while vendor.standin.open:
                await asyncio.sleep(0.01)
