"""The examples that act are phoned: an order is looked up, an appointment booked, keys pressed, a person rung.

The conversation is that of each README, the model is the stand-in with the example's `model.json`.
"""

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from common.protocol.acts import AgentChanged, KeysEntered, ToolsOffered, TransferCall
from common.protocol.redis_keys import call_events, edge_priority
from tests.calls.phone import CALL
from tests.examples.acting_phone import ActingPhone, acting_call
from tests.examples.agent_phone import EXAMPLES, example
from tests.examples.loop_with_threads import LoopWithThreads
from voice import Call, Failed
from voice.functions import described

pytestmark = [
    pytest.mark.processes,
    pytest.mark.anyio,
    pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": LoopWithThreads})], ids=["threads"]),
]
UNKNOWN = "The outcome is unknown: it may or may not have been done."
NOBODY_LISTENS = 1
"""A port."""


def module_of(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def order_service() -> Iterator[ThreadingHTTPServer]:
    """Answers at once: the virtual clock does not wait for another thread."""
    module = module_of(EXAMPLES / "order-status/service.py")
    module.ANSWER_S = 0.0
    service = module.server(0)
    serving = threading.Thread(target=service.serve_forever, daemon=True)
    serving.start()
    yield service
    service.shutdown()
    serving.join()
    service.server_close()


def offers_booking(phone: ActingPhone) -> None:
    """As the tools worker writes it that has read the clinic's Python file."""
    found = described(module_of(EXAMPLES / "clinic/clinic.py").book_appointment)
    function = {"name": found.name, "description": found.description, "parameters": found.parameters}
    offer = json.dumps([{"type": "function", "function": function}])
    phone.bus.publish(call_events(CALL), ToolsOffered("python", offer))


async def hangs_up(phone: ActingPhone) -> None:
    assert phone.line.stopped, "the agent hangs up after the farewell"
    phone.hangs_up()
    assert await phone.ended() == "agent hung up"


async def test_an_order_is_looked_up_at_the_service(
    order_service: ThreadingHTTPServer, capfd: pytest.CaptureFixture
) -> None:
    async with acting_call("order-status", runs_tools=True, port=order_service.server_port) as phone:
        await phone.plays(example("order-status"))
        await hangs_up(phone)
        (use,) = phone.tools_used
        assert (use.name, use.arguments, use.outcome) == ("order_status", '{"order": "4711"}', "done")
        assert "on its way" in use.result
    assert "asked for /orders/4711: on its way" in capfd.readouterr().out


async def test_without_the_service_the_caller_is_told_so() -> None:
    async with acting_call("order-status", runs_tools=True, port=NOBODY_LISTENS) as phone:
        await phone.plays(example("order-status"), until="The number")
        await phone.hears_about("I cannot find out about your order just now.")
        assert [use.outcome for use in phone.tools_used] == ["failed"]


async def test_a_menu_of_keys_hands_the_call_over_and_digits_are_collected() -> None:
    async with acting_call("keypad-menu") as phone:
        await phone.plays(example("keypad-menu"))
        await hangs_up(phone)
        assert [(event.keys, event.count) for event in phone.events if isinstance(event, KeysEntered)] == [
            ("1", 1), ("2", 1), ("4711", 4),
        ]  # fmt: skip
        assert [event.name for event in phone.events if isinstance(event, AgentChanged)] == ["billing"]
        assert [use.name for use in phone.tools_used] == ["transfer_to", "collect_digits"]
        first, later = phone.asked[0]["messages"][0], phone.asked[-1]["messages"][0]
        assert "You answer the phone of" in first["content"] and "You are the billing desk" in later["content"]


@pytest.mark.parametrize(
    ("outcome", "result", "heard"),
    [
        ("done", "Booked: doctor Shah at 15 o'clock.", "Your appointment is booked for tomorrow at three."),
        ("unknown", UNKNOWN, "I do not know whether it was booked."),
        ("failed", "The clinic is closed then.", "I could not book it. The clinic is closed then."),
    ],
)
async def test_the_clinic_says_what_became_of_the_booking(outcome: str, result: str, heard: str) -> None:
    async with acting_call("clinic") as phone:
        offers_booking(phone)
        await phone.plays(example("clinic"), until="My name")
        await phone.until(lambda: phone.tools_used, "the tool to be called")
        phone.tool_returns(result, outcome)
        await phone.hears_about(heard)
        system = phone.asked[0]["messages"][0]["content"]
        assert system.endswith("It is Monday, 30 November 2026, 06:23 (Asia/Kolkata).") and "{{" not in system


async def test_the_clinic_announces_the_transfer_and_goes_on_if_nobody_answers() -> None:
    async with acting_call("clinic") as phone:
        offers_booking(phone)
        orders: list[TransferCall] = []

        def receive(entry: str, message: object) -> None:
            if isinstance(message, TransferCall):
                orders.append(message)

        phone.bus.subscribe(edge_priority("edge-1"), receive, lambda error: None)
        one = example("clinic")
        await phone.plays(one, until="My name")
        await phone.until(lambda: phone.tools_used, "the tool to be called")
        phone.tool_returns("Booked.")
        await phone.hears_about("Your appointment is booked")
        await phone.does(one.lines[3][0])
        await phone.hears_about("I am connecting you to the reception. One moment, please.")
        await phone.until(lambda: orders, "the order")
        assert [(order.target, order.agent in ("", "clinic")) for order in orders] == [("reception", True)]
        phone.tool_returns("Nobody answered.", "failed")
        await phone.hears_about("Nobody answers at the reception.")


async def test_the_clinics_function_books_once_and_says_what_is_wrong(tmp_path: Path) -> None:
    clinic = module_of(EXAMPLES / "clinic/clinic.py")
    clinic.BOOK, clinic.CALENDAR_S = tmp_path / "book.txt", 0.0
    said: list[str] = []
    call = Call(key="call-1:2:0", speak=said.append)
    booked = {"day": "2026-12-01", "hour": 15, "name": "Sarah"}
    assert clinic.book_appointment(call, **booked).startswith("Booked: doctor Shah at 15 o'clock")
    assert clinic.BOOK.read_text() == "2026-12-01 15:00 shah Sarah call-1:2:0\n"
    assert said == ["I am writing it into the calendar."]
    with pytest.raises(Failed, match="open from 9 to 18"):
        clinic.book_appointment(call, **booked | {"hour": 7})
