"""Runs all passes in their order, for the language of the agent and the script of the text.

Markup is removed for every language.  English and Hindi are normalised down to the last digit; in other languages
digits and abbreviations are left to the voice, which knows the language.
"""

from __future__ import annotations

import re
from functools import cache

from workers.tts.normalise import (
    abbreviations,
    acronyms,
    addresses,
    codes,
    dates,
    markup,
    measures,
    money,
    numbers,
    phones,
    postal,
    roman,
    services,
    stage_directions,
    symbols,
    times,
    travel,
)
from workers.tts.normalise.spans import Draft, Normalised, Pass
from workers.tts.normalise.words_en import English
from workers.tts.normalise.words_hi import HALVED, INFLECTED, ORDINALS, Hindi

ROUNDS_MAX = 4
"""Most rounds: what one removes may have hidden something from the next.  Plain text needs one."""

_DEVANAGARI = re.compile("[\u0904-\u0939\u0958-\u0961]")
_LATIN = re.compile("[A-Za-z]")
_DIGIT = re.compile("[0-9½⅓⅔¼¾⅛⅜⅝⅞]")
_ASCII_DIGITS = str.maketrans("०१२३४५६७८९０１２３４５６７８９", "01234567890123456789")
_TAG = re.compile(r"<[^<>]{0,300}>")
_SPEAKABLE = re.compile(r"[^\W_]")
_TAGS = re.compile(f"{stage_directions.TAG_START}[^{stage_directions.TAG_END}]*{stage_directions.TAG_END}")
_UNSPEAKABLE = re.compile(r"[\W_]+")

_INDIAN_REGIONS = frozenset({"", "in"})
_ENGLISH = English()
_ABROAD = English(indian=False)
_AMERICAN = English(indian=False, month_first=True, says_and=False)
_HINDI = Hindi()

_FOR_ALL = (*stage_directions.DIRECTIONS, *markup.MARKUP, *symbols.EMOJIS)
_AT_LAST = (*markup.REMAINS, *symbols.PUNCTUATION)
_LETTERS = (Pass(_TAG, lambda match: " "), Pass(_UNSPEAKABLE, lambda match: " "))
_DEVANAGARI_DIGITS = Pass(re.compile("[०-९０-９]{1,200}"), lambda match: match[0].translate(_ASCII_DIGITS))


def normalised(text: str, language: str) -> str:
    """Return the text as a voice is to say it; it may be empty.  `language`: a BCP 47 tag.  Never raises."""
    return with_sources(text, language).text


def with_sources(text: str, language: str, *, audio_tags: bool = False) -> Normalised:
    """Like `normalised`, with the offset in `text` from which every character came.

    `audio_tags`: "[laughs]" is kept next to something to say; else stage directions are removed.
    """
    draft = Draft(text)
    if audio_tags:
        _run(draft, (*markup.CLEANING, *stage_directions.AUDIO_TAGS))
    _settle(draft, language)
    if not _SPEAKABLE.search(_TAGS.sub("", draft.text)):
        if _only_directions(text):
            return Normalised("", (), len(text))
        draft = Draft(text)  # nothing to say, or all of it looked like markup: then at least the letters are read
        _run(draft, (*markup.CLEANING, *_LETTERS))
        _settle(draft, language)
    _run(draft, stage_directions.TAGS_BACK)
    return Normalised(draft.text, tuple(draft.sources), len(text))


def _only_directions(text: str) -> bool:
    """True if the text has words, and all of them are stage directions."""
    draft = Draft(text)
    _run(draft, markup.CLEANING)
    speakable = _SPEAKABLE.search(draft.text)
    _run(draft, stage_directions.DIRECTIONS)
    return bool(speakable) and not _SPEAKABLE.search(draft.text)


def _settle(draft: Draft, language: str) -> None:
    for _ in range(ROUNDS_MAX):
        before = draft.text
        _round(draft, language)
        if draft.text == before:
            break


def _round(draft: Draft, language: str) -> None:
    _run(draft, markup.CLEANING)
    draft.trim()
    words = _words(language, draft.text)
    if words is not None:
        _run(draft, phones.masked(words))
    _run(draft, _FOR_ALL)
    words = _words(language, draft.text)
    if words is not None:
        _run(draft, _before_digits(words))
        if _DIGIT.search(draft.text):
            _run(draft, _digits(words))
        _run(draft, _after_digits(words))
    _run(draft, _AT_LAST)
    draft.trim()


def _run(draft: Draft, passes: tuple[Pass, ...]) -> None:
    for each in passes:
        draft.apply(each)


def _words(language: str, text: str) -> English | Hindi | None:
    """Choose the number words: of the agent's language, unless all letters are of the other script; None: of neither.

    So "आपका bill ₹500 है" is read in Hindi by a Hindi agent, and its "Your bill is ₹500" in English.
    """
    primary, _, region = language.lower().replace("_", "-").partition("-")
    if primary not in ("en", "hi"):
        return None
    devanagari, latin = bool(_DEVANAGARI.search(text)), bool(_LATIN.search(text))
    if devanagari != latin:
        primary = "hi" if devanagari else "en"
    if primary == "hi":
        return _HINDI
    if region == "us":
        return _AMERICAN
    return _ENGLISH if language.lower().startswith("hi") or region in _INDIAN_REGIONS else _ABROAD


@cache
def _before_digits(words: English | Hindi) -> tuple[Pass, ...]:
    short = (*abbreviations.HINDI, *abbreviations.PASSES) if isinstance(words, Hindi) else abbreviations.PASSES
    return (_DEVANAGARI_DIGITS, *addresses.passes(words), *short, *roman.passes(words))


@cache
def _digits(words: English | Hindi) -> tuple[Pass, ...]:
    measured, plain = numbers.passes(words)
    return (
        *symbols.comparisons(words),
        *phones.passes(words),
        *codes.passes(words),
        *postal.passes(words),
        *services.passes(words),
        *travel.passes(words),
        *numbers.groups(),
        *dates.passes(words),
        *times.passes(words),
        *money.passes(words),
        *measures.joined(words),
        *numbers.joints(words),
        *symbols.sign_passes(words),
        *((*HALVED, *ORDINALS) if isinstance(words, Hindi) else ()),
        measures.units(words),
        *measured,
        *codes.mixed(words),
        *plain,
    )


@cache
def _after_digits(words: English | Hindi) -> tuple[Pass, ...]:
    return (
        *(INFLECTED if isinstance(words, Hindi) else ()),
        *times.HALVES,
        *money.bare(words),
        *symbols.joints(words),
        *acronyms.PASSES,
    )
