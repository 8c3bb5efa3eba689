"""Generates one reply: asks the model, has its tools run, and asks again with their results.

    ask ──▶ text: published clause by clause
        └─▶ calls of tools ──▶ ToolsCalled ──▶ their results, with a sentence now and then ──▶ ask
                                     └── a tool that ends the reply (transfer_call, end_call, …): done

The rounds are in the event log, so a worker that takes the call over goes on with the round that is open.  A preemptive
reply calls no tool before it is released: nothing may be done for a turn that is not over.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from common.agents.acts import MenuEntry
from common.call.acts import ToolOutcome
from common.call.tool_rounds import OpenCall, ToolRounds
from common.protocol.acts import ToolReturned, ToolsCalled
from common.protocol.messages import UsageReported
from common.telemetry import metrics
from workers.llm.conversation import Dialogue, WantedReply
from workers.llm.log_changes import LogChanges
from workers.llm.model_chain import ModelChain, ModelSwitched, TokenUsage
from workers.llm.reply_writer import ReplyWriter
from workers.llm.text.phrases import APOLOGIES, CONNECTING, ENTER_DIGITS, FAREWELLS, FILLERS
from workers.llm.tools.builtin import AFTER_REPLY, COLLECT_DIGITS, HOLD, TRANSFER_CALL
from workers.llm.tools.calls import ROUNDS_MAX, ToolPlan, plan, sentences
from workers.llm.tools.fillers import Fillers
from workers.llm.tools.toolbox import CheckedCall, Toolbox
from workers.providers.interfaces import ChatMessage, ProviderError, Retracted, TextComplete, ToolCall

log = logging.getLogger(__name__)

GENERATION_SECONDS_MAX = 60.0
"""Longest generation of one round's text, in seconds; after it the reply ends with the text that has come."""
GIVE_UP_SECONDS = 5.0
"""How much longer than its own timeout a tool is waited for, in seconds: no tools worker may have the call."""
OFFER_SECONDS = 0.5
"""How long the first question to the model waits for the tools that only a tools worker knows, in seconds."""
HOLD_SOUNDS = 2
"""Sounds while a person is asked whether they take the call, each of at most a minute."""
NO_ANSWER = (
    "It did not answer in time, and it is not known whether it was done. Say so; do not call it again by yourself."
)


@dataclass(frozen=True, slots=True)
class Persona:
    """The agent's side of the conversation, from the agent's file, and the models that generate it."""

    greeting: str
    instructions: str
    model_chain: ModelChain
    interruptible: bool = True
    farewell: str = FAREWELLS["en"]
    """Spoken if the model ends the call without a word."""
    apology: str = APOLOGIES["en"]
    """Spoken if no model could answer."""
    connecting: str = CONNECTING["en"]
    """Spoken before a transfer if the model says nothing."""
    fillers: Sequence[str] = FILLERS["en"]
    """Spoken in turn while a tool runs, if it has no sentences of its own."""
    toolbox: Toolbox = field(default_factory=Toolbox)
    enter_digits: str = ENTER_DIGITS["en"]
    """Spoken before digits are collected if the model says nothing."""
    keypad: Mapping[str, MenuEntry] = field(default_factory=dict)
    """What the keys of the caller's telephone do."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How the generation of a reply ended: what follows it ("" or "hangup"), and whether no model could answer."""

    then: str = ""
    failed: bool = False


