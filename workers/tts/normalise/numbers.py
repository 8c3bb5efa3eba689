"""Reads plain numbers, and how they are written: grouping, decimals, ordinals, fractions, ranges, units."""

from __future__ import annotations

import re
from dataclasses import dataclass

from workers.tts.normalise.contexts import counts
from workers.tts.normalise.phones import digit_words
from workers.tts.normalise.scales import SCALE, is_scale, is_volume, scale_name
from workers.tts.normalise.spans import Pass
from workers.tts.normalise.words import Words

DIGITS_MAX = 15
"""Most digits of a number that is read as one; a longer one is read digit by digit."""

_GROUPED = r"[0-9]{1,3}(?:(?:,[0-9]{2}){1,6}|(?:,[0-9]{3}){1,4})?,[0-9]{3}(?![0-9])"
NUMBER = rf"(?<![0-9])(?:{_GROUPED}|[0-9]{{1,{DIGITS_MAX}}}(?![0-9]))(?:\.[0-9]{{1,6}}(?![0-9]))?"
"""Pattern for a written number: 7, 2.5, 1,25,000 or 1,250,000.50."""

_PART = {
    "½": (1, 2),
    "⅓": (1, 3),
    "⅔": (2, 3),
    "¼": (1, 4),
    "¾": (3, 4),
    "⅛": (1, 8),
    "⅜": (3, 8),
    "⅝": (5, 8),
    "⅞": (7, 8),
}
_FRACTIONS = {(over, under) for under in (2, 3, 4, 8) for over in range(1, under)}
_OUT_OF = (5, 10, 100)
_DASH = r" ?[-–—] ?"


_SPACED = re.compile(
    r"(?<![\w.,+-])(?<![0-9] )(?:[1-9][0-9]{0,2}(?: [0-9]{3}){1,4}|"
    r"[1-9][0-9]?(?: [0-9]{2}){1,3} [0-9]{3})(?![\w-])(?!,[0-9])(?! ?[0-9])(?!\.[0-9]{3})"
)
_PORTIONED = re.compile(
    r" (cup|tablet|pill|teaspoon|tablespoon|spoon|tsp|tbsp|kilo|kg|litre|glass|plate|mile|pound|bottle|gallon|pint|day|"
    r"dozen|"
    r"hour|inch|ounce|acre|page|month|year|tank|portion|dose|pack|packet|metre|sandwich|pizza)(?![\w])"
)
_PRESSURE = re.compile(r"(?i)(?<!\w)(?:bp|pressure)(?!\w)")


@dataclass(frozen=True, slots=True)
class Amount:
    """A parsed number."""

    whole: int
    decimals: str
    indian: bool | None
    """True: grouped as in India; False: grouped in thousands; None: undecidable."""

    @classmethod
    def of(cls, written: str) -> Amount:
        """Parse `written`, which must match `NUMBER`."""
        whole, _, decimals = written.partition(".")
        _first, *later = whole.split(",")
        indian = None if len(later) < 2 else len(later[0]) == 2
        return cls(int(whole.replace(",", "")), decimals, indian)

    def spoken(self, words: Words, *, indian: bool | None = None) -> str:
        """Return the number in words; `indian` overrides how it was grouped."""
        chosen = indian if indian is not None else words.indian if self.indian is None else self.indian
        spoken = words.cardinal(self.whole, indian=chosen)
        return f"{spoken} {words.signs.point} {words.digits(self.decimals)}" if self.decimals else spoken


def groups() -> tuple[Pass, ...]:
    """Return the pass for spaces between thousands (10 000 and 1 250 000); it runs after codes."""

    def joined(match: re.Match[str]) -> str | None:
        written = match[0]
        western = all(len(group) == 3 for group in written.split()[1:])
        sure = (western and written.count(" ") > 1) or written.endswith("00") or counts(match.string, match.end())
        before = match.string[max(0, match.start() - 5) : match.start()].rstrip()
        return written.replace(" ", ",") if sure or before.endswith(("₹", "$", "€", "£", "Rs", "Rs.", "INR")) else None

    return (Pass(_SPACED, joined, " "),)


