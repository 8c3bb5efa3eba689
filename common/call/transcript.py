"""Folds a call's event log into a transcript: what each side said, what was heard, and where the time went.  Pure.

It serves people, the API and tests; no process of a running call depends on it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from common.call.agent_in_charge import AgentTurns
from common.call.reply_state import ABOUT_REPLY, AboutReply, Reply, lose
from common.call.tool_rounds import ToolRounds
from common.protocol.acts import AgentChanged
from common.protocol.fields import STAGES, StageMs
from common.protocol.messages import (
    CallEnded,
    CallStarted,
    Message,
    PlaybackStarted,
    ReplyReleased,
    ReplyStarted,
    SpeechEnded,
    SpeechStarted,
    UsageReported,
    UserTurn,
    of_past_connection,
)


@dataclass(slots=True)
class TranscriptTurn:
    """An utterance of the caller and the agent's reply to it; the greeting has `utterance` 0 and no words."""

    utterance: int
    understood: str = ""
    begin_ms: int = 0
    end_ms: int = 0
    """`begin_ms` to `end_ms` is where the caller's words are in the call's audio."""
    reply: Reply | None = None
    agent: str = ""
    """The name of the agent that replied, or has the call; empty: that with which the call began."""
    timings_ms: dict[str, int] = field(default_factory=dict)
    """Stage -> its duration in ms; their sum is `answer_ms`, the caller's wait up to the carrier."""

    @property
    def answered(self) -> str:
        return self.reply.text if self.reply else ""

    @property
    def heard(self) -> str:
        return self.reply.heard() if self.reply else ""

    @property
    def interrupted(self) -> bool:
        return self.reply is not None and self.reply.cut is not None

    @property
    def tools(self) -> list[ToolUse]:
        """The tools that the reply called, in order."""
        rounds = self.reply.tools if self.reply else ToolRounds()
        uses = []
        for each in rounds.rounds:
            for n, (_, name, arguments) in enumerate(each.calls, each.first):
                returned = rounds.results.get(n)
                known = (returned.outcome, returned.result, returned.took_ms) if returned is not None else ("", "", 0)
                uses.append(ToolUse(name, arguments, *known))
        return uses

    @property
    def answer_ms(self) -> int:
        return sum(self.timings_ms.values())


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One call of a tool; `outcome` is empty while it has no result."""

    name: str
    arguments: str
    outcome: str
    result: str
    took_ms: int


class CallTranscript:
    """The transcript of a call; pass it the call's events in order."""

    def __init__(self, agent: str = "") -> None:
        """`agent`: the name of that with which the call began."""
        self._agents = AgentTurns(agent)
        self.handoffs: list[AgentChanged] = []
        """The hand-offs from one agent to another, in order."""
        self._exchanges: dict[tuple[int, int], TranscriptTurn] = {}
        self._newest_utterance = 0
        self._replies: dict[int, Reply] = {}
        self._speech: dict[int, tuple[int, int]] = {}
        self.usage: Counter[tuple[str, str, str]] = Counter()
        """(pool, provider, unit of `USAGE_UNITS`) -> amount that the call used."""
        self._epoch = 0
        self.ended_by = ""

    @property
    def exchanges(self) -> list[TranscriptTurn]:
        """The turns in the order of the caller's utterances, the greeting first.

        A reply that answers no utterance, such as one to keys or to the late result of a tool, is a turn of its own.
        """
        exchanges = [self._exchanges[position] for position in sorted(self._exchanges)]
        for exchange in exchanges:
            if exchange.reply is not None:
                exchange.agent = self._agents.name_of(exchange.reply.turn)
        return exchanges

    def receive(self, message: Message) -> None:
        """Fold one event; a repeated event changes nothing."""
        if of_past_connection(message, self._epoch):
            return
        if isinstance(message, ABOUT_REPLY):
            self._about_reply(message)
            return
        match message:
            case SpeechStarted(_, _, utterance, position_ms):
                self._speech.setdefault(utterance, (position_ms, position_ms))
            case SpeechEnded(_, _, utterance, position_ms):
                self._speech[utterance] = (self._speech.get(utterance, (position_ms, 0))[0], position_ms)
            case UserTurn(utterance, text):
                exchange = self._exchange(utterance)
                exchange.understood = text
                exchange.begin_ms, exchange.end_ms = self._speech.get(utterance, (0, 0))
            case ReplyStarted(turn, utterance, based_on):
                if turn not in self._replies:
                    self._replies[turn] = reply = Reply(turn, utterance, based_on)
                    if not reply.preemptive:
                        self._exchange(utterance, turn if message.inputs else 0).reply = reply
            case UsageReported(pool, provider, amounts):
                for unit, amount in amounts:
                    self.usage[pool, provider, unit] += amount
            case CallStarted(epoch, heard=heard) if epoch > self._epoch:
                self._epoch, self.ended_by = epoch, ""
                lose(self._replies, heard)
            case CallEnded(epoch, reason, heard=heard) if not epoch or epoch >= self._epoch:
                self.ended_by = self.ended_by or reason
                lose(self._replies, heard)
            case AgentChanged() if self._agents.receive(message):
                self.handoffs.append(message)
            case _:
                pass

    def _about_reply(self, message: AboutReply) -> None:
        reply = self._replies.get(message.turn)
        if reply is None:
            return
        reply.receive(message)
        if isinstance(message, ReplyReleased):
            self._exchange(reply.utterance).reply = reply
        if isinstance(message, PlaybackStarted) and message.stage_ms:
            self._time(self._exchange(reply.utterance), message.stage_ms)

    def _time(self, exchange: TranscriptTurn, stage_ms: StageMs) -> None:
        steps = zip(STAGES[1:], stage_ms, stage_ms[1:], strict=False)
        exchange.timings_ms = {stage: done - begun for stage, begun, done in steps}

    def _exchange(self, utterance: int, turn: int = 0) -> TranscriptTurn:
        """The exchange of an utterance, or that of reply `turn` if it answers none."""
        self._newest_utterance = max(self._newest_utterance, utterance)
        position = (utterance, 0) if utterance or not turn else (self._newest_utterance, turn)
        return self._exchanges.setdefault(position, TranscriptTurn(utterance, agent=self._agents.name))