class ReplyRun:
    """The generation of one reply that answers the caller or an input; `answer` runs it."""

    def __init__(
        self,
        wanted: WantedReply,
        dialogue: Dialogue,
        persona: Persona,
        writer: ReplyWriter,
        changes: LogChanges,
        call_id: str,
    ) -> None:
        self._turn = wanted.turn
        self._dialogue = dialogue
        self._persona = persona
        self._toolbox = persona.toolbox
        self._writer = writer
        self._changes = changes
        self._call_id = call_id

    async def answer(self, chat: list[ChatMessage], menu: MenuEntry | None = None) -> Answer:
        """Generate and publish the reply, or the rest of it.  `chat` is as it was when the reply was begun.

        A key of the `menu` calls its tool before the model is asked.

        Raises as `EventSession.write` does.
        """
        if self._toolbox.waits_for_offers:
            await self._changes.until(lambda: not self._toolbox.waits_for_offers, OFFER_SECONDS)
        if self._awaited():  # a worker that died had called them
            await self._wait_for_results()
            chat = self._dialogue.messages()
        if any(call.name in AFTER_REPLY for call in self._rounds.open()):
            return Answer()  # nor does the model say more after one that ends the reply
        pressed = called_by(menu) if menu is not None and not self._rounds.count else []
        while True:
            last = len(self._rounds.rounds) >= ROUNDS_MAX
            try:
                async with asyncio.timeout(GENERATION_SECONDS_MAX):
                    called = pressed or await self._ask(chat, [] if last else self._toolbox.schemas)
            except (ProviderError, TimeoutError) as error:
                log.warning("no model could answer: %s", error, extra={"call_id": self._call_id})
                if isinstance(error, ProviderError):
                    await self._persona.model_chain.models.exhausted(self._call_id)
                return Answer(failed=True)
            if last and called:
                log.warning("the model calls tools without end", extra={"call_id": self._call_id})
                return Answer(failed=True)
            pressed = []
            planned = plan(called, self._toolbox, self._rounds)
            if planned.calls:
                await self._record(planned)
            if not planned.calls or planned.ends_reply:
                return Answer("hangup" if planned.hangs_up else "")
            await self._wait_for_results()
            chat = self._dialogue.messages()

    async def _ask(self, chat: list[ChatMessage], tools: Sequence[dict[str, Any]]) -> list[ToolCall]:
        """Stream one answer of the model and publish its text; returns the tools that it calls."""
        called: list[ToolCall] = []
        writer = self._writer
        stream = self._persona.model_chain.reply(chat, tools, lambda: writer.prefix, self._call_id, self._spoke_before)
        async with aclosing(stream) as events:
            async for event in events:
                match event:
                    case str():
                        await writer.text(event)
                    case TextComplete():
                        await writer.finish()
                    case Retracted():
                        writer.drop_unpublished()
                    case ModelSwitched(error):
                        writer.set_aside()
                        called.clear()
                        log.warning("a model failed: %s", error, extra={"call_id": self._call_id})
                    case TokenUsage():
                        await writer.events.write(usage_report(event))
                    case ToolCall():
                        called.append(event)
        writer.drop_set_aside()
        return called

    async def _record(self, planned: ToolPlan) -> None:
        """Write the calls, and the refusals among them, once all that the model said before is published."""
        writer = self._writer
        await writer.finish()
        await writer.events.started()
        await self._changes.until(self._is_released)
        ends = planned.ends_reply and not planned.hangs_up
        if ends and not writer.count and (announced := self._announcement(planned.calls)):
            await writer.say_only(announced, fixed=False)
        first = self._rounds.count
        calls = tuple((call.call_id[:64], call.name, call.arguments) for call in planned.calls)
        refusals = [
            ToolReturned(self._turn, first + number, ToolOutcome.REFUSED, call.refusal)
            for number, call in enumerate(planned.calls)
            if call.refusal
        ]
        metrics.TOOL_CALLS_NOT_RUN.labels("refused").inc(len(refusals))
        refused = tuple(refusal.n for refusal in refusals)
        await writer.events.write(ToolsCalled(self._turn, first, calls, writer.count, refused), *refusals)
        await self._changes.until(lambda: self._rounds.count > first)
        for _ in range(self._sounds(planned.calls)):
            await writer.play("hold")
        writer.end_round()

    def _announcement(self, calls: Sequence[CheckedCall]) -> str:
        """What is said before the tool that ends the reply, if the model said nothing."""
        accepted = {call.name: call for call in calls if not call.refusal}
        if (transfer := accepted.get(TRANSFER_CALL)) is not None:
            return self._toolbox.transfer_announcement(transfer) or self._persona.connecting
        return self._persona.enter_digits if COLLECT_DIGITS in accepted else ""

    def _sounds(self, calls: Sequence[CheckedCall]) -> int:
        """How many times the hold music plays after these calls."""
        accepted = {call.name: call for call in calls if not call.refusal}
        if HOLD in accepted:
            return 1
        transfer = accepted.get(TRANSFER_CALL)
        return HOLD_SOUNDS if transfer is not None and self._toolbox.is_warm(transfer) else 0

    async def _wait_for_results(self) -> None:
        """Wait until each tool of the round has returned; say a sentence now and then, and give up in the end."""
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        names = [call.name for call in self._awaited()]
        fillers = Fillers(*sentences(names, self._toolbox, self._persona.fillers), 1000 * begun_s)
        was_quiet, spoken = False, self._spoken_sayings()
        while waiting := self._awaited():
            now_s = loop.time()
            if overdue := [call for call in waiting if now_s >= begun_s + self._timeout_s(call)]:
                await self._give_up(overdue)
                continue
            if spoken < len(self._rounds.sayings):
                spoken += 1
                await self._writer.say_only(self._rounds.sayings[spoken - 1], fixed=False)
                continue
            if (quiet := self._is_quiet) and not was_quiet:
                fillers.silent(1000 * now_s)
            was_quiet = quiet
            due_s = fillers.due_ms / 1000 if quiet and fillers.due_ms is not None else None
            if due_s is not None and now_s >= due_s:
                await self._writer.say_only(fillers.next(), fixed=True)
                was_quiet = False
                continue
            wake_s = min(begun_s + self._timeout_s(call) for call in waiting)
            await self._changes.next(min(wake_s, due_s if due_s is not None else wake_s) - now_s)
        self._writer.end_round()

    async def _give_up(self, overdue: Sequence[OpenCall]) -> None:
        results = [ToolReturned(self._turn, call.n, ToolOutcome.UNKNOWN, NO_ANSWER) for call in overdue]
        metrics.TOOL_CALLS_NOT_RUN.labels("given up").inc(len(results))
        log.warning("a tool did not answer in time", extra={"call_id": self._call_id})
        await self._writer.events.write(*results)
        await self._changes.until(lambda: not any(call.n not in self._rounds.results for call in overdue))

    def _spoken_sayings(self) -> int:
        """How many of the sentences that tools want said are in the reply already, as after a takeover."""
        reply = self._dialogue.reply(self._turn)
        text = " ".join(reply.clauses) if reply is not None else ""
        return next((at for at, each in enumerate(self._rounds.sayings) if each not in text), len(self._rounds.sayings))

    def _awaited(self) -> list[OpenCall]:
        """The calls without a result for which the reply waits."""
        return [call for call in self._rounds.open() if call.name not in AFTER_REPLY]

    def _timeout_s(self, call: OpenCall) -> float:
        return self._toolbox.options(call.name).timeout_s + GIVE_UP_SECONDS

    @property
    def _rounds(self) -> ToolRounds:
        reply = self._dialogue.reply(self._turn)
        return reply.tools if reply is not None else ToolRounds()

    @property
    def _is_quiet(self) -> bool:
        """Whether the caller has heard all that was published, and the agent says nothing now."""
        reply = self._dialogue.reply(self._turn)
        return reply is not None and reply.cut is None and reply.played_clause >= self._writer.count - 1

    def _is_released(self) -> bool:
        reply = self._dialogue.reply(self._turn)
        return reply is not None and not reply.preemptive

    @property
    def _spoke_before(self) -> bool:
        """Whether the model said something with its last calls, so that it may have nothing to add to the results."""
        rounds = self._rounds.rounds
        return bool(rounds) and rounds[-1].spoken_clauses > (rounds[-2].clauses if len(rounds) > 1 else 0)


def called_by(menu: MenuEntry) -> list[ToolCall]:
    """The tool that a key of the menu calls."""
    if menu.transfer:
        return [ToolCall("", TRANSFER_CALL, json.dumps({"target": menu.transfer}))]
    return [ToolCall("", menu.tool, json.dumps(dict(menu.arguments)))] if menu.tool else []


def usage_report(usage: TokenUsage) -> UsageReported:
    """The event that reports the tokens of a request; they are counted in the metrics, too."""
    tokens = usage.tokens
    amounts = (
        ("tokens_in", tokens.tokens_in),
        ("tokens_cached", tokens.tokens_cached),
        ("tokens_out", tokens.tokens_out),
    )
    metrics.count_usage("llm", usage.spec, dict(amounts))
    return UsageReported("llm", usage.spec, amounts)
