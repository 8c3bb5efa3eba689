"""Removes what is not speech from a model's text while it streams.  Pure: text in, words and tool calls out.

    reasoning            `<think>…</think>`, `[THINK]…`, Harmony's analysis channel; also without its opening tag
    special tokens       `<|im_end|>`, `</s>`, `<start_of_turn>model`, `[/INST]`, …
    another role's turn  text after `<|im_start|>user`, `[INST]` or `User:` is invented; everything after it is dropped
    tool calls as text   `<function=end_call>`, `<tool_call>{…}</tool_call>`, `end_call()`, …: a `ToolCall`

A server that parses its model's output sends none of these; many do not parse it, or not in every case.  HTML and SSML
tags stay: the normalisation of the TTS worker handles them.  The model's tokenisation changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import TypeAlias

from workers.llm.text.tool_calls import CALL_CHARS_MAX, TextCalls
from workers.providers.interfaces import Retracted, ToolCall

TAG_CHARS_MAX = 100
FENCE_CHARS_MAX = 2_000
"""Text that may be a tag, or a fenced tool call, is held up to this length, in characters; anything longer is text."""


Filtered: TypeAlias = str | ToolCall | Retracted

_THINK = r"(?:\w+[:_])?(?:think|thinking|thoughts?|reason|reasoning|reflection|scratchpad|analysis|monologue)"
_REASONING = re.compile(rf"\|?{_THINK}(?:\s[^>]*)?\|?|\|(?:begin_of_thought|START_THINKING)\||unused94|\|channel", re.I)
_REASONED = re.compile(
    rf"<\s*\|?\s*/\s*{_THINK}\s*\|?>|<\|(?:end_of_thought|END_THINKING)\|>|\[/THINK\]|◁/think▷|<channel\|>|<unused95>",
    re.I,
)
_REASONED_CHARS_MAX = 40
_HARMONY_ENDS = re.compile(r"<\|(?:end|return|call|start|channel)\|>")
_HARMONY_BEGINS = frozenset({"<|start|>", "<|channel|>"})
_BARE_HARMONY_ENDS = re.compile(r"assistant(?=final|commentary to=)|<\|(?:end|return|start|channel)\|>")
_CALLS = re.compile(
    r"(?:antml:)?(?:tool_?calls?|function_?calls?|tool_use|invoke\b[^>]*|function\b[^>]*)"
    r"|[|｜](?:tool_calls?_(?:section_)?begin|tool_call|start_action|python_tag)[|｜]",
    re.I,
)
_SPECIAL = re.compile(
    r"[|｜][^<>]*[|｜]|/?s|/?(?:eos|bos|pad|unk|sop|eop)|/?end_of_\w+|unused\d+|extra_id_\d+|0x[0-9a-f]{2}",
    re.I,
)
_CALL_LEFTOVERS = re.compile(
    r"/(?:antml:)?(?:tool_?calls?|function_?calls?|tool_use|invoke|function|parameter.*)", re.I
)
_TURN_TOKENS = frozenset({"im_start", "start_header_id", "start_of_role", "start_of_turn", "start"})
_OTHERS = frozenset({"user", "human", "system", "tool", "ipython", "observation", "environment"})
_BRACKETS = ("[THINK]", "[/THINK]", "[TOOL_CALLS]", "[INST]", "[/INST]", "[ARGS]", "[gMASK]", "[BOS]", "[EOS]", "[PAD]")
_ROLE = re.compile(r"\s*(\w*)(?: to=(?:functions\.)?[\w.-]+)?(\s*\n|<\|end_(?:header_id|of_role)\|>|\s*(?=<)|\s*$)")
_AGENT = re.compile(r"\s*(?:(?:assistant|model|bot)\b:?)?", re.I)
_UNCLOSED = re.compile(r"function\s*=\s*[\w.\"'-]+\s*/?>(?!\s*[{<])", re.I)
_LABEL = re.compile(r"[*_]{0,2}([A-Za-z]{2,9})[*_]{0,2}:[*_]{0,2}\s*")
_OWN_LABELS = frozenset({"assistant", "agent", "ai", "bot"})
_OTHER_LABELS = frozenset({"user", "human"})
_FENCE = re.compile(r"```[\w-]*\s(.*?)```", re.DOTALL)


class OutputFilter:
    """Filters the text of one reply.  Create one object for each reply."""

    def __init__(self, tools: Collection[str] = (), *, reasons_first: bool = False) -> None:
        """`tools`: the names of the offered tools.  `reasons_first`: the model's replies begin within the reasoning."""
        self._calls = TextCalls(tools)
        self._mode: Callable[[list[Filtered], bool], bool] = self._reasons_first if reasons_first else self._speech
        self._buffer = ""
        self._last = ""
        self._line_start = True
        self._begun = False
        self._ends: re.Pattern[str] | None = None
        self._scanned = 0
        self._candidates = re.compile(r"[<\[{`◁*(\"'_\n]|(?<!\w)(?:" + "|".join(self._calls.beginnings) + ")", re.I)

    def feed(self, text: str) -> list[Filtered]:
        """Take more text, split anywhere, and return what is decided."""
        self._buffer += text
        return self._drain(final=False)

    def finish(self) -> list[Filtered]:
        """Return the rest: the text has ended.  `feed` must not be called afterwards."""
        return self._drain(final=True)

    def _drain(self, final: bool) -> list[Filtered]:
        out: list[Filtered] = []
        while self._buffer and self._mode(out, final):
            pass
        return out

    def _emit(self, out: list[Filtered], length: int) -> bool:
        text, self._buffer = self._buffer[:length], self._buffer[length:]
        if out and isinstance(out[-1], str):
            out[-1] += text
        else:
            out.append(text)
        self._last, self._begun = text[-1], self._begun or not text.isspace()
        if stripped := text.rstrip(" \t"):
            self._line_start = stripped.endswith("\n")
        return True

    def _skip(self, length: int, mode: Callable[[list[Filtered], bool], bool] | None = None) -> bool:
        self._buffer = self._buffer[length:]
        self._mode = mode or self._mode
        self._scanned = 0
        self._begun = True
        return True

    # --- what is not speech ---------------------------------------------------------------------------------------

    def _reasons_first(self, out: list[Filtered], final: bool) -> bool:
        """Skip reasoning up to its closing tag; without a closing tag it was the answer."""
        if found := _REASONED.search(self._buffer, self._scanned):
            return self._skip(found.end(), self._speech)
        self._scanned = max(0, len(self._buffer) - _REASONED_CHARS_MAX)
        if final:
            self._mode = self._speech
        return final

    def _hidden(self, out: list[Filtered], final: bool) -> bool:
        """Skip up to a closing tag, which may come in parts."""
        ends = self._ends or _REASONED
        if found := ends.search(self._buffer):
            if ends is _REASONED:
                return self._skip(found.end(), self._speech)
            return self._skip(found.start() if found[0] in _HARMONY_BEGINS else found.end(), self._after)
        self._buffer = "" if final else self._buffer[-_REASONED_CHARS_MAX:]
        return False

    def _after(self, out: list[Filtered], final: bool) -> bool:
        """Continue after a part in Harmony's format whose tokens the server may have left out."""
        for head in ("final", "commentary"):
            if head.startswith(self._buffer) and self._buffer != head and not final:
                return False
            if self._buffer.startswith(head) and self._ends is _BARE_HARMONY_ENDS:
                return self._skip(len(head), self._speech)
        self._mode = self._speech
        return True

    def _call(self, out: list[Filtered], final: bool) -> bool:
        """Collect a tool call's text up to its closing tag."""
        found = self._ends.search(self._buffer) if self._ends is not None else None
        if found is None and not final and len(self._buffer) < CALL_CHARS_MAX:
            return False
        body = self._buffer[: found.start()] if found is not None else self._buffer
        out.extend(self._calls.within(body))
        if found is not None:
            return self._skip(found.start() if found[0] in _HARMONY_BEGINS else found.end(), self._speech)
        words = _UNCLOSED.match(body)  # a call without its closing tag: words may follow
        return self._skip(words.end() if words is not None else len(body), self._speech)

    def _header(self, out: list[Filtered], final: bool) -> bool:
        """Parse Harmony's `analysis<|message|>` or `commentary to=functions.end_call <|constrain|>json<|message|>`."""
        header, message, _ = self._buffer.partition("<|message|>")
        if not message and not final and len(header) < TAG_CHARS_MAX:
            return False
        length = len(header) + len(message)
        self._ends = _HARMONY_ENDS
        if "to=" in header:
            self._buffer = f"{header} {self._buffer[length:]}"
            self._mode = self._call
            return True
        return self._skip(length, self._speech if header.strip().lower() in ("final", "") else self._hidden)

    def _role(self, out: list[Filtered], final: bool) -> bool:
        """Parse a role header: `assistant` continues the reply, any other role ends it."""
        found = _ROLE.match(self._buffer)
        if found is None:
            return self._skip(_AGENT.match(self._buffer).end(), self._speech)  # type: ignore[union-attr]
        if found.end() == len(self._buffer) and not found[2].endswith(("\n", ">")) and not final:
            return False
        if " to=" in found[0]:
            self._mode = self._header
            return True
        return self._skip(found.end(), self._stopped if found[1].lower() in _OTHERS else self._speech)

    def _stopped(self, out: list[Filtered], final: bool) -> bool:
        self._buffer = ""
        return False

    def _retract(self, out: list[Filtered], length: int) -> bool:
        out[:] = [each for each in out if not isinstance(each, str)]
        out.append(Retracted())
        return self._skip(length)

    # --- speech, and where it may end -----------------------------------------------------------------------------

    def _speech(self, out: list[Filtered], final: bool) -> bool:
        if not self._begun and (head := self._bare_harmony(final)) is not None:
            return head
        if self._line_start and (label := self._label(final)) is not None:
            return label if label or not final else self._emit(out, 1)
        before = self._last
        found = self._candidates.search(before + self._buffer, len(before))
        if found is None:
            return self._emit(out, len(self._buffer))
        if at := found.start() - len(before):
            return self._emit(out, at)
        for rule in (self._tag, self._bracket, self._fence, self._json, self._named):
            if (decided := rule(out, final)) is not None:
                return decided if decided or not final else self._emit(out, 1)
        return self._emit(out, 1)

    def _bare_harmony(self, final: bool) -> bool | None:
        """Detect `analysisThe caller …assistantfinalHello.`: some servers strip the tokens but not the channels."""
        text = self._buffer.lstrip()
        for channel in ("analysis", "commentary", "final"):
            if channel.startswith(text) and not final:
                return False
            if not text.startswith(channel) or text == channel:
                continue
            rest = text[len(channel) :]
            if "<|message|>".startswith(rest) and not final:
                return False
            if rest.startswith(("<|message|>", " to=functions.")):
                self._buffer, self._begun, self._mode = text, True, self._header
                return True
            if " to=functions.".startswith(rest) and channel == "commentary" and not final:
                return False
            if channel == "analysis" and (rest[0].isupper() or not rest[0].isascii()):
                self._ends = _BARE_HARMONY_ENDS
                return self._skip(len(self._buffer) - len(rest), self._hidden)
        return None

    def _label(self, final: bool) -> bool | None:
        """Remove the label of `Assistant: Hello.`; text after a later `User:` is invented and dropped."""
        if found := _LABEL.match(self._buffer):
            if found[1].lower() in _OWN_LABELS and not self._begun:
                length = found.end()
                return self._skip(length) if length < len(self._buffer) or final else False
            return self._skip(found.end(), self._stopped) if found[1].lower() in _OTHER_LABELS and self._begun else None
        begun = re.fullmatch(r"[*_]{0,2}([A-Za-z]{0,9})[*_]{0,2}", self._buffer)
        labels = _OTHER_LABELS if self._begun else _OWN_LABELS
        return False if begun is not None and any(label.startswith(begun[1].lower()) for label in labels) else None

    def _tag(self, out: list[Filtered], final: bool) -> bool | None:
        """Handle anything in angle brackets."""
        text = self._buffer
        if text.startswith("◁"):
            if not text.startswith(("◁think▷", "◁/think▷")):
                return False if "◁/think▷".startswith(text) or "◁think▷".startswith(text) else None
            self._ends = None
            return self._skip(len("◁think▷"), self._hidden) if text[1] == "t" else self._retract(out, len("◁/think▷"))
        if text[0] != "<":
            return None
        if re.match(r"<function\s*=", text, re.I):
            self._ends = re.compile(r"</function>(?:\s*</tool_call>)?|</tool_call>|(?<=/)>", re.I)
            return self._skip(1, self._call)
        if not re.match(r"<(?:[^\W\d]|[/|｜]|0(?:x|$)|$)", text):
            return None
        if found := re.match(r"<([^<>\n]+)>", text):
            return self._inside(out, found[1].strip(), found.end())
        return False if re.fullmatch(r"<[^<>\n]*", text) and len(text) < TAG_CHARS_MAX else None

    def _inside(self, out: list[Filtered], inner: str, length: int) -> bool | None:
        """Handle a complete tag.  None: it is text."""
        word = inner.strip("|｜/ ").lower().replace("▁", "_")
        barred = inner[:1] in ("|", "｜") or inner.startswith(("start_of_", "end_of_"))
        if barred and word == "channel":
            return self._skip(length, self._header) if inner.endswith("|") else self._hide(length)
        if _REASONED.match(f"<{inner}>"):
            return self._retract(out, length)
        if _REASONING.fullmatch(inner):
            return self._skip(length) if inner.endswith("/") else self._hide(length)
        if barred and word in _TURN_TOKENS:
            return self._skip(length, self._role)
        if barred and word in _OTHERS:
            return self._skip(length, self._stopped)
        if _CALLS.fullmatch(inner.replace("▁", "_")):
            if inner.endswith("/"):
                out.extend(self._calls.within(inner))
                return self._skip(length)
            self._ends = _call_ends(inner)
            self._buffer = f"{inner} {self._buffer[length:]}"
            self._mode = self._call
            return True
        if (name := self._calls.known(word.partition(" ")[0])) is not None:
            if not inner.startswith("/"):
                out.append(self._calls.call(name))
            return self._skip(length)
        if _SPECIAL.fullmatch(inner) or _CALL_LEFTOVERS.fullmatch(inner):
            return self._skip(length)
        return self._emit(out, length)

    def _hide(self, length: int) -> bool:
        self._ends = None
        return self._skip(length, self._hidden)

    def _bracket(self, out: list[Filtered], final: bool) -> bool | None:
        """Handle Mistral's and GLM's tokens in square brackets."""
        if self._buffer[0] != "[":
            return None
        upper = self._buffer.upper()
        for mark in _BRACKETS:
            if upper.startswith(mark.upper()):
                match mark:
                    case "[THINK]":
                        return self._hide(len(mark))
                    case "[/THINK]":
                        return self._retract(out, len(mark))
                    case "[TOOL_CALLS]":
                        self._ends = re.compile(r"</s>|\[/TOOL_CALLS\]")
                        return self._skip(len(mark), self._call)
                    case _:
                        return self._skip(len(mark), self._stopped if mark == "[INST]" else None)
            if mark.upper().startswith(upper) and not final:
                return False
        return None

    def _fence(self, out: list[Filtered], final: bool) -> bool | None:
        """Handle a tool call in a fenced block; any other block is text."""
        if not self._buffer.startswith("```"):
            return False if "```".startswith(self._buffer) and not final else None
        found = _FENCE.match(self._buffer)
        if found is None and not final and len(self._buffer) < FENCE_CHARS_MAX:
            return False
        body = found[1] if found is not None else self._buffer[3:]
        length = found.end() if found is not None else len(self._buffer)
        if calls := self._calls.written(body):
            out.extend(calls)
            return self._skip(length)
        return self._emit(out, length)

    def _json(self, out: list[Filtered], final: bool) -> bool | None:
        """Handle a line that begins with a JSON object: it is a tool call if it has the shape of one."""
        if not self._line_start or not re.match(r"[{\[]\s*(?:[{\"]|$)", self._buffer):
            return None
        length = self._calls.json_length(self._buffer)
        if not length and not final and len(self._buffer) < CALL_CHARS_MAX:
            return False
        length = length or len(self._buffer)
        if calls := self._calls.written(self._buffer[:length]):
            out.extend(calls)
            return self._skip(length)
        return self._emit(out, length)

    def _named(self, out: list[Filtered], final: bool) -> bool | None:
        """Handle `end_call()`, `[end_call]`, `functions.end_call({…})`, or the name alone in a line."""
        length, calls = self._calls.named(self._buffer, self._line_start, final)
        if length is None:
            return False
        if not length:
            return None
        out.extend(calls)
        return self._skip(length)


def _call_ends(inner: str) -> re.Pattern[str] | None:
    """Return the pattern that closes the tool call that this tag opened; None: the end of the reply."""
    token = inner.replace("▁", "_").lower()
    if token[0] in "|｜":
        return re.compile(
            r"<[|｜](?:tool[_▁]calls?[_▁](?:section[_▁])?end|end_action|eom_id|eot_id|im_end|end_of_text)[|｜]>", re.I
        )
    name = re.escape(token.partition(" ")[0])
    return re.compile(rf"</{name}>(?:\s*</(?:antml:)?(?:function_calls|tool_calls?)>)?|(?<=/)>", re.I)
