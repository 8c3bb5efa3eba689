"""Detects words and letters that multiply the number before them: thousand, lakh, crore, million."""

from __future__ import annotations

import re

from workers.tts.normalise.contexts import LETTERED_PLACES, MONEY_WORDS, NEAR_CHARS

_SCALES = {
    "k": "thousand", "thousand": "thousand", "hazar": "thousand", "हज़ार": "thousand", "हजार": "thousand", "l": "lakh",
    "lac": "lakh", "lacs": "lakh", "lakh": "lakh", "lakhs": "lakh", "लाख": "lakh", "cr": "crore", "crs": "crore",
    "crore": "crore", "crores": "crore", "करोड़": "crore", "mn": "million", "m": "million", "million": "million",
    "bn": "billion", "b": "billion", "billion": "billion", "trillion": "trillion", "tn": "trillion",
}  # fmt: skip
SCALE = (
    r"(?:[Hh]azar|[Tt]housand|[Ll]acs?|[Ll]akhs?|[Cc]rores?|[Mm]illion|[Bb]illion|[Tt]rillion|Crs?|cr|[Mm]n|[Bb]n|tn"
    r"|[KkLMB]|हज़ार|हजार|लाख|करोड़)(?![\w\u0900-\u0963])"
)
_PLACE_BEFORE = re.compile(
    rf"(?i)(?<!\w)(?:{LETTERED_PLACES})(?:(?:,? (?:no|number|and|or|नंबर)\.?|s|[ -]?[0-9]{{1,4}}[A-Z])"
    rf"(?!\w)){{0,3}}[ :#-]{{1,2}}\Z"
)
_MONEY_BEFORE = re.compile(rf"(?i)(?<!\w)(?:{MONEY_WORDS})(?!\w)|[₹$€£]|BHK")
_MANY_AFTER = re.compile(
    r" (?:rupees|followers|users|views|people|customers|subscribers|downloads|members|dollars|salary|"
    r"per (?:month|annum|year)|"
    r"a (?:month|year)|loan|in (?:cash|revenue|sales)|रुपये|रुपए|लोग|(?:का|की|के) (?:लोन|कर्ज़|बीमा|बजट|निवेश|कवर|पैकेज))(?!\w)"
)
_RUN_AFTER = re.compile(
    r" (?:run|race|marathon|walk|tv|TV|video|videos|resolution|display|screen|gold|jewellery)(?!\w)"
)
_LITRES_AFTER = re.compile(
    r" (?:of |capacity|pressure |bottles?|cans?|jars?|packs?|water|milk|oil|petrol|diesel|juice|paint|tank|"
    r"cooker|bucket|geyser|engine|pouch|पानी|दूध|तेल|पेट्रोल|डीज़ल|की बोतल|का (?:गीज़र|कुकर|टैंक))"
)


_LITRES_BEFORE = re.compile(
    r"(?i)(?<![^\W\d])(?:holds?|capacity|tank|bottle|geyser|cooker|fridge|refrigerator|bucket|drinks?|water|milk|oil|litres?|millilitres?|मिलीलीटर)(?!\w)"
)
_KARATS = re.compile(r"(?i)(?<!\w)(?:gold|jewel\w*|rings?|chain|karat|सोना|सोने)(?!\w)")


def scale_name(written: str) -> str:
    """Return the name of a written scale: "Cr" is "crore"."""
    return _SCALES[written.lower()]


def is_scale(match: re.Match[str], number: str, letter: str) -> bool:
    """True if the letter multiplies the number ("1.5L", "a salary of 50K"); False for a plain letter ("Flat 4B")."""
    text, start, end = match.string, match.start(), match.end()
    if len(letter) > 1:
        return True
    if _PLACE_BEFORE.search(text, max(0, start - 40), start) or _RUN_AFTER.match(text, end):
        return False
    if (
        letter in "Kk"
        and number in ("9", "14", "18", "20", "22", "24")
        and _KARATS.search(text, max(0, start - NEAR_CHARS), end + NEAR_CHARS)
    ):
        return False
    if letter == "k" or "." in number or "," in number or _MANY_AFTER.match(text, end):
        return True
    return bool(_MONEY_BEFORE.search(text, max(0, start - 60), start))


def is_volume(match: re.Match[str]) -> bool:
    """True if the L after the number is a litre."""
    text, start = match.string, match.start()
    return bool(_LITRES_AFTER.match(text, match.end()) or _LITRES_BEFORE.search(text, max(0, start - 30), start))
