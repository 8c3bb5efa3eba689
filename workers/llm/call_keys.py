"""Folds the keys that the caller presses, and decides when an entry is complete.  Pure.

    DtmfReceived ──▶ pending ──┬─ nobody asked ──▶ KeysEntered: an input of the dialogue
                               └─ collect_digits ─▶ KeysEntered and ToolReturned, in one append
    UserTurn ──▶ digits that were dictated while collect_digits waits count as keys

Which keys are pending the event log alone says; only the times are of this worker's clock, so a worker that takes the
call over goes on with the same keys and waits anew.  `due` returns what is to be written; the session writes it, and
folds it before it comes back through the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from common.agents.acts import MenuEntry
from common.call.acts import ToolOutcome
from common.call.key_entry import KEYS, EnteredKeys, EntryOptions, KeyEntry
from common.protocol.acts import KeysEntered, ToolReturned, ToolsCalled
from common.protocol.messages import (
    CallStarted,
    DtmfReceived,
    EagerUserTurn,
    Interrupted,
    Message,
    ReplyEnded,
    ReplyPlayed,
    ReplyStarted,
    SpeechEnded,
    SpeechStarted,
    UserTurn,
)
from workers.llm.text.spoken_digits import digits_in
from workers.llm.tools.builtin import COLLECT_DIGITS
from workers.llm.tools.collect_digits import ONLY_KEYS, OTHER_ENTRY, SPOKE, Collection, collection

FREE = EntryOptions(is_free=True)
"""Keys that nobody asked for."""
STRAY_MS = 3_000
"""A finish key this long after a complete entry belongs to it: many press it although all digits were there."""
LINGER_MS = 3_000
"""Digits stay secret this long after their entry is complete: one too many must not be told either."""
PROMPT_MS_MAX = 60_000
"""The first key is waited for at the latest this long after the call of the tool, heard or not."""
SPEECH_MS_MAX = 10_000
"""While the caller speaks, the entry does not end for so long."""
WORDS_MS = 2_500
"""After speech its words are waited for so long."""
DICTATION_MS = 4_000
"""The pause within a dictated number after which it counts as complete."""


@dataclass(frozen=True, slots=True)
class _Key:
    key: str
    at_ms: int
    """By the edge's clock."""
    now_ms: float
    """By this worker's clock."""


