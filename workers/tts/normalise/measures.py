"""Reads units: 5 km, 2 GB/day, 5'4", 1h 30m."""

from __future__ import annotations

import re

from workers.tts.normalise.numbers import NUMBER
from workers.tts.normalise.spans import Pass
from workers.tts.normalise.words import Words


def units(words: Words) -> Pass:
    """Return the pass for a number and its unit; it runs after money."""
    known = words.units
    either = "|".join(sorted(map(re.escape, known), key=len, reverse=True))

    def measured(match: re.Match[str]) -> str:
        one, many = known[match[2]]
        spoken = f"{match[1]} {one if match[1] == '1' else many}"
        if match[4]:
            return f"{spoken} {words.signs.per} {known[match[4]][0]}"
        return f"{spoken} {words.signs.per} " if match[3] == "/" else spoken

    return Pass(
        re.compile(
            rf"(?<![^\W_])({NUMBER})(?: ?-? ?)(?!-)({either})(?![\w\u0900-\u0963²³]|/[^A-Za-z])"
            rf"(/(?:({either})(?![\w\u0900-\u0963]))?|\.(?= [a-z]))?"
        ),
        measured,
    )


def joined(words: Words) -> tuple[Pass, ...]:
    """Return the passes for two numbers with two units; they run before ranges, which use the same marks."""

    def height(match: re.Match[str]) -> str:
        feet, more = match[1], match[2] or match[3]
        return f"{feet} {words.units['ft'][feet != '1']} {more} {words.units['in.'][more != '1']}"

    def duration(match: re.Match[str]) -> str:
        hours, minutes = words.units["h"], words.units["min"]
        return f"{match[1]} {hours[match[1] != '1']} {match[2]} {minutes[match[2] != '1']}"

    return (
        Pass(
            re.compile(
                r"(?<![\w.,])([0-9]{1,2}) ?(?:['’′] ?([0-9]{1,2}) ?(?:\"|”|″|''|in(?:ch(?:es)?)?\.?)?"
                r"|(?:ft\.?|feet) ?([0-9]{1,2}) ?(?:\"|”|″|''|in(?:ch(?:es)?)?(?:\.(?= [a-z]))?))(?!\w)"
            ),
            height,
            "'’′f",
        ),
        Pass(
            re.compile(r"(?<![\w.,])([0-9]{1,3}(?:\.[0-9]{1,2})?)[\"”″](?=-? ?[A-Za-z\u0904-\u0939])(?=[^\"”]*$)"),
            lambda match: f"{match[1]}{words.signs.inch}",
            '"”″',
        ),
        Pass(
            re.compile(
                r"(?<![\w.,])([0-9]{1,3})['’′]"
                r"(?:(?= ?[x×]|-? ?(?:tall|long|wide|deep|high|by|rug|ceiling)(?!\w))|(?<=[x×] [0-9]['’′])(?!\w))"
            ),
            lambda match: f"{match[1]} {words.units['ft'][1]}",
            "'’′",
        ),
        Pass(re.compile(r"(?<![\w.,])([0-9]{1,2}) ?(?:h|hrs?) ?([0-5]?[0-9]) ?(?:m|mins?)(?!\w)"), duration),
    )
