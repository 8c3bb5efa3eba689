"""Turns spoken numbers back into digits: what the TTS normaliser writes out as words, read the other way.  Pure.

    "double four, nine eight"      ──digits_in──▶ "4498"
    "do lakh pachas hazaar"        ──number_in──▶ 250000

A row of numbers is read like a caller dictates it: each number as far as it goes, one after the other, so "twenty
three forty five" is 2345 and "one two three" is 123.  English and Hindi may be mixed, in Latin letters or Devanagari.
Beside numbers only a few words are allowed ("my number is …"); any other word means that the caller said something
else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction

from workers.llm.text.number_words import folded, part_of, piece_of, repeat_of, scale_of, shift_of

CHARS_MAX = 600
"""A longer text is no dictation of digits."""
DIGITS_MAX = 64
"""More digits than that are no number (`Keys` in common/protocol/acts.py)."""
NUMBER_DIGITS_MAX = 18

_DEVANAGARI = {ord("०") + digit: str(digit) for digit in range(10)}
_TOKEN = re.compile(
    r"[0-9]+(?:\.[0-9]+)?(?![^\W_])|(?:[^\W\d_]|[\u0900-\u0963\u0970-\u097f]|(?<=\w)['’](?=\w))+|[^\w\s]|\w"
)
_WORD = re.compile(r"\S+")
_GROUPED = re.compile(r"(?<=[0-9]),(?=[0-9])")
_BREAKS = frozenset(",.;।")
_SIGNS = frozenset("-–—+()!?…\"“”'’_")
"""Signs without a meaning here."""
_ADDS = frozenset({"and", "aur", "और"})
"""Stands within a number: "one hundred and five"."""
_ARTICLE = frozenset({"a", "an"})
_AROUND = frozenset(
    folded(word)
    for word in _WORD.findall(
        "um uh uhm er erm hmm hm mm mhm okay ok so well yes yeah yep please then is it's its that's number numbers"
        " digit digits my code pin otp password id plus dash hyphen space haan han ji haanji hai hain mera meri mere"
        " sir madam phir हाँ जी है हैं मेरा मेरी नंबर कोड पिन फिर प्लस डैश ओके सर मैडम"
    )
)
_PHRASES = re.compile(r"^\W*(?:(?:it|this|that|the (?:number|code|pin|otp)|my \w+ number) is\b)", re.IGNORECASE)
_MONEY = frozenset(
    folded(word)
    for word in _WORD.findall("rupees rupee rupaye rupaiye rupay rupiya rs inr ₹ रुपये रुपए रुपया dollars only")
)


def digits_in(text: str) -> str:
    """The digits that were dictated, such as "9876"; empty if the words are something else, or more than that."""
    found = _numbers(text, frozenset())
    digits = "".join(found)
    return digits if len(digits) <= DIGITS_MAX else ""


def number_in(text: str) -> int | None:
    """The whole number that is meant, with or without a currency; None if the words are something else."""
    digits = "".join(_numbers(text, _MONEY))
    return int(digits) if 0 < len(digits) <= NUMBER_DIGITS_MAX else None


def _numbers(text: str, allowed: frozenset[str]) -> list[str]:
    """The numbers in their order as digits; none if any other word is among them."""
    if len(text) > CHARS_MAX:
        return []
    spelt = _PHRASES.sub("", text.replace("छ:", "छः")).translate(_DEVANAGARI)
    row = _Row()
    for token in map(folded, _TOKEN.findall(_GROUPED.sub("", spelt))):
        if token in _BREAKS:
            row.close()
        elif not (token in _SIGNS or token in _AROUND or token in allowed or row.take(token)):
            return []
    row.close()
    return [] if row.wrong else row.found


@dataclass(slots=True)
class _Number:
    """A number while its words come: summands that have their scale, and the one that a scale may yet multiply."""

    summands: list[tuple[int, Fraction]] = field(default_factory=list)
    newest: Fraction = Fraction(0)
    room: int | None = None
    """A number below this may be added; None: nothing has been said yet."""
    shift: Fraction = Fraction(0)
    """By how much the next number is more ("saadhe")."""
    after_scale: bool = False
    """The last word was a scale."""
    loose: Fraction = Fraction(0)
    """A digit right after a scale: it belongs to a row if another digit follows ("eighteen hundred one two three")."""

    def add(self, value: Fraction, room: int) -> bool:
        """Whether the value can be a further part of this number; then it is."""
        if self.room is not None and not 0 < value < self.room:
            return False
        self.newest += value + self.shift
        self.loose = value if self.after_scale and value < 10 else Fraction(0)
        self.after_scale = False
        self.room, self.shift = room if value else 0, Fraction(0)
        return True

    def multiply(self, scale: int) -> bool:
        """Whether the scale can follow; then it multiplies what was said since the last larger one."""
        if self.room == 0:
            return False
        is_plain = not self.newest  # "thousand", "sava lakh": of one
        value = self.newest or 1 + self.shift
        smaller = [summand for summand in self.summands if summand[0] < scale]
        if scale == 100:
            if value >= 100 or (is_plain and self.room is not None and self.room <= scale):
                return False
            self.newest = value * scale
        else:
            if any(summand[0] == scale for summand in self.summands):
                return False
            before = sum((amount for _, amount in smaller), Fraction(0))
            value = before + (self.newest if is_plain and smaller else value)
            self.summands = [summand for summand in self.summands if summand[0] > scale]
            self.summands.append((scale, value * scale))
            self.newest = Fraction(0)
        self.room, self.shift, self.after_scale = scale, Fraction(0), True
        return True

    @property
    def digits(self) -> str | None:
        """The number; empty if nothing was said, None if it is no whole number."""
        if self.room is None:
            return None if self.shift else ""
        total = self.newest + sum((amount for _, amount in self.summands), Fraction(0))
        return str(total.numerator) if total.denominator == 1 and not self.shift else None


@dataclass(slots=True)
class _Row:
    """The numbers of a text, one after the other."""

    found: list[str] = field(default_factory=list)
    wrong: bool = False
    """Something in it is no whole number."""
    _open: _Number = field(default_factory=_Number)
    _repeat: int = 0
    _article: bool = False

    def take(self, token: str) -> bool:
        """Whether the token belongs to a number."""
        if self._article and not scale_of(token):
            return False
        self._article = False
        if self._repeat:
            return self._repeated(token)
        if token in _ADDS:
            self._open.after_scale = False
            return True
        if token in _ARTICLE:
            self._article = True
            return True
        if repeat := repeat_of(token):
            self.close()
            self._repeat = repeat
            return True
        return self._number(token)

    def _number(self, token: str) -> bool:
        if token[0].isdecimal():
            self._written(token)
        elif scale := scale_of(token):
            if not self._open.multiply(scale):
                self._again()
                self._open.multiply(scale)
        elif piece := piece_of(token):
            if not self._open.add(Fraction(piece.value), piece.room):
                self._again(is_row=piece.value < 10)
                self._open.add(Fraction(piece.value), piece.room)
        elif part := part_of(token):
            if not self._open.add(part, 1):
                self._again()
                self._open.add(part, 1)
        elif shift := shift_of(token):
            if self._open.room is not None and self._open.room <= 100:
                self._again()
            self._open.shift = shift
        else:
            return False
        return True

    def _written(self, token: str) -> None:
        """Digits, as many STT vendors write them.  With a zero in front they are a code, not a number."""
        if len(token) > 1 and token.startswith("0") and "." not in token:
            self._again()
            self.found.append(token)
        elif not self._open.add(Fraction(token), 1):
            self._again()
            self._open.add(Fraction(token), 1)

    def _repeated(self, token: str) -> bool:
        """The digit after "double" or "triple"."""
        piece = piece_of(token)
        digit = token if token.isdecimal() else str(piece.value) if piece is not None else ""
        if len(digit) != 1:
            return False
        self.found.append(digit * self._repeat)
        self._repeat = 0
        return True

    def _again(self, is_row: bool = False) -> None:
        """The number is complete, and the next one begins; `is_row`: with a single digit."""
        if is_row and (loose := self._open.loose):
            self._open.newest, self._open.loose = self._open.newest - loose, Fraction(0)
            self._again()
            self._open.add(loose, 1)
        digits = self._open.digits
        if digits is None:
            self.wrong = True
        elif digits:
            self.found.append(digits)
        self._open = _Number()

    def close(self) -> None:
        """A pause, or the end: what was begun is complete."""
        self._again()
        if self._repeat or self._article:
            self.wrong = True
