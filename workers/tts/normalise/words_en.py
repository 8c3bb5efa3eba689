"""Writes numbers, dates and times in English words: with lakh and crore as in India, or with million and billion."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from workers.tts.normalise.words import Currency, Signs

_SMALL: list[str] = re.findall(
    r"\S+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen",
)
_TENS: list[str] = ["", "", *re.findall(r"\S+", "twenty thirty forty fifty sixty seventy eighty ninety")]
_INDIAN = ((10_000_000, "crore"), (100_000, "lakh"), (1_000, "thousand"))
_WESTERN = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1_000, "thousand"))
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
MONTHS: list[str] = re.findall(
    r"\S+", "January February March April May June July August September October November December"
)
_PARTS = {2: ("half", "halves"), 3: ("third", "thirds"), 4: ("quarter", "quarters"), 8: ("eighth", "eighths")}

_UNITS: dict[str, tuple[str, str]] = {
    key: (one, many)
    for keys, one, many in (
        ("km|Km|KM|kms|Kms|KMS", "kilometre", "kilometres"),
        ("m|mtr|mtrs", "metre", "metres"),
        ("cm|cms|CM", "centimetre", "centimetres"),
        ("mm", "millimetre", "millimetres"),
        ("kg|Kg|KG|kgs|Kgs|KGS", "kilogram", "kilograms"),
        ("g|gm|gms|GM|GMS", "gram", "grams"),
        ("mg|MG|mgs", "milligram", "milligrams"),
        ("l|ltr|ltrs|Ltr|Ltrs|lit", "litre", "litres"),
        ("ml|mL|ML|Ml", "millilitre", "millilitres"),
        ("km/h|kmph|kmh|km/hr", "kilometre per hour", "kilometres per hour"),
        ("mph", "mile per hour", "miles per hour"),
        ("°C|℃", "degree Celsius", "degrees Celsius"),
        ("°F|℉", "degree Fahrenheit", "degrees Fahrenheit"),
        ("°", "degree", "degrees"),
        ("KB", "kilobyte", "kilobytes"),
        ("MB", "megabyte", "megabytes"),
        ("GB", "gigabyte", "gigabytes"),
        ("TB", "terabyte", "terabytes"),
        ("kbps|Kbps", "kilobit per second", "kilobits per second"),
        ("Mbps|mbps", "megabit per second", "megabits per second"),
        ("Gbps", "gigabit per second", "gigabits per second"),
        ("kWh", "kilowatt hour", "kilowatt hours"),
        ("kW", "kilowatt", "kilowatts"),
        ("MW", "megawatt", "megawatts"),
        ("W", "watt", "watts"),
        ("V", "volt", "volts"),
        ("Hz", "hertz", "hertz"),
        ("GHz", "gigahertz", "gigahertz"),
        ("mAh", "milliampere hour", "milliampere hours"),
        ("sq ft|sq. ft|sq.ft|sqft|sq. ft.|sq.ft.", "square foot", "square feet"),
        ("sq m|sq. m|sqm|m²", "square metre", "square metres"),
        ("km²|sq km", "square kilometre", "square kilometres"),
        ("m³", "cubic metre", "cubic metres"),
        ("ft", "foot", "feet"),
        ("lb|lbs", "pound", "pounds"),
        ("oz", "ounce", "ounces"),
        ("in.", "inch", "inches"),
        ("kmpl|km/l", "kilometre per litre", "kilometres per litre"),
        ("mg/dL|mg/dl", "milligram per decilitre", "milligrams per decilitre"),
        ("g/dL|g/dl", "gram per decilitre", "grams per decilitre"),
        ("mmHg", "millimetre of mercury", "millimetres of mercury"),
        ("mcg|µg", "microgram", "micrograms"),
        ("bpm", "beat per minute", "beats per minute"),
        ("kcal", "kilocalorie", "kilocalories"),
        ("tsp|tsps", "teaspoon", "teaspoons"),
        ("tbsp|tbsps", "tablespoon", "tablespoons"),
        ("gal", "gallon", "gallons"),
        ("mi", "mile", "miles"),
        ("yd|yds", "yard", "yards"),
        ("sq yd|sq. yd|sq. yds|sq yds|sqyd", "square yard", "square yards"),
        ("kVA", "kilovolt ampere", "kilovolt amperes"),
        ("MHz", "megahertz", "megahertz"),
        ("MP", "megapixel", "megapixels"),
        ("mth|mths", "month", "months"),
        ("wk|wks", "week", "weeks"),
        ("LPA", "lakh per annum", "lakhs per annum"),
        ("pcs", "piece", "pieces"),
        ("yr|yrs", "year", "years"),
        ("hr|hrs|h", "hour", "hours"),
        ("min|mins", "minute", "minutes"),
        ("sec|secs", "second", "seconds"),
        ("ms", "millisecond", "milliseconds"),
    )
    for key in keys.split("|")
}
_CURRENCIES = {
    "INR": Currency("rupee", "rupees", "paisa", "paise"),
    "USD": Currency("dollar", "dollars", "cent", "cents"),
    "EUR": Currency("euro", "euros", "cent", "cents"),
    "GBP": Currency("pound", "pounds", "penny", "pence"),
    "AED": Currency("dirham", "dirhams", "fils", "fils"),
    "JPY": Currency("yen", "yen", "sen", "sen"),
}
_SCALES = {
    "thousand": "thousand", "lakh": "lakh", "crore": "crore", "million": "million", "billion": "billion",
    "trillion": "trillion",
}  # fmt: skip
_SIGNS = Signs(
    point="point", minus="minus", plus="plus", to="to", percent="percent", degrees="degrees", number="number",
    about="about", less="less than", more="more than", at_least="at least", at_most="at most",
    equals="equals", times="times", by="by", across="by", inch="-inch", star="star", hash="hash",
    divided="divided by", either="or", also="and", per="per", ending="ending in", always="twenty-four seven",
    version="version", at="at", dot="dot", slash="slash", dash="dash", underscore="underscore",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class English:
    """Implements `workers.tts.normalise.words.Words`."""

    indian: bool = True
    month_first: bool = False
    says_and: bool = True
    """"Two hundred and five", not "two hundred five"."""

    signs: ClassVar[Signs] = _SIGNS
    units: ClassVar[Mapping[str, tuple[str, str]]] = _UNITS
    currencies: ClassVar[Mapping[str, Currency]] = _CURRENCIES
    scales: ClassVar[Mapping[str, str]] = _SCALES
    months: ClassVar[list[str]] = MONTHS

    def cardinal(self, number: int, *, indian: bool) -> str:
        if number < 100:
            return _below_100(number)
        parts: list[str] = []
        rest = number
        for size, name in _INDIAN if indian else _WESTERN:
            if rest >= size:
                parts.append(f"{self.cardinal(rest // size, indian=indian)} {name}")
                rest %= size
        if rest >= 100:
            parts.append(f"{_SMALL[rest // 100]} hundred")
            rest %= 100
        if rest:
            parts.append(f"and {_below_100(rest)}" if self.says_and else _below_100(rest))
        return " ".join(parts)

    def ordinal(self, number: int) -> str:
        head, _, last = self.cardinal(number, indian=self.indian).rpartition(" ")
        tens, dash, unit = last.rpartition("-")
        if unit in _ORDINALS:
            unit = _ORDINALS[unit]
        elif unit.endswith("y"):
            unit = f"{unit[:-1]}ieth"
        else:
            unit += "th"
        return f"{head} {tens}{dash}{unit}".strip()

    def titled(self, number: int) -> str:
        """Return the ordinal after the name of a king or a pope."""
        return f"the {self.ordinal(number).capitalize()}"

    def digits(self, digits: str) -> str:
        return " ".join(_SMALL[int(digit)] for digit in digits)

    def year(self, number: int) -> str:
        century, rest = divmod(number, 100)
        if century % 10 == 0 and rest < 10:
            return self.cardinal(number, indian=True)  # two thousand and five
        if rest == 0:
            return f"{_below_100(century)} hundred"
        return f"{_below_100(century)} {'oh ' if rest < 10 else ''}{_below_100(rest)}"

    def date(self, day: int, month: int, year: int | None) -> str:
        name = MONTHS[month - 1]
        spoken = f"{name} {self.ordinal(day)}" if self.month_first else f"{self.ordinal(day)} {name}"
        if year is None:
            return spoken
        return f"{spoken}{',' if self.month_first else ''} {self.year(year)}"

    def clock(self, hour: int, minute: int, half: str, bare: bool) -> str:
        if not half and (hour > 12 or hour == 0):
            half = "am" if hour % 24 < 12 else "pm"
        spoken = _below_100(hour % 12 or 12)
        if minute:
            spoken += f" {'oh ' if minute < 10 else ''}{_below_100(minute)}"
        elif not half and not bare:
            spoken += " o'clock"
        return f"{spoken} {half[0].upper()} M" if half else spoken

    def fraction(self, whole: int | None, over: int, under: int) -> str:
        one, many = _PARTS[under]
        if over == 1:
            spoken = one if under == 2 and whole is None else f"{'an' if under == 8 else 'a'} {one}"
        else:
            spoken = f"{_below_100(over)} {many}"
        return spoken if whole is None else f"{self.cardinal(whole, indian=self.indian)} and {spoken}"

    def portion(self, fraction: str, noun: str) -> str:
        """Return a fraction before its noun: "half a cup", "three quarters of an hour"."""
        article = "an" if noun[0] in "aeiouh" and not noun.startswith("half") else "a"
        return f"half {article}" if fraction == "half" else f"{fraction} of {article}"

    def share(self, part: str, whole: str) -> str:
        return f"{part} out of {whole}"

    def money(self, amount: str, fraction: int, one: bool, currency: Currency) -> str:
        spoken = f"{amount} {currency.one if one else currency.many}"
        if not fraction:
            return spoken
        cents = f"{_below_100(fraction)} {currency.cent if fraction == 1 else currency.cents}"
        return cents if amount == "zero" else f"{spoken} and {cents}"

    def scaled(self, amount: str, scale: str) -> str:
        return f"{amount} {scale}"


def _below_100(number: int) -> str:
    if number < 20:
        return _SMALL[number]
    tens, unit = divmod(number, 10)
    return f"{_TENS[tens]}-{_SMALL[unit]}" if unit else _TENS[tens]
