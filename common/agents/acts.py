"""Defines what an agent's file says about transfers and about the keys of a telephone (docs/agents.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from common.agents.fields import like
from common.agents.tools import Sentence, ToolName

TargetName: TypeAlias = Annotated[str, like("[a-z0-9][a-z0-9_-]{0,63}", "small letters, digits, '-' and '_'")]
TransferNumber: TypeAlias = Annotated[
    str,
    like(r"\+?[0-9]([ ()-]*[0-9]){3,14}", "digits such as '+911234567890'", noun="phone number", private=True),
]
BuiltIn: TypeAlias = Annotated[
    str, like("collect_digits|send_digits|hold", "collect_digits, send_digits or hold", noun="built-in tool")
]
MenuKey: TypeAlias = Annotated[str, like("[0-9*#]", "one of 0 to 9, * and #, in quotes")]


@dataclass(frozen=True, slots=True)
class TransferTarget:
    """A person to whom the agent may transfer the caller."""

    number: TransferNumber
    """The number that is dialled, of the country of your own number."""
    description: Annotated[str, Meta(max_length=300)] = ""
    """What the model is told about when to transfer to it."""
    mode: Literal["cold", "warm"] = "cold"
    """cold: the carrier rings the number and connects; warm: the person is told first what it is about, and accepts."""
    announcement: Annotated[str, Meta(max_length=300)] = ""
    """What the caller hears before; empty: the default of the language, if the model said nothing itself."""
    whisper: Annotated[str, Meta(max_length=500)] = ""
    """What the person hears before the caller; warm: empty, the end of the conversation is read out."""
    ring_s: Annotated[int, Meta(ge=5, le=120)] = 30
    """How long it may ring."""


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """What a key does: exactly one of these."""

    say: Annotated[str, Meta(max_length=500)] = ""
    """A sentence that the agent answers with."""
    ask: Annotated[str, Meta(max_length=500)] = ""
    """A sentence that counts as if the caller had said it."""
    tool: Annotated[str, Meta(max_length=64)] = ""
    """The name of a tool that is called, without arguments or with `arguments`."""
    arguments: Annotated[Mapping[ToolName, Annotated[str, Meta(max_length=500)]], Meta(max_length=30)] = field(
        default_factory=dict
    )
    """Arguments of the tool."""
    transfer: Annotated[str, Meta(max_length=64)] = ""
    """The name of a transfer target."""


__all__ = ["BuiltIn", "MenuEntry", "MenuKey", "Sentence", "TargetName", "TransferNumber", "TransferTarget"]
