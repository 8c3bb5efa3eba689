"""Finds a day, a time and a name in a transcript, and writes a time in words.

Written for speech recognition: "3 p.m.", "three in the afternoon", "half past three" and "at tree" are one time.
Plain patterns, English only, no calendar: "tomorrow" stays "tomorrow".  Times are minutes from midnight.
"""

from __future__ import annotations

import re

NOON = 12 * 60
NAME_WORDS_MAX = 3

_DAYS = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        re.findall(r"\w+", "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"),
        start=1,
    )
} | {"twenty": "20", "thirty": "30", "forty": "40", "fifty": "50", "fortyfive": "45"}
_SOUNDS_LIKE = {"tree": "3", "free": "3", "for": "4", "fore": "4", "to": "2", "too": "2", "ate": "8", "won": "1"}
_HOURS = ("twelve", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")
_MINUTES = {0: "", 10: "ten", 20: "twenty", 40: "forty", 45: "forty-five", 50: "fifty"}

_DAY_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\bday after to ?morr?ow\b"), "the day after tomorrow"),
    (re.compile(r"\bto ?m+orr?ow\b"), "tomorrow"),
    (re.compile(r"\b(?:today|tonight|this (?:morning|afternoon|evening))\b"), "today"),
    (re.compile(rf"\bnext ({_DAYS})\b"), "next {0}"),
    (re.compile(rf"\b({_DAYS})s?\b"), "on {0}"),
    (re.compile(rf"\b(?:the )?(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({_MONTHS})\b"), "on {1} {0}"),
    (re.compile(rf"\b({_MONTHS}) (?:the )?(\d{{1,2}})(?:st|nd|rd|th)?\b"), "on {0} {1}"),
    (re.compile(r"\bthe (\d{1,2}(?:st|nd|rd|th))\b"), "on the {0}"),
)

_HOUR = r"(?P<h>[01]?\d|2[0-3])"
_TIME_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b(?P<shift>half past|quarter past|quarter to) {_HOUR}\b",
        rf"\b{_HOUR}[:.](?P<m>[0-5]\d)\b",
        rf"\bat {_HOUR}(?P<m>[0-5]\d)\b",
        rf"\b{_HOUR} (?P<m>[1-5]\d)\b",
        rf"\b{_HOUR} ?(?:am|pm|oclock)\b",
        rf"\b{_HOUR} (?:in the|at night|this|tomorrow)\b",
        rf"\b(?:at|around|about|by|make it) {_HOUR}\b",
    )
)
_LOOSE_TIME = re.compile(rf"\b{_HOUR}\b(?! of\b)")
_SHIFTS = {"half past": 30, "quarter past": 15, "quarter to": -15}

_WORD = r"[^\W\d_][\w'’-]*"
_CAPITAL = r"[A-Z][\w'’-]*"
_NAMED = re.compile(rf"\b(?:name(?: is|['’]s|s)?|call me|i am called),? +({_WORD}(?: +{_WORD}){{0,2}})", re.IGNORECASE)
_INTRODUCED = re.compile(rf"\b(?:[Tt]his is|I am|I['’]m|[Ii]t['’]?s|[Ii]t is) +({_CAPITAL}(?: +{_CAPITAL}){{0,2}})")
_SPEAKING = re.compile(rf"^\W*({_CAPITAL}(?: +{_CAPITAL}){{0,2}}),? +(?:here|speaking)\b")
_FILLER = re.compile(
    r"^(?:(?:yes|yeah|sure|ok|okay|um|uh|well|it['’]?s|it is|i am|i['’]m|this is)[ ,.]+)+", re.IGNORECASE
)
_NO_NAMES = {*_DAYS.split("|"), *_MONTHS.split("|")} | set(
    re.findall(
        r"\w+",
        "a about again all am an and any anyone are ask at bad be book bye call calling can do eh fine for from good "
        "goodbye great hello help here hi how i in is it just know later like looking me my name no nobody not nothing "
        "now of off ok okay on please right so sorry stop sure tell thank thanks that the there this to today tomorrow "
        "tonight wait want was we what when where which who why with would wrong yes you your",
    )
)


