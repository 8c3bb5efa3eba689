"""Number words as speech recognition writes them: English, and Hindi in Devanagari and in Latin letters.

`value_of` looks a word up; spelling is folded before, so that one entry stands for all its variants: the sign nukta and
the two nasal signs of Devanagari, and the doubled letters, `v`/`w` and `j`/`z` of Hindi in Latin letters.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple


class Piece(NamedTuple):
    """A number below a hundred.  `room`: the next word may be added to it if it is smaller: 10 after "twenty"."""

    value: int
    room: int


_WORD = re.compile(r"\S+")
_SMALL_EN = _WORD.findall(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
)
_TENS_EN = _WORD.findall("twenty thirty forty fifty sixty seventy eighty ninety")
_OTHER_EN = {
    "oh": 0, "o": 0, "nil": 0, "nought": 0, "naught": 0, "zeroes": 0, "zeros": 0, "niner": 9,
}  # fmt: skip

_HINDI = _WORD.findall(
    "शून्य एक दो तीन चार पाँच छह सात आठ नौ "
    "दस ग्यारह बारह तेरह चौदह पंद्रह सोलह सत्रह अठारह उन्नीस "
    "बीस इक्कीस बाईस तेईस चौबीस पच्चीस छब्बीस सत्ताईस अट्ठाईस उनतीस "
    "तीस इकतीस बत्तीस तैंतीस चौंतीस पैंतीस छत्तीस सैंतीस अड़तीस उनतालीस "
    "चालीस इकतालीस बयालीस तैंतालीस चवालीस पैंतालीस छियालीस सैंतालीस अड़तालीस उनचास "
    "पचास इक्यावन बावन तिरपन चौवन पचपन छप्पन सत्तावन अट्ठावन उनसठ "
    "साठ इकसठ बासठ तिरसठ चौंसठ पैंसठ छियासठ सड़सठ अड़सठ उनहत्तर "
    "सत्तर इकहत्तर बहत्तर तिहत्तर चौहत्तर पचहत्तर छिहत्तर सतहत्तर अठहत्तर उनासी "
    "अस्सी इक्यासी बयासी तिरासी चौरासी पचासी छियासी सत्तासी अट्ठासी नवासी "
    "नब्बे इक्यानवे बानवे तिरानवे चौरानवे पचानवे छियानवे सत्तानवे अट्ठानवे निन्यानवे"
)
_HINDI_VARIANTS = {
    "सिफर": 0, "छः": 6, "छ": 6, "छे": 6, "छै": 6, "पंच": 5, "इक": 1, "नो": 9, "ग्यारा": 11, "बारा": 12, "तेरा": 13,
    "पंद्रा": 15, "पन्द्रह": 15, "सतरह": 17, "सत्तरह": 17, "अट्ठारह": 18, "उन्निस": 19, "इकीस": 21, "बाइस": 22,
    "तेइस": 23, "पचीस": 25, "सत्ताइस": 27, "अठाईस": 28, "अट्ठाइस": 28, "उन्तीस": 29, "इकत्तीस": 31, "इकतालिस": 41,
    "चौवालीस": 44, "इक्यावान": 51, "चौअन": 54, "सतावन": 57, "अठावन": 58, "सरसठ": 67, "अड़सठ": 68, "उन्हत्तर": 69,
    "इकहतर": 71, "पिचहत्तर": 75, "पचत्तर": 75, "उन्नासी": 79, "अठासी": 88, "नवासि": 89, "इक्यानबे": 91, "बानबे": 92,
    "तिरानबे": 93, "चौरानबे": 94, "पंचानवे": 95, "पंचानबे": 95, "छियानबे": 96, "सत्तानबे": 97, "अट्ठानबे": 98,
    "निन्यानबे": 99,
}  # fmt: skip
_ENGLISH_IN_DEVANAGARI = {
    "जीरो": 0, "जिरो": 0, "ओ": 0, "वन": 1, "टू": 2, "टु": 2, "थ्री": 3, "फोर": 4, "फाइव": 5, "फाईव": 5, "सिक्स": 6,
    "सेवन": 7, "सेवेन": 7, "एट": 8, "एइट": 8, "ऐट": 8, "नाइन": 9, "नाईन": 9, "टेन": 10, "इलेवन": 11, "ट्वेल्व": 12,
    "ट्वेंटी": 20, "थर्टी": 30, "फोर्टी": 40, "फिफ्टी": 50, "सिक्सटी": 60, "सेवंटी": 70, "एटी": 80, "नाइंटी": 90,
}  # fmt: skip

_LATIN = {
    0: "shunya shoonya sifar", 1: "ek ikk", 2: "do", 3: "teen", 4: "chaar", 5: "paanch paach", 6: "chhe chhah chhey",
    7: "saat", 8: "aath", 9: "nau nao", 10: "das dus", 11: "gyarah gyara", 12: "barah baara", 13: "terah",
    14: "chaudah chauda choda chaudha", 15: "pandrah pandra pandhra", 16: "solah sola", 17: "satrah satra sattarah",
    18: "atharah athara", 19: "unnees unis", 20: "bees", 21: "ikkees", 22: "baees baais bais", 23: "teis teyis",
    24: "chaubees chobis", 25: "pachees", 26: "chhabbees", 27: "sattaees sattais", 28: "atthaees atthais",
    29: "untees unatis", 30: "tees", 31: "ikattees iktis", 32: "battees", 33: "taintees tentis", 34: "chauntees",
    35: "paintees pentis", 36: "chhattees", 37: "saintees sentis", 38: "adtees artees", 39: "untaalees unchalis",
    40: "chaalees", 41: "iktaalees", 42: "bayaalees biyalis", 43: "taintaalees tentalis", 44: "chavaalees chauvalis",
    45: "paintaalees pentalis", 46: "chhiyaalees", 47: "saintaalees sentalis", 48: "adtaalees artaalees",
    49: "unchaas unanchas", 50: "pachaas", 51: "ikyaavan", 52: "baavan", 53: "tirpan", 54: "chauvan chovan",
    55: "pachpan", 56: "chhappan", 57: "sattaavan", 58: "atthaavan", 59: "unsath", 60: "saath", 61: "iksath",
    62: "baasath", 63: "tirsath", 64: "chaunsath chonsath", 65: "painsath pensath", 66: "chhiyaasath",
    67: "sadsath sarsath", 68: "adsath arsath", 69: "unhattar", 70: "sattar", 71: "ikhattar", 72: "bahattar",
    73: "tihattar", 74: "chauhattar chohattar", 75: "pachhattar pichhattar", 76: "chhihattar", 77: "satahattar",
    78: "athahattar", 79: "unaasi unyasi", 80: "assi", 81: "ikyaasi", 82: "bayaasi", 83: "tiraasi", 84: "chauraasi",
    85: "pachaasi", 86: "chhiyaasi", 87: "sattaasi", 88: "atthaasi", 89: "navaasi", 90: "nabbe", 91: "ikyaanve ikyanbe",
    92: "baanve banbe", 93: "tiraanve tiranbe", 94: "chauraanve chauranbe", 95: "pachaanve pachanbe panchanve",
    96: "chhiyaanve chhiyanbe", 97: "sattaanve sattanbe", 98: "atthaanve atthanbe", 99: "ninyaanve ninyanbe",
}  # fmt: skip

_SCALES = {
    100: "hundred hundreds सौ हंड्रेड", 1_000: "thousand thousands हज़ार थाउज़ेंड", 100_000: "lakh lakhs lac lacs लाख",
    1_000_000: "million millions मिलियन", 10_000_000: "crore crores करोड़", 1_000_000_000: "billion billions अरब",
    100_000_000_000: "खरब", 10**12: "trillion trillions",
}  # fmt: skip
_SCALES_LATIN = {
    100: "sau", 1_000: "hazaar hazzar", 100_000: "laakh", 10_000_000: "karod karor crod", 1_000_000_000: "arab",
    100_000_000_000: "kharab",
}  # fmt: skip
_REPEATS = {"double": 2, "dubble": 2, "triple": 3, "tripple": 3, "treble": 3, "डबल": 2, "ट्रिपल": 3}
_PARTS = {"dedh": 6, "डेढ़": 6, "dhaai": 10, "ढाई": 10, "adhaai": 10, "अढ़ाई": 10}
"""Quarters: one and a half, two and a half."""
_MORE = {"sava": 1, "सवा": 1, "saadhe": 2, "साढ़े": 2, "paune": -1, "पौने": -1}
"""Quarters more than the number that follows."""


def folded(word: str) -> str:
    """The word in the spelling of the tables: Devanagari without nukta and with one nasal sign."""
    decomposed = unicodedata.normalize("NFD", word.casefold()).replace("\u093c", "").replace("\u0901", "\u0902")
    return decomposed.replace("न्", "\u0902") if "\u0900" <= word[:1] <= "\u097f" else decomposed


def _latin(word: str) -> str:
    """A Hindi word in Latin letters, in one spelling: "hazaar", "hajar" and "hazar" are the same."""
    same = word.replace("aa", "a").replace("ee", "i").replace("oo", "u").replace("w", "v").replace("z", "j")
    return re.sub(r"(.)\1+", r"\1", same.replace("chh", "ch").replace("y", "i"))


def _folded_table(words: dict[str, int]) -> dict[str, int]:
    return {folded(word): value for word, value in words.items()}


_EXACT: dict[str, Piece] = {
    **{word: Piece(value, 1) for word, value in _OTHER_EN.items()},
    **{word: Piece(value, 1) for value, word in enumerate(_SMALL_EN)},
    **{word: Piece(10 * tens, 10) for tens, word in enumerate(_TENS_EN, 2)},
    "fourty": Piece(40, 10),
    "ninty": Piece(90, 10),
    **{word: Piece(value, 1) for word, value in _folded_table(_HINDI_VARIANTS).items()},
    **{word: Piece(value, 10 if value >= 20 else 1) for word, value in _folded_table(_ENGLISH_IN_DEVANAGARI).items()},
    **{folded(word): Piece(value, 1) for value, word in enumerate(_HINDI)},
}
_BY_SOUND: dict[str, Piece] = {
    _latin(word): Piece(value, 1) for value, words in reversed(_LATIN.items()) for word in words.split()
}
_SCALE: dict[str, int] = {folded(word): scale for scale, words in _SCALES.items() for word in words.split()}
_SCALE_BY_SOUND: dict[str, int] = {
    _latin(word): scale for scale, words in _SCALES_LATIN.items() for word in words.split()
}
_REPEAT = _folded_table(_REPEATS)
_PART = {_latin(folded(word)): Fraction(quarters, 4) for word, quarters in _PARTS.items()}
_SHIFT = {_latin(folded(word)): Fraction(quarters, 4) for word, quarters in _MORE.items()}


def piece_of(word: str) -> Piece | None:
    """The number below a hundred that a folded word names; None for another word."""
    return _EXACT.get(word) or _BY_SOUND.get(_latin(word))


def scale_of(word: str) -> int:
    """What a folded word multiplies by, such as 100,000 for "lakh"; 0 for another word."""
    return _SCALE.get(word) or _SCALE_BY_SOUND.get(_latin(word)) or 0


def repeat_of(word: str) -> int:
    """How often the next digit is meant: 2 for "double", 3 for "triple"; 0 for another word."""
    return _REPEAT.get(word, 0)


def part_of(word: str) -> Fraction:
    """One and a half, or two and a half, which stand before a scale ("dedh lakh"); 0 for another word."""
    return _PART.get(_latin(word), Fraction(0))


def shift_of(word: str) -> Fraction:
    """By how much the next number is more, before a scale: 1/2 for "saadhe", -1/4 for "paune"; 0: another word."""
    return _SHIFT.get(_latin(word), Fraction(0))
