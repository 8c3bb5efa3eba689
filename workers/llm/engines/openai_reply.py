"""Folds one streamed reply: chunks of a completion in, pieces of a `LanguageModel` out.  Pure.

The text passes the output filter.  Until a server is known not to begin within its reasoning, its text is held for the
moment in which that would show.
"""

from __future__ import annotations

from collections.abc import Collection

from workers.llm.engines.openai_chunks import CallPart, ChatChunk
from workers.llm.text.output_filter import Filtered, OutputFilter
from workers.llm.text.tool_calls import tool_name
from workers.providers.interfaces import Down, Piece, Retracted, TextComplete, TokensUsed, ToolCall

REPLY_CHARS_MAX = 20_000
TOOL_CALLS_MAX = 16
ARGUMENTS_CHARS_MAX = 32_000


class StreamedReply:
    """Folds the chunks of one reply."""

    def __init__(self, tools: Collection[str], *, reasons_first: bool, holding: bool, finish_is_final: bool) -> None:
        """`holding`: hold the words until `release`.  `finish_is_final`: no words follow a finish reason."""
        self._filter = OutputFilter(tools, reasons_first=reasons_first)
        self._finish_is_final = finish_is_final
        self._held: list[Piece] = []
        self._calls: dict[int, CallPart] = {}
        self._written: list[ToolCall] = []
        self._used: TokensUsed | None = None
        self.holding = holding
        self.chars = 0
        """Characters of all text, including what is not speech."""
        self.words = False
        """True if there were words or tool calls, even if they are still held."""
        self.finished = False
        self.cut_short = False
        """True if the reply ended at the token limit and is not complete."""
        self.retracted = False
        """True if text that was taken for words turned out to be reasoning."""
        self.late_words = False
        """True if words came after a finish reason."""

    @property
    def too_long(self) -> bool:
        """True if the reply exceeds `REPLY_CHARS_MAX` and must be cut here."""
        return self.chars > REPLY_CHARS_MAX

    def take(self, chunk: ChatChunk) -> tuple[list[Piece], bool]:
        """Return (the decided pieces, whether the chunk holds new content).  Raises `Down` for endless tool calls."""
        self._used = chunk.used or self._used
        self.chars += len(chunk.text)
        pieces, progress = self._sort(self._filter.feed(chunk.text)) if chunk.text else ([], False)
        progress = progress or bool(chunk.calls)
        for part in chunk.calls:
            self._gather(part)
        self.words = self.words or progress
        self.late_words = self.late_words or (progress and self.finished)
        if chunk.finish_reason and not self.finished:
            self.finished = True
            self.cut_short = chunk.finish_reason == "length"
            if self._finish_is_final:
                pieces += [*self._rest(), TextComplete(chunk.finish_reason), *self._complete()]
        return pieces, progress

    def release(self) -> list[Piece]:
        """Return the held pieces; from now on nothing is held."""
        self.holding = False
        held, self._held = self._held, []
        return held

    def end(self) -> list[Piece]:
        """Return the last pieces: the stream has ended."""
        bill: list[Piece] = [self._used] if self._used is not None else []
        return [*self._rest(), *self._complete(), *bill]

    def _rest(self) -> list[Piece]:
        pieces, words = self._sort(self._filter.finish())
        self.words = self.words or words
        return [*self.release(), *pieces]

    def _sort(self, filtered: list[Filtered]) -> tuple[list[Piece], bool]:
        """Return (the pieces that may be passed on now, whether there are words among them or among the held ones)."""
        pieces: list[Piece] = []
        progress = False
        for each in filtered:
            match each:
                case ToolCall():
                    self._written.append(each)
                    progress = True
                case Retracted():
                    self.retracted, self.holding, progress = True, False, False
                    self._held.clear()
                    pieces = [each]
                case _:
                    (self._held if self.holding else pieces).append(each)
                    progress = True
        return pieces, progress

    def _gather(self, part: CallPart) -> None:
        """Join the parts of tool calls.  Servers that leave out the index send each call in one part."""
        call = self._calls.setdefault(len(self._calls) if part.index is None else part.index, CallPart())
        call.call_id = call.call_id or part.call_id
        call.name = call.name or part.name
        call.arguments += part.arguments
        if len(self._calls) > TOOL_CALLS_MAX or len(call.arguments) > ARGUMENTS_CHARS_MAX:
            raise Down("the tool calls have no end")

    def _complete(self) -> list[Piece]:
        """Return the tool calls, those of the protocol first; a call without a name is dropped."""
        calls: list[Piece] = []
        for index, call in sorted(self._calls.items()):
            if name := tool_name(call.name):
                calls.append(ToolCall(call.call_id or f"call_{index}", name, call.arguments or "{}"))
        names = {call.name for call in calls if isinstance(call, ToolCall)}
        calls += [call for call in self._written if call.name not in names]  # some models also write a call as text
        self._calls, self._written = {}, []
        return calls
