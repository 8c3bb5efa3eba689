"""Decides what becomes of the tools that the model calls at once.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from common.call.acts import ToolOutcome
from common.call.tool_rounds import ToolRounds
from workers.llm.tools.builtin import AFTER_REPLY, END_CALL
from workers.llm.tools.toolbox import CheckedCall, Toolbox
from workers.providers.interfaces import ToolCall

CALLS_MAX = 8
"""Most tools that run in one round; further ones are refused."""
ROUNDS_MAX = 5
"""Rounds of tools in one reply, after which the model is offered none."""
FIRST_THE_OTHERS = "Not done: use the results of the other tools first, then call it again if it is still wanted."
ONE_END = "Not done: the reply can end in one way only, and another one was called before."
TOO_MANY = f"Not done: at most {CALLS_MAX} tools run at once."
SAME_CALL = "Not done again: the same call with the same arguments was made before in this reply."


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """One round of calls, and what follows it."""

    calls: tuple[CheckedCall, ...]
    """The calls to record, refused ones included; empty if there is nothing but a hang-up."""
    hangs_up: bool = False
    """The call ends once the reply was heard."""

    @property
    def ends_reply(self) -> bool:
        """Whether the reply ends here: the model is not asked again before something else happens."""
        accepted = [call for call in self.calls if not call.refusal]
        return self.hangs_up or any(call.name in AFTER_REPLY for call in accepted)


def plan(called: Iterable[ToolCall], toolbox: Toolbox, before: ToolRounds) -> ToolPlan:
    """Plan one round.  `before`: the earlier rounds of the reply."""
    checked = [replace(toolbox.check(call.name, call.arguments), call_id=call.call_id) for call in called]
    if checked and all(call.name == END_CALL for call in checked):
        return ToolPlan((), hangs_up=True)
    seen = _made(before, toolbox)
    waits = any(not call.refusal and call.name not in AFTER_REPLY for call in checked)
    planned: list[CheckedCall] = []
    ended = False
    for number, call in enumerate(checked):
        words = call.refusal or _objection(call, number, waits, ended, seen, toolbox)
        planned.append(replace(call, refusal=words))
        if not words:
            seen.add((call.name, call.arguments))
            ended = ended or call.name in AFTER_REPLY
    ends_call = any(call.name == END_CALL and not call.refusal for call in planned)
    return ToolPlan(tuple(call for call in planned if call.refusal or call.name != END_CALL), hangs_up=ends_call)


def _objection(
    call: CheckedCall, number: int, waits: bool, ended: bool, seen: set[tuple[str, str]], toolbox: Toolbox
) -> str:
    if number >= CALLS_MAX:
        return TOO_MANY
    if call.name in AFTER_REPLY:
        return FIRST_THE_OTHERS if waits else ONE_END if ended else ""
    again = (call.name, call.arguments) in seen and not toolbox.options(call.name).repeatable
    return SAME_CALL if again else ""


def _made(before: ToolRounds, toolbox: Toolbox) -> set[tuple[str, str]]:
    """The calls of earlier rounds that may have had an effect."""
    harmless = (ToolOutcome.REFUSED, ToolOutcome.CANCELLED)
    return {
        (name, arguments)
        for each in before.rounds
        for n, (_, name, arguments) in enumerate(each.calls, each.first)
        if n not in before.results or ToolOutcome.of(before.results[n].outcome) not in harmless
    }


def sentences(open_names: Sequence[str], toolbox: Toolbox, default: Sequence[str]) -> tuple[Sequence[str], int]:
    """(the sentences to say while these tools run, after how many ms of silence), by the first tool that has some."""
    options = [toolbox.options(name) for name in open_names]
    own = next((each for each in options if each.meanwhile), None)
    if own is not None:
        return own.meanwhile, own.filler_after_ms
    return default, options[0].filler_after_ms if options else 0
