"""Reads phone and card numbers, and groups a row of digits so that a caller can write it down."""

from __future__ import annotations

import re

from workers.tts.normalise.contexts import NEAR_CHARS
from workers.tts.normalise.spans import Pass
from workers.tts.normalise.words import Words

GROUP_DIGITS_MAX = 5
_CALLED = re.compile(r"(?i)(?<!\w)(?:call|dial|helpline|toll|contact|phone|number|कॉल|डायल|हेल्पलाइन|नंबर)")

_COUNTRY = re.compile(r"(91|1|44|971|65|61)(?=[0-9]{8,11}$)")
_PREFIX = re.compile(r"(0|(?:00|0)?91)(?=[6-9][0-9]{9}$)")
_PLUS = re.compile(r"(?<![\w+])(?:\+|\(\+)[0-9](?:[ ()-]{0,2}[0-9]){6,14}(?![0-9])")
_KEYS = re.compile(r"(?<![\w*#])(\*#?[0-9]{1,16}(?:\*[0-9]{1,16}){0,3}#)(?![\w*#])")
"""Codes that are dialled: *123# and *#06#."""
_PRESSED = re.compile(r"((?<!\w)(?i:press|dial|hit|then|or|the) )([*#])(?=[ ,.;]|$)|(?<!\S)([*#])(?= (?:दबा|key))")
_TOLL_FREE = re.compile(
    r"(?<![\w.,+-])(?:(1)(?:[ .-]|(?=\()))?\(?(18[0-9]0|1900|8(?:00|88|77|66|55|44|33|22)|900)\)?"
    r"[ .-]?([0-9]{2,4}(?:[ .-]?[0-9]{2,4}){1,2}|[0-9]{4,7}|"
    r"[0-9]{0,3}[ -]?[A-Z]{3,8}(?:-[A-Z0-9]{2,8})?)(?![\w])(?![.,][0-9])"
)
"""Toll-free numbers: 1800 123 4567 and 1860 500 5555 of India, 1-800-555-0199 and 1-800-FLOWERS of North America."""
_ROWS = (
    re.compile(r"(?<![\w.,+-])(?:0|(?:00|0)?91[ -])?[6-9][0-9]{4}[ -]?[0-9]{5}(?![\w])(?![.,][0-9])"),
    re.compile(r"(?<![\w.,+-])(?:00|0)?91[ -]?[6-9][0-9]{9}(?![\w])(?![.,][0-9])"),
    re.compile(r"(?<![\w.,+-])\(?0[0-9]{2,4}\)?[ -][0-9]{3,4}[ -]?[0-9]{3,4}(?![\w])"),
    re.compile(r"(?<![\w.,+-])(?:1[ -])?\([0-9]{3}\) ?[0-9]{3}[ -][0-9]{4}(?![\w])"),
    re.compile(r"(?<![\w.,+-])(?:1[ .-])?[2-9][0-9]{2}[ .-][0-9]{3}[ .-][0-9]{4}(?![\w])"),
    re.compile(r"(?<![\w.,+-])[0-9]{4}(?:[ -][0-9]{4}){2,4}(?![\w])"),  # a card, or Aadhaar
)
_MASKED = re.compile(
    r"(?<!\w)(?:[Xx]{2,16}|[•]{2,16}|\*{4,16})(?:[ -](?:[Xx]{2,8}|[•]{2,8}|\*{2,8})){0,3}[ -]?([0-9]{3,6})(?![\w*])"
    r"|(?i:(?<=account )|(?<=card )|(?<=a/c )|(?<=a/c no ))(?:\*{1,3}|\.{2,4}|…)([0-9]{3,6})(?![\w*])"
)


def groups(digits: str) -> list[str]:
    """Group a row of digits by at most `GROUP_DIGITS_MAX`: 10 are 5 and 5, 6 are 3 and 3, 12 are 4, 4 and 4."""
    count = len(digits)
    if count <= GROUP_DIGITS_MAX:
        return [digits]
    size = 5 if count == 10 else 3 if count in (6, 9) else 4
    cut = [digits[at : at + size] for at in range(0, count, size)]
    if count == 7:
        return [digits[:3], digits[3:]]
    if len(cut[-1]) == 1:
        cut[-2:] = [cut[-2] + cut[-1]]
    return cut


def digit_words(words: Words, digits: str) -> str:
    """Return the digits one by one in words, with a pause between the groups."""
    return ", ".join(words.digits(group) for group in groups(digits))


def _is_toll_free(match: re.Match[str]) -> bool:
    trunk, prefix, rest = match.groups()
    if any(map(str.isalpha, rest)):
        return bool(trunk) or (len(prefix) == 4 and "-" in match[0])  # 1-800-FLOWERS, but "800 INR"
    digits = sum(map(str.isdecimal, rest))
    if len(prefix) == 3:
        return digits == 7 and (bool(trunk) or bool(re.search("[ .-]", match[0])))
    near = match.string[max(0, match.start() - NEAR_CHARS) : match.start()]
    return 6 <= digits <= 7 or bool(_CALLED.search(near))


def _part(words: Words, part: str) -> str:
    return digit_words(words, part) if part.isdecimal() else part


def passes(words: Words) -> tuple[Pass, ...]:
    """Return the passes; they run before dates and ranges, which use dashes, too."""

    def row(match: re.Match[str]) -> str:
        written = re.findall("[0-9]+", match[0])
        whole = "".join(written)
        in_one = len(written) == 1 or [len(part) for part in written] == [6, 5]  # 098765 43210
        if in_one and (prefix := _PREFIX.match(whole)):
            written = [prefix[1], whole[prefix.end() :]]
        return ", ".join(digit_words(words, part) for part in written)

    def international(match: re.Match[str]) -> str:
        written = re.findall("[0-9]+", match[0].replace("(0)", ""))
        if len(written) == 1 and (country := _COUNTRY.match(written[0])):
            written = [country[1], written[0][country.end() :]]
        return f"{words.signs.plus} " + ", ".join(digit_words(words, part) for part in written)

    def toll_free(match: re.Match[str]) -> str | None:
        if not _is_toll_free(match):
            return None
        trunk, prefix, rest = match.groups()
        spoken = [words.digits(part) for part in (trunk, prefix) if part]
        return ", ".join([*spoken, *(_part(words, part) for part in re.split("[ .-]", rest) if part)])

    return (
        Pass(_PLUS, international, "+"),
        Pass(_TOLL_FREE, toll_free),
        *(Pass(pattern, row) for pattern in _ROWS),
    )


def masked(words: Words) -> tuple[Pass, ...]:
    """Return the passes for XX4321, ****4321, *123# and "press *"; they run before stars are removed as emphasis."""
    signs = words.signs

    def keys(match: re.Match[str]) -> str:
        parts = re.findall(r"[0-9]+|[*#]", match[1])
        return " ".join({"*": signs.star, "#": signs.hash}.get(part) or words.digits(part) for part in parts)

    def pressed(match: re.Match[str]) -> str:
        return (match[1] or "") + {"*": signs.star, "#": signs.hash}[match[2] or match[3]]

    return (
        Pass(_MASKED, lambda match: f"{signs.ending} {digit_words(words, match[1] or match[2])}", "Xx•*.…"),
        Pass(_KEYS, keys, "#"),
        Pass(_PRESSED, pressed, "*#"),
    )
