"""The caller enters a PIN: it is in no event, no log and no question to the model, whatever dies meanwhile."""

from __future__ import annotations

import pytest

from common.protocol.acts import KeepKeysSecret, KeysEntered
from common.protocol.messages import DtmfReceived
from common.protocol.redis_keys import edge_priority
from common.store.memory import MemoryCallStore
from common.telemetry import metrics
from tests.calls.keypad import PIN, agent, collecting, entered, results, told
from tests.calls.phone import CALL, answered_call
from workers.llm.conversation import STRAY_KEY
from workers.llm.tools.collect_digits import ONLY_KEYS

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


async def test_a_pin_is_in_no_event_no_question_to_the_model_and_no_log(caplog: pytest.LogCaptureFixture):
    answers = {"my account": f"Your PIN, please. {PIN}"}
    async with answered_call(answers, agent=agent()) as phone:
        words = "4 digits were entered; pass {{secret.pin}} as the argument."
        phone.mind.answers[f"[collect_digits has returned: {words}]"] = "I have it, thank you."
        await collecting(phone)
        await phone.hears("please.")
        await phone.silence()
        phone.mind.answers[f"[{STRAY_KEY.text}]"] = "Once more: I have it."
        for key in "83175":  # one too many
            phone.presses(key)
            await phone.after(0.3)
        await phone.hears("Once more: I have it.")
        assert results(phone) == [("done", words)]
        assert [event.digit for event in phone.events if isinstance(event, DtmfReceived)] == [""] * 5
        assert await phone.store.read_secret(CALL, "pin") == "8317"
        for text in (told(phone), repr(phone.events), caplog.text):
            assert not any(digit in text for digit in ("8317", "8 3 1 7"))
        assert [(event.keys, event.count) for event in phone.events if isinstance(event, KeysEntered)] == [("", 4)]
        await phone.after(4)
        phone.presses("6")
        await phone.until(lambda: "6" in entered(phone), "keys that are no secret any more")
        phone.hangs_up()
        await phone.ended()
        await phone.after(0.2)
        assert await phone.store.read_secret(CALL, "pin") == "", "gone with the call"


async def test_a_secret_survives_the_worker_and_the_connection():
    async with answered_call({"my account": f"Your PIN, please. {PIN}"}, agent=agent()) as phone:
        await collecting(phone)
        await phone.hears("please.")
        await phone.silence()
        phone.presses("83")
        dead = phone.worker("llm")
        phone.hire("llm")
        await dead.kill()
        await phone.after(2.5)
        await phone.edge_dies()
        await phone.after(0.5)
        phone.presses("17")
        await phone.until(lambda: results(phone), "the result")
        assert results(phone)[0][0] == "done"
        assert await phone.store.read_secret(CALL, "pin") == "8317"
        assert {event.digit for event in phone.events if isinstance(event, DtmfReceived)} == {""}


async def test_a_second_pin_has_a_name_of_its_own():
    words = "4 digits were entered; pass {{secret.pin}} as the argument."
    answers = {"my account": f"Your PIN. {PIN}", f"[collect_digits has returned: {words}]": f"Once more. {PIN}"}
    async with answered_call(answers, agent=agent()) as phone:
        await collecting(phone)
        await phone.hears("PIN.")
        await phone.silence()
        phone.presses("8317")
        await phone.hears("Once more.")
        await phone.silence()
        phone.presses("8318")
        await phone.until(lambda: len(results(phone)) == 2, "both results")
        assert "{{secret.pin_2}}" in results(phone)[1][1]
        assert await phone.store.read_secret(CALL, "pin") == "8317"
        assert await phone.store.read_secret(CALL, "pin_2") == "8318"


async def test_a_pin_that_is_spoken_does_not_count_and_the_model_is_not_told_it():
    async with answered_call({"my account": f"Your PIN, please. {PIN}"}, agent=agent()) as phone:
        await collecting(phone)
        await phone.hears("please.")
        await phone.silence()
        await phone.says("eight three one seven")
        await phone.until(lambda: results(phone), "the result")
        assert results(phone) == [("failed", ONLY_KEYS)]
        await phone.until(lambda: len(phone.mind.asked) == 2, "the model to be asked")
        assert "eight three" not in told(phone)


async def test_a_digit_that_cannot_be_stored_is_dropped_and_counted_and_the_agent_asks_again():
    class Away(MemoryCallStore):
        async def add_secret_key(self, key: object) -> bool:
            raise ConnectionError("away")

    lost = metrics.SECRET_KEYS_LOST._value.get()
    async with answered_call({"my account": f"Your PIN, please. {PIN}"}, agent=agent()) as phone:
        await collecting(phone)
        await phone.hears("please.")
        await phone.silence()
        phone.call.secret_keys.store = Away(phone.streams)
        phone.presses("8317")
        await phone.until(lambda: results(phone), "the result")
        assert results(phone)[0][0] == "timeout"
        assert metrics.SECRET_KEYS_LOST._value.get() - lost == 4
        assert not any(isinstance(event, DtmfReceived) for event in phone.events)


async def test_an_order_of_a_worker_that_was_replaced_ends_no_secrecy():
    async with answered_call({"my account": f"Your PIN, please. {PIN}"}, agent=agent()) as phone:
        await collecting(phone)
        await phone.hears("please.")
        await phone.silence()
        phone.bus.publish(edge_priority("edge-1"), KeepKeysSecret(CALL, 0, 1, "", 0))
        await phone.after(0.1)
        phone.presses("8")
        await phone.until(lambda: any(isinstance(event, DtmfReceived) for event in phone.events), "the key")
        assert [event.digit for event in phone.events if isinstance(event, DtmfReceived)] == [""]
