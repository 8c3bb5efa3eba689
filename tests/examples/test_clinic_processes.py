"""The clinic as real processes: the tools worker is killed while it books, and the reception answers or does not.

The vendors are the stand-ins, the caller and both telephones are the simulated carrier's; everything else is what
`make run` starts.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.bus.redis import BusOptions, RedisBus
from common.call.transcript import CallTranscript
from common.protocol.acts import TransferUpdated
from common.protocol.messages import CallEnded, Message
from common.protocol.redis_keys import call_events
from simulators.carrier import Callee, Carrier, CarrierOptions
from simulators.carrier.record import CallRecord
from simulators.script import Say, Step, Wait, WaitForAgent, WaitForHangUp
from tests.examples.agent_phone import EXAMPLES
from tools.fake_providers import fake_providers
from tools.stack import WORKERS, Stack, StackOptions

pytestmark = [
    pytest.mark.processes,
    pytest.mark.slow,
    pytest.mark.anyio,
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),  # not the virtual clock of this folder
]

RECEPTION, OURS = "+911234567892", "+911234567890"
RINGING_SCALE = 0.2
CALL_S = 120.0
TOLD_S = 20.0
"""Within this time the agent tells the caller what became of a booking whose worker died."""
BOOKS: tuple[Step, ...] = (
    WaitForAgent(800, 30_000),
    Say("book-appointment"),
    WaitForAgent(1000),
    Say("tomorrow-at-three"),
    WaitForAgent(1000),
    Say("my-name-is-sarah"),
)
SAYS_GOODBYE: tuple[Step, ...] = (WaitForAgent(1500), Say("goodbye"), WaitForHangUp())


@dataclass
class Clinic:
    stack: Stack
    carrier: Carrier
    book: Path

    def phone(self, *script: Step) -> CallRecord:
        return self.carrier.phone(
            f"{self.stack.url}/answer", hangup_url=f"{self.stack.url}/hangup", callee=Callee(script=script)
        )

    async def log(self, call: CallRecord) -> list[Message]:
        async with RedisBus.connect(BusOptions(self.stack.redis_url, "test")) as bus:
            return [message for _, message in await bus.read(call_events(call.call_id))]

    @property
    def booked(self) -> list[str]:
        return self.book.read_text().splitlines() if self.book.exists() else []


@asynccontextmanager
async def clinic(folder: Path, reception: Callee) -> AsyncIterator[Clinic]:
    book = folder / "book.txt"
    options = CarrierOptions(callees={RECEPTION: reception}, numbers=(OURS,), time_scale=RINGING_SCALE)
    async with fake_providers(EXAMPLES / "clinic/model.json") as providers:
        environ = {"PATH": os.environ["PATH"], "HOME": str(folder), **providers}
        environ |= {"AGENTS_DIR": str(EXAMPLES / "clinic"), "CLINIC_BOOK": str(book)}
        stack = Stack(StackOptions(environ, logs=folder / "logs", workers=(*WORKERS, "tools")))
        async with stack, Carrier(options) as carrier:
            yield Clinic(stack, carrier, book)


def transcript_of(log: list[Message]) -> CallTranscript:
    transcript = CallTranscript()
    for message in log:
        transcript.receive(message)
    return transcript


def states_of(log: list[Message]) -> list[str]:
    return [message.state for message in log if isinstance(message, TransferUpdated)]


async def test_an_appointment_is_booked_and_the_reception_answers(tmp_path: Path) -> None:
    talks = Callee(ring_ms=4_000, talk_ms=25_000)  # 5 s by the scaled clock: a talk of 3 s would count as none
    async with clinic(tmp_path, talks) as at:
        call = at.phone(*BOOKS, WaitForAgent(3000), Say("reception"), Wait(60_000))
        await call.over(CALL_S)
        log = await at.log(call)
        (tool, transfer) = [use for exchange in transcript_of(log).exchanges for use in exchange.tools]
        assert (tool.name, tool.outcome, tool.result.partition(":")[0]) == ("book_appointment", "done", "Booked")
        assert (transfer.name, transfer.outcome) == ("transfer_call", "done")
        assert states_of(log) == ["asked", "dialled", "answered", "joined", "over"]
        assert [leg["status"] for leg in call.dialled] == ["completed"]
        assert len(at.booked) == 1
        assert call.failures == []


async def test_its_worker_is_killed_while_it_books_and_the_reception_does_not_answer(tmp_path: Path) -> None:
    async with clinic(tmp_path, Callee("no-answer")) as at:
        told = Wait(TOLD_S * 1000)
        call = at.phone(*BOOKS, told, WaitForAgent(1000), Say("reception"), Wait(60_000), *SAYS_GOODBYE)
        async with asyncio.timeout(CALL_S):
            while not at.booked:
                await asyncio.sleep(0.05)
        at.stack.kill("tools", signal.SIGKILL)  # within the two seconds that the calendar takes to confirm
        at.stack.start("tools-2")
        await call.over(CALL_S)
        log = await at.log(call)
        exchanges = transcript_of(log).exchanges
        (tool, transfer) = [use for exchange in exchanges for use in exchange.tools]
        assert (tool.outcome, transfer.outcome, transfer.result) == ("unknown", "failed", "Nobody answered.")
        assert len(at.booked) == 1, "once"
        heard = " ".join(exchange.heard for exchange in exchanges)
        assert "I do not know whether it was booked." in heard
        assert heard.index("Nobody answers at the reception.") > heard.index("I am connecting you")
        assert states_of(log) == ["asked", "dialled", "failed"]
        assert [message.reason for message in log if isinstance(message, CallEnded)] == [
            "transferred", "agent hung up",
        ]  # fmt: skip
        assert call.failures == []
