"""Removes emojis and repeated punctuation, and reads signs."""

from __future__ import annotations

import re

from workers.tts.normalise.spans import Pass, erased, swapped
from workers.tts.normalise.words import Words

_EMOJI = "\U0001f000-\U0001faff\U000e0020-\U000e007f☀-➿⬀-⯿⌀-⏿\ufe0e\ufe0f\u20e3©®™℠†‡§¶�"
_SUPERSCRIPTS = {"²": " squared", "³": " cubed"}


def _stop(match: re.Match[str]) -> str:
    return "?" if "?" in match[0] else "!"


EMOJIS: tuple[Pass, ...] = (
    Pass(re.compile("(?<=[0-9#*])\ufe0f?\u20e3"), erased),  # keycaps: the digit stays
    Pass(re.compile(rf" ?[{_EMOJI}][{_EMOJI}\u200d]*"), erased),
    Pass(re.compile(r"(?<!\S)[:;]-?[)(DP](?!\S)"), erased, ":;"),
    Pass(re.compile(r" ?(?:[→➜⇒←↔]|[-=]>) ?"), lambda match: ", ", "→➜⇒←↔>"),
)
"""For all languages."""

PUNCTUATION: tuple[Pass, ...] = (
    Pass(re.compile(r"[!?]{2,}"), _stop, "!?"),
    Pass(re.compile(r",(?: ?,)+"), lambda match: ",", ","),
    Pass(re.compile(r"\.{4,}|…\.+|\.{3}…"), lambda match: "...", ".…"),
    Pass(re.compile(r"…{2,}"), lambda match: "…", "…"),
    Pass(re.compile(r" ?-{2,}(?= |$)| ?—{2,}"), lambda match: " —", "-—"),
    Pass(re.compile(r"([;:])[;:]+"), lambda match: match[1], ";:"),
    Pass(re.compile(r" {2,}"), lambda match: " "),
)


def sign_passes(words: Words) -> tuple[Pass, ...]:
    """Return the passes for signs between and before numbers; they run while the numbers are still digits."""
    signs = words.signs
    between = {
        "×": signs.times,
        "*": signs.times,
        "x": signs.times,
        "X": signs.times,
        "÷": signs.divided,
        "+": signs.plus,
    }
    return (
        Pass(
            re.compile(
                r"(?<=[0-9]) [xX×] (?=[0-9.]{1,5} ?(?:ft|feet|foot|m|cm|mm|in|inch|inches|metres?|"
                r"meters?|फुट|फ़ुट)(?!\w))|(?<=feet) [x×] (?=[0-9])"
            ),
            lambda match: f" {signs.across} ",
            "xX×",
        ),
        Pass(re.compile(r"(?<=[0-9])[xX×](?=[0-9])"), lambda match: f" {signs.across} ", "xX×"),
        Pass(re.compile(r"(?<=[0-9]) ([xX×*÷+]) (?=[0-9])"), lambda match: f" {between[match[1]]} ", "xX×*÷+"),
        Pass(re.compile(r"(?<=[0-9])[÷+](?=[0-9])"), lambda match: f" {between[match[0]]} ", "÷+"),
        Pass(re.compile(r"(?<=[0-9])\+(?!\S{0,3}[0-9])"), lambda match: f" {signs.plus}", "+"),
        Pass(re.compile(r"(?<![\w)])\+ ?(?=[0-9])"), lambda match: f"{signs.plus} ", "+"),
        Pass(re.compile(r"(?<=[0-9)]) ?= ?(?=[0-9₹$€£-])"), lambda match: f" {signs.equals} ", "="),
        Pass(re.compile(r"[#№] ?(?=[0-9])"), lambda match: f"{signs.number} ", "#№"),
        Pass(re.compile(r"(?<![\w)\]%.,-])[-−](?=[₹$€£]?[0-9])"), lambda match: f"{signs.minus} ", "-−"),
    )


def comparisons(words: Words) -> tuple[Pass, ...]:
    """Return the pass for signs before a number or a sum of money; it runs while both are still digits."""
    signs = words.signs
    before = {
        "~": signs.about, "≈": signs.about, "<": signs.less, ">": signs.more, "≥": signs.at_least, "≤": signs.at_most,
        ">=": signs.at_least, "<=": signs.at_most, "±": f"{signs.plus} {signs.minus}",
    }  # fmt: skip
    return (Pass(re.compile(r"([<>]=|[~≈<>≥≤±]) ?(?=[₹$€£]?[0-9])"), lambda match: f"{before[match[1]]} ", "~≈<>≥≤±"),)


def joints(words: Words) -> tuple[Pass, ...]:
    """Return the passes for signs between words."""
    signs = words.signs

    def lettered(match: re.Match[str]) -> str:
        return f"{' '.join(match[1])} {signs.also} {' '.join(match[2])}"  # R&D, AT&T

    return (
        Pass(re.compile(r"(?<![\w/])and/or(?![\w/])"), lambda match: "and or", "/"),
        Pass(re.compile(r"(?<!\w)([A-Z]{1,3})&([A-Z]{1,3})(?!\w)"), lettered, "&"),
        Pass(re.compile(r" ?& ?"), lambda match: f" {signs.also} ", "&"),
        Pass(re.compile(r"(?<=[^\W\d_])/(?=[^\W\d_])"), lambda match: f" {signs.either} ", "/"),
        Pass(re.compile(r" ?/ ?"), lambda match: ", ", "/"),
        Pass(re.compile(r" ?% ?"), lambda match: f" {signs.percent} ", "%"),
        Pass(re.compile(r" ?[=≈] ?"), lambda match: f" {signs.equals} ", "=≈"),
        Pass(re.compile(r" ?[+×] ?"), lambda match: f" {signs.plus if '+' in match[0] else signs.times} ", "+×"),
        Pass(re.compile(r" ?@ ?"), lambda match: f" {signs.at} ", "@"),
        Pass(re.compile(r" ?[°] ?"), lambda match: f" {signs.degrees} ", "°"),
        Pass(re.compile("[²³]"), swapped(_SUPERSCRIPTS), "²³"),
        Pass(re.compile(r" +(?=[,!?;:।]|\.(?!\.))"), erased),
    )
