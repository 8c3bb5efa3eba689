"""One call at the simulated carrier: of a caller, or of a person who is rung."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.persons import RungPerson

NORMAL = "4000"


@dataclass(slots=True, eq=False)
class CarrierLeg:
    """One call at the carrier, of a caller or of a person."""

    call_id: str
    fields: dict[str, str]
    person: RungPerson | None = None
    hangup_url: str = "/hangup"
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """The room that it was in has ended."""
    goto: str = ""
    """Where REST has sent it."""
    doing: asyncio.Task[Any] | None = None
    cause: str = NORMAL
    answered: bool = False
    transferred: bool = False
    """It has left its stream for a person."""
    talked_s: float = 0.0
    """How long caller and person have heard each other, at most."""
    token: str = ""
    """Of the stream that is next."""
    rooms: set[str] = field(default_factory=set)
    """In which it has been."""

    def hang_up(self, cause: str = NORMAL) -> None:
        """This side hangs up, or the carrier ends its call."""
        self.cause = cause
        self.gone.set()
        if self.doing is not None:
            self.doing.cancel()

    def go_to(self, url: str) -> None:
        """REST sends it to another document."""
        self.goto = url
        if self.doing is not None:
            self.doing.cancel()
