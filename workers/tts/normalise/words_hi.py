"""Writes numbers, dates and times in Hindi words.  Every number below a hundred has its own word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from workers.tts.normalise.spans import Pass
from workers.tts.normalise.words import Currency, Signs

_BELOW_100: list[str] = re.findall(
    r"\S+",
    "शून्य एक दो तीन चार पाँच छह सात आठ नौ "
    "दस ग्यारह बारह तेरह चौदह पंद्रह सोलह सत्रह अठारह उन्नीस "
    "बीस इक्कीस बाईस तेईस चौबीस पच्चीस छब्बीस सत्ताईस अट्ठाईस उनतीस "
    "तीस इकतीस बत्तीस तैंतीस चौंतीस पैंतीस छत्तीस सैंतीस अड़तीस उनतालीस "
    "चालीस इकतालीस बयालीस तैंतालीस चवालीस पैंतालीस छियालीस सैंतालीस अड़तालीस उनचास "
    "पचास इक्यावन बावन तिरपन चौवन पचपन छप्पन सत्तावन अट्ठावन उनसठ "
    "साठ इकसठ बासठ तिरसठ चौंसठ पैंसठ छियासठ सड़सठ अड़सठ उनहत्तर "
    "सत्तर इकहत्तर बहत्तर तिहत्तर चौहत्तर पचहत्तर छिहत्तर सतहत्तर अठहत्तर उनासी "
    "अस्सी इक्यासी बयासी तिरासी चौरासी पचासी छियासी सत्तासी अट्ठासी नवासी "
    "नब्बे इक्यानवे बानवे तिरानवे चौरानवे पचानवे छियानवे सत्तानवे अट्ठानवे निन्यानवे",
)
_SIZES = ((10_000_000, "करोड़"), (100_000, "लाख"), (1_000, "हज़ार"), (100, "सौ"))
MONTHS: list[str] = re.findall(r"\S+", "जनवरी फ़रवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर")
_ORDINALS = {1: "पहला", 2: "दूसरा", 3: "तीसरा", 4: "चौथा", 6: "छठा"}
_PARTS = {(1, 2): "आधा", (1, 3): "एक तिहाई", (2, 3): "दो तिहाई", (1, 4): "एक चौथाई", (3, 4): "तीन चौथाई"}
_HALVES = {"एक दशमलव पाँच": "डेढ़", "दो दशमलव पाँच": "ढाई"}
"""Forms before lakh and crore, where "one point five" is not used."""

_UNITS: dict[str, tuple[str, str]] = {
    key: (name, name)
    for keys, name in (
        ("km|Km|KM|kms|Kms|KMS|किमी|कि.मी.", "किलोमीटर"),
        ("m|mtr|mtrs", "मीटर"),
        ("cm|cms|CM|सेमी|से.मी.", "सेंटीमीटर"),
        ("mm", "मिलीमीटर"),
        ("kg|Kg|KG|kgs|Kgs|KGS|किग्रा|कि.ग्रा.", "किलोग्राम"),
        ("g|gm|gms|GM|GMS", "ग्राम"),
        ("mg|MG|mgs", "मिलीग्राम"),
        ("l|ltr|ltrs|Ltr|Ltrs|lit", "लीटर"),
        ("ml|mL|ML|Ml", "मिलीलीटर"),
        ("km/h|kmph|kmh|km/hr", "किलोमीटर प्रति घंटा"),
        ("°C|℃", "डिग्री सेल्सियस"),
        ("°F|℉", "डिग्री फ़ारेनहाइट"),
        ("°", "डिग्री"),
        ("KB", "केबी"),
        ("MB", "एमबी"),
        ("GB", "जीबी"),
        ("TB", "टीबी"),
        ("Mbps|mbps", "एमबीपीएस"),
        ("kWh", "किलोवाट घंटे"),
        ("kW", "किलोवाट"),
        ("W", "वाट"),
        ("V", "वोल्ट"),
        ("sq ft|sq. ft|sq.ft|sqft|sq. ft.|sq.ft.", "वर्ग फ़ुट"),
        ("sq m|sq. m|sqm|m²", "वर्ग मीटर"),
        ("ft", "फ़ुट"),
        ("in.", "इंच"),
        ("kmpl|km/l", "किलोमीटर प्रति लीटर"),
        ("mg/dL|mg/dl", "मिलीग्राम प्रति डेसीलीटर"),
        ("g/dL|g/dl", "ग्राम प्रति डेसीलीटर"),
        ("mmHg", "मिलीमीटर मरकरी"),
        ("mcg|µg", "माइक्रोग्राम"),
        ("मिग्रा|मि.ग्रा.", "मिलीग्राम"),
        ("मिली|मि.ली.", "मिलीलीटर"),
        ("ली.", "लीटर"),
        ("mAh", "एमएएच"),
        ("MP", "मेगापिक्सल"),
        ("tsp", "छोटे चम्मच"),
        ("tbsp", "बड़े चम्मच"),
        ("LPA", "लाख सालाना"),
        ("pcs", "पीस"),
        ("min|mins", "मिनट"),
        ("sec|secs", "सेकंड"),
        ("yr|yrs", "साल"),
    )
    for key in keys.split("|")
} | dict.fromkeys(("hr", "hrs", "h"), ("घंटा", "घंटे"))
_CURRENCIES = {
    "INR": Currency("रुपया", "रुपये", "पैसा", "पैसे"),
    "USD": Currency("डॉलर", "डॉलर", "सेंट", "सेंट"),
    "EUR": Currency("यूरो", "यूरो", "सेंट", "सेंट"),
    "GBP": Currency("पाउंड", "पाउंड", "पेनी", "पेंस"),
    "AED": Currency("दिरहम", "दिरहम", "फ़िल्स", "फ़िल्स"),
    "JPY": Currency("येन", "येन", "सेन", "सेन"),
}
_SCALES = {
    "thousand": "हज़ार", "lakh": "लाख", "crore": "करोड़", "million": "मिलियन", "billion": "बिलियन", "trillion": "ट्रिलियन",
}  # fmt: skip
_SIGNS = Signs(
    point="दशमलव", minus="माइनस", plus="प्लस", to="से", percent="प्रतिशत", degrees="डिग्री", number="नंबर",
    about="लगभग", less="से कम", more="से ज़्यादा", at_least="कम से कम", at_most="ज़्यादा से ज़्यादा",
    equals="बराबर", times="गुणा", by="बटा", across="बाई", inch=" इंच", star="स्टार", hash="हैश",
    divided="भागा", either="या", also="और", per="प्रति", ending="आख़िरी अंक", always="चौबीसों घंटे",
    version="वर्ज़न", at="ऐट", dot="डॉट", slash="स्लैश", dash="डैश", underscore="अंडरस्कोर",
)  # fmt: skip


class Hindi:
    """Implements `workers.tts.normalise.words.Words`."""

    indian = True
    month_first = False
    signs: ClassVar[Signs] = _SIGNS
    units: ClassVar[Mapping[str, tuple[str, str]]] = _UNITS
    currencies: ClassVar[Mapping[str, Currency]] = _CURRENCIES
    scales: ClassVar[Mapping[str, str]] = _SCALES
    months: ClassVar[list[str]] = MONTHS

    def cardinal(self, number: int, *, indian: bool = True) -> str:
        if number < 100:
            return _BELOW_100[number]
        parts: list[str] = []
        rest = number
        for size, name in _SIZES:
            if rest >= size:
                parts.append(f"{self.cardinal(rest // size)} {name}")
                rest %= size
        if rest:
            parts.append(_BELOW_100[rest])
        return " ".join(parts)

    def ordinal(self, number: int) -> str:
        return _ORDINALS.get(number) or f"{self.cardinal(number)}वाँ"

    def titled(self, number: int) -> str:
        """Return the number after the name of a king or a pope; Hindi uses no ordinal of its own there."""
        return self.cardinal(number)

    def digits(self, digits: str) -> str:
        return " ".join(_BELOW_100[int(digit)] for digit in digits)

    def year(self, number: int) -> str:
        century, rest = divmod(number, 100)
        if century % 10 == 0:
            return self.cardinal(number)
        return f"{_BELOW_100[century]} सौ {_BELOW_100[rest] if rest else ''}".strip()

    def date(self, day: int, month: int, year: int | None) -> str:
        spoken = f"{_BELOW_100[day]} {MONTHS[month - 1]}"
        return spoken if year is None else f"{spoken} {self.year(year)}"

    def clock(self, hour: int, minute: int, half: str, bare: bool) -> str:
        """Return the time in words; `bare`: the text names the part of the day already."""
        known = half or hour > 12 or hour == 0
        if half:
            hour = hour % 12 + (12 if half == "pm" else 0)
        hour %= 24
        part = "रात" if hour < 4 or hour >= 20 else "सुबह" if hour < 12 else "दोपहर" if hour < 16 else "शाम"
        spoken = _hours(hour % 12 or 12, minute)
        return f"{part} {spoken}" if known and not bare else spoken

    def fraction(self, whole: int | None, over: int, under: int) -> str:
        part = _PARTS.get((over, under)) or f"{_BELOW_100[over]} बटा {_BELOW_100[under]}"
        if whole is None:
            return part
        if (over, under) == (1, 2) and whole in (1, 2):
            return {1: "डेढ़", 2: "ढाई"}[whole]
        return f"साढ़े {self.cardinal(whole)}" if (over, under) == (1, 2) else f"{self.cardinal(whole)} सही {part}"

    def portion(self, fraction: str, noun: str) -> str:
        """Return a fraction before its noun."""
        return fraction

    def share(self, part: str, whole: str) -> str:
        return f"{whole} में से {part}"

    def money(self, amount: str, fraction: int, one: bool, currency: Currency) -> str:
        spoken = f"{amount} {currency.one if one else currency.many}"
        if not fraction:
            return spoken
        cents = f"{_BELOW_100[fraction]} {currency.cent if fraction == 1 else currency.cents}"
        return cents if amount == "शून्य" else f"{spoken} {cents}"

    def scaled(self, amount: str, scale: str) -> str:
        return f"{_HALVES.get(amount, amount)} {scale}"


def _hours(hour: int, minute: int) -> str:
    if minute == 30:
        return f"{ {1: 'डेढ़', 2: 'ढाई'}.get(hour) or f'साढ़े {_BELOW_100[hour]}' } बजे"
    if minute == 15:
        return f"सवा {_BELOW_100[hour]} बजे"
    if minute == 45:
        return f"पौने {_BELOW_100[hour % 12 + 1]} बजे"
    if minute:
        return f"{_BELOW_100[hour]} बजकर {_BELOW_100[minute]} मिनट"
    return f"{_BELOW_100[hour]} बजे"


_FIRST = {
    "1ला": "पहला", "1ली": "पहली", "1ले": "पहले", "2रा": "दूसरा", "2री": "दूसरी", "2रे": "दूसरे", "3रा": "तीसरा",
    "3री": "तीसरी", "3रे": "तीसरे", "4था": "चौथा", "4थी": "चौथी", "4थे": "चौथे",
}  # fmt: skip
_SIXTH = {"वाँ": "छठा", "वां": "छठा", "वें": "छठे", "वीं": "छठी"}


def _numbered(match: re.Match[str]) -> str:
    return _SIXTH[match[2]] if match[1] == "6" else Hindi().cardinal(int(match[1])) + match[2]


ORDINALS: tuple[Pass, ...] = (
    Pass(re.compile(f"(?<![0-9])(?:{'|'.join(_FIRST)})"), lambda match: _FIRST[match[0]], "लथर"),
    Pass(re.compile(r"(?<![0-9.,])([0-9]{1,6})(वाँ|वां|वें|वीं)"), _numbered, "व"),
)
"""Digits with the ending of an ordinal: 5वीं, 2रा."""


def _and_a_half(match: re.Match[str]) -> str:
    whole = int(match[1])
    return {1: "डेढ़", 2: "ढाई"}.get(whole) or f"साढ़े {Hindi().cardinal(whole)}"


HALVED: tuple[Pass, ...] = (
    Pass(
        re.compile(
            r"(?<![\w.,])([1-9][0-9]?)\.50?(?= ?(?:घंटे|घंटा|साल|महीने|महीना|दिन|हफ़्ते|हफ्ते|किलो|"
            r"हज़ार|हजार|लीटर)(?![\w\u0900-\u0963]))"
        ),
        _and_a_half,
        ".",
    ),
)
"""Halves, where "two point five" is not used: 2.5 घंटे."""
INFLECTED: tuple[Pass, ...] = (
    Pass(re.compile(r"(?<=एक )रुपया(?= (?:का|की|के|में|से|को|तक|पर)(?![\w\u0900-\u0963]))"), lambda match: "रुपये", "र"),
    Pass(
        re.compile(r"आधा(?= (?:गोली|प्लेट|कटोरी|बोतल|टिकिया|रोटी|टैबलेट)(?![\w\u0900-\u0963]))"), lambda match: "आधी", "आ"
    ),
)
"""Endings that depend on the following word."""