def joints(words: Words) -> tuple[Pass, ...]:
    """Return the passes for ranges, fractions and shares; they run before units and money."""
    signs = words.signs

    def fraction_of(match: re.Match[str], over: int, under: int) -> str:
        if match[1]:
            return words.fraction(int(match[1]), over, under)
        noun, spoken = _PORTIONED.match(match.string, match.end()), words.fraction(None, over, under)
        return words.portion(spoken, noun[1]) if noun else spoken

    def part(match: re.Match[str]) -> str:
        return fraction_of(match, *_PART[match[2]])

    def fraction(match: re.Match[str]) -> str | None:
        over, under = int(match[2]), int(match[3])
        if (over, under) not in _FRACTIONS:
            return None
        return fraction_of(match, over, under)

    def dashed(match: re.Match[str]) -> str | None:
        parts = re.split(_DASH, match[0])
        if len(parts) == 2 and parts[0] == parts[1]:
            return "-".join(Amount.of(part).spoken(words) for part in parts if part.isdecimal()) or None  # 50-50
        return (f" {signs.to} " if len(parts) == 2 else ", ").join(parts)

    def slashed(match: re.Match[str]) -> str:
        parts = [Amount.of(match[at]).spoken(words) for at in (1, 2)]
        if _PRESSURE.search(match.string, max(0, match.start() - 30), match.start()):
            return f"{match[1]} {signs.by if words.indian else 'over'} {match[2]}"
        if int(match[2]) in _OUT_OF and float(match[1]) <= int(match[2]):
            return words.share(*parts)
        return f"{parts[0]} {signs.by} {parts[1]}"

    return (
        Pass(
            re.compile(r"(?:(?<=[0-9]st)|(?<=[0-9]nd)|(?<=[0-9]rd)|(?<=[0-9]th)) ?[-–] ?(?=[0-9])"),
            lambda match: f" {signs.to} ",
            "-–",
        ),
        Pass(re.compile(r"(?<![\w/.,])24[/x×]7(?:/365)?(?![\w/])"), lambda match: signs.always, "/x×"),
        Pass(re.compile(r"(?:(?<![\w.,])([0-9]{1,4}) ?)?([½⅓⅔¼¾⅛⅜⅝⅞])"), part, "".join(_PART)),
        Pass(re.compile(r"(?<![\w/.,])(?:([0-9]{1,4})[ -])?([1-7])/([2348])(?![\w/])"), fraction, "/"),
        Pass(re.compile(r"(?<![\w/.,])([0-9]{1,4}(?:\.[0-9])?)/([0-9]{1,4})(?![\w/])"), slashed, "/"),
        Pass(re.compile(r"(?<=[0-9])/(?=[0-9])"), lambda match: f" {signs.slash} ", "/"),
        Pass(re.compile(rf"[0-9]{{1,{DIGITS_MAX}}}%?(?:{_DASH}[0-9]{{1,{DIGITS_MAX}}}%?){{1,8}}"), dashed, "-–—"),
        Pass(re.compile(r"(?<=[0-9]):(?=[0-9])"), lambda match: f" {signs.to} ", ":"),
    )


def passes(words: Words) -> tuple[tuple[Pass, ...], tuple[Pass, ...]]:
    """Return (the passes for percent, ordinals and scales, those for plain numbers); codes like "5G" run between."""
    signs = words.signs

    def ordinal(match: re.Match[str]) -> str:
        return words.ordinal(Amount.of(match[1]).whole)

    def scaled(match: re.Match[str]) -> str | None:
        if match[2] == "L" and is_volume(match):
            return f"{match[1]} {words.units['l'][match[1] != '1']}"
        if not is_scale(match, match[1], match[2]):
            return None
        return f"{words.scaled(Amount.of(match[1]).spoken(words), words.scales[scale_name(match[2])])}"

    def pointed(match: re.Match[str]) -> str:
        return f" {signs.point} ".join(
            words.digits(each) if each[0] == "0" else short_number_words(each) for each in match[1].split(".")
        )

    def short_number_words(digits: str) -> str:
        return words.cardinal(int(digits), indian=words.indian) if len(digits) <= 2 else words.digits(digits)

    def plain(match: re.Match[str]) -> str:
        written = match[0]
        if written[0] == "0" and len(written) > 1 and written[1] != ".":
            whole, _, decimals = written.partition(".")
            row = digit_words(words, whole.replace(",", ""))
            return f"{row} {signs.point} {words.digits(decimals)}" if decimals else row
        return Amount.of(written).spoken(words)

    measured = (
        Pass(
            re.compile(r"(?<![\w.])[vV]\.?([0-9]{1,3}(?:\.[0-9]{1,3}){0,4})(?![\w])"),
            lambda match: f"{signs.version} {match[1]}",
            "vV",
        ),
        Pass(re.compile(r"(?<![\w.,])([0-9]{1,4}(?:\.[0-9]{1,4}){2,5})(?!\w)"), pointed, "."),
        Pass(re.compile(rf"({NUMBER}) ?(?:%|٪)"), lambda match: f"{match[1]} {signs.percent}", "%٪"),
        Pass(re.compile(rf"({NUMBER})[- ]?(?:st|nd|rd|th|TH|ST|ND|RD)(?!\w)"), ordinal),
        Pass(re.compile(rf"(?<![^\W_])({NUMBER}) ?({SCALE})"), scaled),
        Pass(re.compile(r"(?<=[0-9])[xX](?!\w)"), lambda match: f" {signs.times}", "xX"),
    )
    plainly = (
        Pass(re.compile(r"(?<![\w.])\.([0-9]{1,6})(?![\w.])"), lambda match: f"{signs.point} {words.digits(match[1])}"),
        Pass(re.compile(NUMBER), plain),
        Pass(re.compile(r"[0-9]+"), lambda match: digit_words(words, match[0])),
        Pass(re.compile(r"(?<=[^\W\d_]),(?=[^\W\d_])"), lambda match: ", ", ","),
    )
    return measured, plainly