class CallKeys:
    """The keys of one call.  `now_ms` is of any one monotonic clock.  A repeated event changes nothing."""

    def __init__(self, menu: Mapping[str, MenuEntry] | None = None) -> None:
        self.menu: Mapping[str, MenuEntry] = menu or {}
        """The agent's `keypad`: these keys act at once."""
        self.collecting: Collection | None = None
        """The call of `collect_digits` that waits for the caller."""
        self.dictated: set[int] = set()
        """Utterances that were digits for `collect_digits`, or a "mm-hm" meanwhile: they want no reply."""
        self.hidden: set[int] = set()
        """Those of them of which the model is not told the words."""
        self.strays = 0
        """Keys without a meaning so far: a letter, or one too many after a complete entry."""
        self._pending: list[_Key] = []
        self._seen: set[tuple[int, int]] = set()
        self._turns: set[int] = set()  # utterances that were folded
        self._entry = KeyEntry(FREE)
        self._entries = 0
        self._last_at_ms = 0  # of the newest key of the last complete entry
        self._secret_names: set[str] = set()
        self._called: set[tuple[int, int]] = set()
        self._replaced: list[Collection] = []
        self._prompt_ms: float | None = None  # since when the caller knows what to enter
        self._spoken = ""
        self._spoken_ms = 0.0
        self._hushed_until_ms = 0.0
        self._reply_is_open = False  # the one that asked: its result would be taken for one of its next round
        self._is_void = False  # the caller spoke something else
        self._only_keys = False  # the caller spoke digits that only count as keys
        self._linger: tuple[str, float] = ("", 0.0)

    # --- the log ----------------------------------------------------------------------------------------------------

    def receive(self, message: Message, now_ms: float) -> None:
        """Fold one event of the call, in order; those of a past connection are left out."""
        match message:
            case DtmfReceived():
                self._press(message, now_ms)
            case KeysEntered():
                self._consume(message)
            case ToolsCalled():
                for n, (_, name, arguments) in enumerate(message.calls, message.first):
                    if name == COLLECT_DIGITS:
                        self._collect(message.turn, n, arguments, now_ms)
            case ToolReturned(turn, n):
                self._returned(turn, n, now_ms)
            case ReplyEnded() | ReplyStarted():
                self._reply_is_open = False
            case ReplyPlayed(turn) | Interrupted(turn, utterance=0):
                self._reply_is_open = False
                if self.collecting is not None and turn >= self.collecting.turn:
                    self._prompt_heard(now_ms)
            case CallStarted() if self.collecting is not None:
                self._prompt_heard(now_ms)
            case SpeechStarted():
                self._hushed_until_ms = now_ms + SPEECH_MS_MAX
            case SpeechEnded():
                self._hushed_until_ms = now_ms + WORDS_MS
            case UserTurn() if message.utterance not in self._turns:
                self._turns.add(message.utterance)
                self._hushed_until_ms = 0.0
                self._speak(message, now_ms)
            case _:
                pass

    def _press(self, pressed: DtmfReceived, now_ms: float) -> None:
        if (pressed.epoch, pressed.at_ms) in self._seen:
            return
        self._seen.add((pressed.epoch, pressed.at_ms))
        key = pressed.digit
        if self._is_stray(key, pressed.at_ms):
            self.strays += 1
            return
        self._pending.append(_Key(key, pressed.at_ms, now_ms))
        self._enter(key, now_ms)

    def _is_stray(self, key: str, at_ms: int) -> bool:
        if key not in KEYS and (key or self.collecting is None):
            return True  # a letter; or one too many after a secret entry
        finish_key = self.collecting.finish_key if self.collecting is not None else FREE.finish_key
        if not key or key != finish_key or self._pending or not 0 <= at_ms - self._last_at_ms <= STRAY_MS:
            return False
        self._last_at_ms = 0
        return True

    def _enter(self, key: str, now_ms: float) -> None:
        asked = self.collecting
        ends = asked is not None and key != "" and key == asked.finish_key
        # While digits are collected, a key counts that is one; a secret one only if the store of secrets has it.
        if asked is None or ends or (key not in ("*", "#") and asked.secret == (key == "")):
            self._entry.press(key, now_ms)

    def _consume(self, entered: KeysEntered) -> None:
        if entered.entry <= self._entries:
            return
        self._entries = entered.entry
        count = len(self._pending) if entered.turn else entered.count
        gone, rest = self._pending[:count], self._pending[count:]
        if not entered.turn and rest and rest[0].key == FREE.finish_key and entered.keys not in self.menu:
            gone, rest = [*gone, rest[0]], rest[1:]
        self._last_at_ms = gone[-1].at_ms if gone and gone[-1].key != FREE.finish_key else 0
        self._pending = rest
        self._begin_again()

    def _begin_again(self) -> None:
        """Take up the pending keys anew, by the options that count now."""
        collecting = self.collecting
        self._entry = KeyEntry(collecting.entry if collecting is not None else FREE)
        if collecting is not None and self._prompt_ms is not None:
            self._entry.wait(self._prompt_ms)
        for key in self._pending:
            self._enter(key.key, key.now_ms)

    def _collect(self, turn: int, n: int, arguments: str, now_ms: float) -> None:
        if (turn, n) in self._called:
            return
        self._called.add((turn, n))
        if self.collecting is not None:
            self._replaced.append(self.collecting)
        self.collecting = collection(turn, n, arguments, self._secret_names)
        if self.collecting.secret:
            self._secret_names.add(self.collecting.name)
        self._prompt_ms = now_ms + PROMPT_MS_MAX
        self._reply_is_open = True
        self._spoken, self._is_void, self._only_keys = "", False, False
        self._begin_again()

    def _prompt_heard(self, now_ms: float) -> None:
        if self._prompt_ms is None or now_ms < self._prompt_ms:
            self._prompt_ms = now_ms
            self._begin_again()

    def _returned(self, turn: int, n: int, now_ms: float) -> None:
        self._replaced = [each for each in self._replaced if (each.turn, each.n) != (turn, n)]
        collecting = self.collecting
        if collecting is None or (collecting.turn, collecting.n) != (turn, n):
            return
        if collecting.secret:
            self._linger = (collecting.name, now_ms + LINGER_MS)
        self.collecting, self._prompt_ms = None, None
        self._pending = [key for key in self._pending if key.key]
        self._begin_again()

    # --- what the caller says ---------------------------------------------------------------------------------------

    def takes(self, turn: UserTurn | EagerUserTurn) -> bool:
        """Whether these words are part of an entry, and want no reply of their own."""
        collecting = self.collecting
        if collecting is None or self._is_void:
            return turn.utterance in self.dictated
        if turn.backchannel:
            return True
        digits = digits_in(turn.text)
        if not digits or not collecting.spoken_too or collecting.secret or self._entry.count:
            return bool(digits)
        return len(self._spoken + digits) <= collecting.digits_max or collecting.fits(len(digits))

    def _speak(self, turn: UserTurn, now_ms: float) -> None:
        collecting = self.collecting
        if collecting is None or turn.utterance in self.dictated:
            return
        if not self.takes(turn):
            self._is_void = not turn.unsure
            return
        self.dictated.add(turn.utterance)
        if turn.backchannel or self._entry.count:
            return  # they say the digits while they press them
        if collecting.secret or not collecting.spoken_too:
            self._only_keys = True
            if collecting.secret:
                self.hidden.add(turn.utterance)
            return
        digits = digits_in(turn.text)
        fits = len(self._spoken + digits) <= collecting.digits_max
        self._spoken = self._spoken + digits if fits else digits  # else they began again
        self._spoken_ms = now_ms

    # --- what is due ------------------------------------------------------------------------------------------------

    def due(self, now_ms: float) -> list[KeysEntered | ToolReturned]:
        """What is to be written now, in one append."""
        if self._replaced:
            old = self._replaced[0]
            return [ToolReturned(old.turn, old.n, ToolOutcome.CANCELLED, OTHER_ENTRY)]
        if self.collecting is not None:
            return self._collected(self.collecting, now_ms)
        if self._pending and self._pending[0].key in self.menu:
            return [KeysEntered(self._entries + 1, self._pending[0].key, 1)]
        entered = self._entry.wake(now_ms)
        return [KeysEntered(self._entries + 1, entered.keys, entered.count)] if entered is not None else []

    def _collected(self, asked: Collection, now_ms: float) -> list[KeysEntered | ToolReturned]:
        entered = None if self._reply_is_open else self._ended(asked, now_ms)
        if entered is None:
            return []
        keys, count, (outcome, words) = entered
        returned = ToolReturned(asked.turn, asked.n, outcome, words)
        if not self._pending:
            return [returned]
        shown = "" if asked.secret else keys
        return [KeysEntered(self._entries + 1, shown, count, asked.turn, asked.n), returned]

    def _ended(self, asked: Collection, now_ms: float) -> tuple[str, int, tuple[ToolOutcome, str]] | None:
        """(keys, how many, (outcome, words for the model)) if the entry is over."""
        if self._is_void or self._only_keys:
            known = self._entry.finish()
            words = (ToolOutcome.CANCELLED, SPOKE) if self._is_void else (ToolOutcome.FAILED, ONLY_KEYS)
            return known.keys, known.count, words
        if self._spoken and not self._entry.count:
            fits = asked.fits(len(self._spoken))
            if not fits and now_ms < max(self._spoken_ms + DICTATION_MS, self._hushed_until_ms):
                return None
            return "", 0, asked.result(self._spoken, len(self._spoken))
        entered = self._entry.entered or self._woken(now_ms)
        return (entered.keys, entered.count, asked.result(entered.keys, entered.count)) if entered is not None else None

    def _woken(self, now_ms: float) -> EnteredKeys | None:
        return self._entry.wake(now_ms) if now_ms >= self._hushed_until_ms else None

    def wake_ms(self, now_ms: float) -> float | None:
        """When to ask `due` and `secret` again if no event comes before; None: not before one."""
        due_ms = self._entry.due_ms
        if self.collecting is not None:
            if self._spoken and not self._entry.count:
                due_ms = self._spoken_ms + DICTATION_MS
            return max(due_ms, self._hushed_until_ms) if due_ms is not None else None
        linger_ms = self._linger[1]
        return min(due_ms or linger_ms, linger_ms) if linger_ms > now_ms else due_ms

    def secret(self, now_ms: float) -> tuple[str, int] | None:
        """(name under which the edge shall keep digits now, most of them); an empty name: they are no secret.

        None: there never was a secret entry in this call, so the edge need not be told.
        """
        if not self._secret_names:
            return None
        if (asked := self.collecting) is not None:
            return (asked.name, asked.digits_max) if asked.secret else ("", 0)
        name, until_ms = self._linger
        return (name if now_ms < until_ms else "", 0)