def plain(text: str) -> str:
    """Return the text in lower case, without punctuation, and with "p.m." as "pm": the form that the patterns match."""
    text = text.lower().replace("’", "'").replace("'clock", "clock")
    text = re.sub(r"\b([ap])\. ?m\b\.?", r"\1m", text)
    text = re.sub(r"(?<!\d)[:.]|[:.](?!\d)|[^\w\s:.']", " ", text)
    return " ".join(text.split())


def find_day(text: str) -> tuple[str, str]:
    """Find the day in `plain` text; return it in words that fit "I have noted it for …", and the text without it."""
    for pattern, words in _DAY_PATTERNS:
        if match := pattern.search(text):
            day = words.format(*(group.capitalize() if group.isalpha() else group for group in match.groups()))
            return day, f"{text[: match.start()]} {text[match.end() :]}"
    return "", text


def find_time(text: str, *, loose: bool) -> int | None:
    """Find the time in `plain` text, in minutes from midnight; None if there is none.

    `loose`: a bare number counts as a time.  Without "morning" or "afternoon" one to seven mean the afternoon, because
    a clinic has no visitors at three at night.
    """
    if re.search(r"\b(?:noon|midday)\b", text):
        return NOON
    text = re.sub(r"\bat (\w+)", lambda match: f"at {_SOUNDS_LIKE.get(match[1], match[1])}", text)
    text = re.sub(r"forty[ -]five", "fortyfive", text)
    text = " ".join(_NUMBERS.get(word, word) for word in text.split())
    for pattern in (*_TIME_PATTERNS, *([_LOOSE_TIME] if loose else [])):
        if match := pattern.search(text):
            found = match.groupdict()
            hour, minute = int(found["h"]), int(found.get("m") or 0)
            if re.search(r"\b(?:\d*am|morning)\b", text):
                hour = hour % 12 if hour <= 12 else hour
            elif hour <= 7 or (hour < 12 and re.search(r"\b(?:\d*pm|afternoon|evening|night)\b", text)):
                hour = hour % 12 + 12
            return (hour * 60 + minute + _SHIFTS.get(found.get("shift") or "", 0)) % (24 * 60)
    return None


def find_name(text: str, *, awaited: bool) -> str:
    """Find the caller's name in the transcript; `awaited`: it was asked for, so a bare name counts."""
    for pattern in (_NAMED, _SPEAKING, _INTRODUCED):
        if (match := pattern.search(text)) and (name := _name(match[1])):
            return name
    if not awaited:
        return ""
    bare = _FILLER.sub("", text.strip()).strip(" .,!?")
    return _name(bare) if re.fullmatch(rf"{_WORD}(?: +{_WORD}){{0,{NAME_WORDS_MAX - 1}}}", bare) else ""


def say_time(minutes: int) -> str:
    """Write a time in words: 900 is "three in the afternoon", 570 "half past nine in the morning"."""
    hour, minute = divmod(minutes, 60)
    part = "in the morning" if hour < 12 else "in the afternoon" if hour < 17 else "in the evening"
    if minutes == NOON:
        return "noon"
    if minute in (15, 30):
        return f"{'half' if minute == 30 else 'a quarter'} past {_HOURS[hour % 12]} {part}"
    return " ".join(filter(None, (_HOURS[hour % 12], _MINUTES.get(minute, str(minute)), part)))


def _name(words: str) -> str:
    """Return the words before the first that is no name; "sarah" becomes "Sarah", "McKay" stays."""
    name: list[str] = []
    for word in words.split():
        if word.lower() in _NO_NAMES:
            break
        name.append(word.capitalize() if word.islower() else word)
    return " ".join(name)
