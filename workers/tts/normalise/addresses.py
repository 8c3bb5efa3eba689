"""Reads web and mail addresses, UPI handles and file names, with words for their marks."""

from __future__ import annotations

import re

from workers.tts.normalise.spans import Pass
from workers.tts.normalise.words import Words

PATH_PARTS_MAX = 4
"""Parts of a path that are read; a caller cannot write down more."""

_DOMAINS = "com|in|org|net|io|ai|app|dev|info|gov|edu|biz|tech|shop|store|online|co|uk|us|eu|de|example"
_FILES = "pdf|docx?|xlsx?|pptx?|csv|txt|jpe?g|png|mp3|mp4|zip|html?"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,40}[A-Za-z0-9])?"
_LABELS = rf"(?:{_LABEL}\.){{1,5}}"
_URL = re.compile(
    rf"(?<![\w@.])(?:https?://(?:www\.)?([^\s/?#<>\"']{{1,120}})|(?:www\.)?({_LABELS}(?:{_DOMAINS})(?::[0-9]{{2,5}})?)"
    r"(?![\w@-]))((?:/[^\s/?#<>\"']{0,100}){0,20})(?:[?#][^\s<>\"']{0,500})?"
)
_MAIL = re.compile(
    r"(?<![\w.+-])(?:mailto:)?([A-Za-z0-9][\w.+-]{0,63})@(?=[0-9.-]{0,60}[A-Za-z])([A-Za-z0-9][A-Za-z0-9-]{0,60}(?:\.[A-Za-z0-9-]{1,60}){0,5})"
    r"(?![\w@])"
)
_FILE = re.compile(rf"(?<![\w.])([A-Za-z0-9][\w-]{{0,60}})\.({_FILES})(?!\w)")
_HANDLE = re.compile(r"(?<![\w@.])@([A-Za-z]\w{0,40})")
_TRAILING = ".,;:!?)*'\"।…"
_RUNS = re.compile(r"[0-9]+|[._/:+-]|[^0-9._/:+-]+")


def passes(words: Words) -> tuple[Pass, ...]:
    """Return the passes; they run before any other reads the digits and marks of an address."""
    signs = words.signs
    marks = {"/": signs.slash, ".": signs.dot, "-": signs.dash, "_": signs.underscore, "+": signs.plus, ":": signs.to}

    def address_words(text: str) -> str:
        """Return `front.desk2` as "front dot desk two"."""
        parts = []
        for run in _RUNS.findall(text):
            parts.append(marks.get(run) or (words.digits(run) if run.isdecimal() and run.isascii() else run))
        return " ".join(parts)

    def url(match: re.Match[str]) -> str | None:
        host, path = (match[1] or match[2]).partition(":")[0], match[3]
        end = match[0][len(match[0].rstrip(_TRAILING)) :]
        host = host.rstrip(_TRAILING)
        if not host:
            return None
        segments = [segment.rstrip(_TRAILING) for segment in path.split("/") if segment.rstrip(_TRAILING)]
        return address_words("/".join([host, *segments[:PATH_PARTS_MAX]])) + end

    def mail(match: re.Match[str]) -> str:
        return f"{address_words(match[1])} {signs.at} {address_words(match[2])}"

    return (
        Pass(_MAIL, mail, needs="@"),
        Pass(_URL, url, needs=".:"),
        Pass(_FILE, lambda match: f"{address_words(match[1])} {signs.dot} {match[2]}", needs="."),
        Pass(_HANDLE, lambda match: f"{signs.at} {address_words(match[1])}", needs="@"),
    )
