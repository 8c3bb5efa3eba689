"""Reads dates and years.  The day comes first, as in India, except for en-US."""

from __future__ import annotations

import re

from workers.tts.normalise.contexts import counts
from workers.tts.normalise.spans import Pass, Rule, kept_stop
from workers.tts.normalise.words import Words
from workers.tts.normalise.words_en import MONTHS
from workers.tts.normalise.words_hi import MONTHS as HINDI_MONTHS

_NUMBERS = {month[:3].lower(): number for number, month in enumerate(MONTHS, 1)}
_MONTH = (
    "((?:January|February|March|April|May|June|July|August|September|October|November|December"
    r"|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)\.?)(?!\w))"
)
_MONTHS = (
    "January|February|March|April|May|June|July|August|September|October|November|December|Jan|Feb|Mar|"
    "Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec"
)
_HINDI_MONTH = "|".join((*HINDI_MONTHS, "फरवरी", "सितम्बर", "अक्तूबर", "नवम्बर", "दिसम्बर"))
_DAY = r"(0?[1-9]|[12][0-9]|3[01])"
_NTH = rf"{_DAY}(?:st|nd|rd|th)?"
_FOUR = r"((?:1[5-9]|20)[0-9]{2})"
_YEAR = rf"{_FOUR}(?![0-9%])(?![.,][0-9])"
_START = r"(?<![\w/.,:₹$€£-])"
_END = r"(?![\w/-])(?![.,][0-9])"
_CONTEXT = (
    "in|In|since|Since|year|Year|until|till|by|By|from|From|after|before|during|of|early|late|mid|FY|copyright"
    "|सन|सन्|संवत|साल|वर्ष"
)
_NO_YEAR = r"(?!\w)(?! ?(?:[%₹$€£/+x×-]|rupees|Rs|INR|km|kg|people|rooms|points|units))"
_NO_MONEY = r"(?<!Rs )(?<!Rs\. )(?<!INR )(?<!USD )(?<!EUR )(?<!GBP )(?<!AED )(?<!रु )(?<!रु\. )(?<![₹$€£¥] )"
_CENTURY = 2000
_SLASHED = "(?:0?[1-9]|[12][0-9]|3[01])/(?:0?[1-9]|[12][0-9]|3[01])"
_DATED = "on|by|until|till|from|before|after|since|due|dated|for|to|date"
_FRACTION = re.compile("[1-7]/[2348](?![0-9])")


def passes(words: Words) -> tuple[Pass, ...]:
    """Return the passes; they run before fractions and ranges, which use the same marks."""
    return (*_numeric(words), *_named(words), *_years(words))


def _dated(words: Words, day: int, month: int, year: str | None) -> str | None:
    if month > 12 >= day:
        day, month = month, day  # 08/25/2026 has no other reading
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return None
    return words.date(day, month, int(year) % 100 + int(year) // 100 * 100 if year else None)


def _numeric(words: Words) -> tuple[Pass, ...]:
    def iso(match: re.Match[str]) -> str | None:
        spoken = _dated(words, int(match[4]), int(match[3]), match[1])
        return f"{spoken}, " if spoken and match[0].endswith("T") else spoken

    def full(match: re.Match[str]) -> str | None:
        day, month, year = int(match[1]), int(match[3]), match[4]
        if words.month_first and day <= 12:
            day, month = month, day
        return _dated(words, day, month, year if len(year) == 4 else str(_CENTURY + int(year)))

    def day_and_month(first: str, second: str) -> str | None:
        day, month = int(first), int(second)
        if words.month_first and day <= 12:
            day, month = month, day
        return _dated(words, day, month, None)

    def no_year(match: re.Match[str]) -> str | None:
        if "0" not in (match[1][0], match[2][0]) and int(match[1]) <= 12:
            return None  # 10/12: ten by twelve
        return day_and_month(match[1], match[2])

    def on_days(match: re.Match[str]) -> str | None:
        if counts(match.string, match.end()) or (match[1].lower() in ("by", "to", "for") and _FRACTION.match(match[2])):
            return None
        days = [day_and_month(*day.split("/")) for day in re.findall("[0-9]{1,2}/[0-9]{1,2}", match[2])]
        if None in days:
            return None
        between = re.split("[0-9]{1,2}/[0-9]{1,2}", match[2])[1:]
        return (
            match[1]
            + match[0][len(match[1]) : match.start(2) - match.start()]
            + "".join(
                f"{day}{f' {words.signs.to} ' if joint.strip() in ('-', '–') else joint}"
                for day, joint in zip(days, between, strict=True)
            )
        )

    return (
        Pass(re.compile(rf"{_START}{_FOUR}([-/.])(0[1-9]|1[0-2])\2{_DAY}(?![0-9/-])(?:T(?=[0-9]))?"), iso, "-/."),
        Pass(re.compile(rf"{_START}([0-9]{{1,2}})([-/.])([0-9]{{1,2}})\2{_FOUR}{_END}"), full, "-/."),
        Pass(re.compile(rf"{_START}([0-9]{{1,2}})([-/])([0-9]{{1,2}})\2([0-9]{{2}}){_END}"), full, "-/"),
        Pass(
            re.compile(
                rf"(?<!\w)((?i:{_DATED})|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day)[:,]? "
                rf"({_SLASHED}(?:(?:,? (?:and|or|to|या|और|से) |, | ?[-–] ?){_SLASHED}){{0,4}}){_END}"
            ),
            on_days,
            "/",
        ),
        Pass(
            re.compile(rf"{_START}({_SLASHED})(?= (?:को|तक|से पहले|के बाद))"),
            lambda match: day_and_month(*match[1].split("/")),
            "/",
        ),
        Pass(re.compile(rf"{_START}([0-9]{{2}})/([0-9]{{2}}){_END}"), no_year, "/"),
    )


def _named(words: Words) -> tuple[Pass, ...]:
    def days(match: re.Match[str]) -> str:
        number = _NUMBERS[match[3][:3].lower()]
        first, last = (words.date(int(match[at]), number, None) for at in (1, 2))
        # "fifteenth" of "fifteenth August"; Hindi puts the day first, too
        return f"{first if words.month_first else first.rpartition(' ')[0]} {words.signs.to} {last}"

    def day_first(match: re.Match[str]) -> str:
        spoken = words.date(int(match[1]), _NUMBERS[match[3][:3].lower()], int(match[4]) if match[4] else None)
        if match[2] and words.month_first and not match[4]:
            spoken = f"{words.ordinal(int(match[1]))} of {_month(words, match[3])}"
        elif match[2] and not words.month_first:
            spoken = spoken.replace(" ", " of ", 1)
        return kept_stop(match, spoken)

    def month_first(match: re.Match[str]) -> str:
        spoken = f"{_month(words, match[1])} {words.ordinal(int(match[2]))}"
        return f"{spoken}, {words.year(int(match[3]))}" if match[3] else spoken

    def month(match: re.Match[str]) -> str:
        return f"{_month(words, match[1])} {words.year(int(match[2]))}"

    def short_year(match: re.Match[str]) -> str:
        return f"{match[1]}{19 if int(match[2]) >= 50 else 20}{match[2]}"

    return (
        Pass(re.compile(rf"((?:{_MONTHS})\.?,? )['’]([0-9]{{2}})(?!\w)"), short_year, "'’"),
        Pass(re.compile(rf"{_START}{_NTH}(?: ?[-–] ?| to ){_NTH} {_MONTH}"), days, "-–t"),
        Pass(re.compile(rf"{_START}{_NTH}[ -](of )?{_MONTH}(?:,?[ -]{_YEAR})?"), day_first),
        Pass(
            re.compile(rf"(?<!\w){_MONTH} {_NTH}(?![\w:%₹])(?![.,/-][0-9])(?! ?[ap]\.?m)(?:,? {_YEAR}{_NO_YEAR})?"),
            month_first,
        ),
        Pass(re.compile(rf"(?<!\w){_MONTH},? {_YEAR}"), month),
    )


def _years(words: Words) -> tuple[Pass, ...]:
    year_words, to = words.year, words.signs.to

    def span(match: re.Match[str]) -> str | None:
        first, last = int(match[1]), int(match[2])
        if len(match[2]) == 4:
            return f"{year_words(first)} {to} {year_words(last)}" if first < last else None
        return f"{year_words(first)} {to} {words.cardinal(last, indian=True)}" if last == (first + 1) % 100 else None

    def decade(match: re.Match[str]) -> str:
        spoken = year_words(int(match[1])) if len(match[1]) == 4 else words.cardinal(int(match[1]), indian=True)
        return f"{spoken[:-1]}ies" if spoken.endswith("y") else f"{spoken}s"

    def both(match: re.Match[str]) -> str | None:
        first, last = int(match[2]), int(match[4])
        return f"{match[1]}{year_words(first)}{match[3]}{year_words(last)}" if first < last else None

    def of_now(match: re.Match[str]) -> str | None:
        return None if counts(match.string, match.end()) else year_words(int(match[2]))

    after: Rule = lambda match: match[1] + year_words(int(match[2]))  # noqa: E731
    return (
        Pass(re.compile(rf"((?:{_HINDI_MONTH}),? ){_YEAR}"), after),
        Pass(re.compile(rf"{_START}{_FOUR} ?[-–] ?((?:1[5-9]|20)[0-9]{{2}}|[0-9]{{2}}){_END}"), span, "-–"),
        Pass(re.compile(r"(?<![\w.,₹$€£])['’]?((?:1[89]|20)?[1-9]0|[12][089]00)['’]?s(?!\w)"), decade),
        Pass(re.compile(rf"(?<!\w)((?i:from|between) ){_YEAR}( (?:to|and|till|until) ){_YEAR}{_NO_YEAR}"), both),
        Pass(
            re.compile(
                r"(?<!\w)((?i:a|the|an|my|your|his|her) )((?:19[5-9]|20[0-4])[0-9])"
                r"(?= (?:[A-Z][a-z]|model|edition|season|batch|budget|series))"
            ),
            after,
        ),
        Pass(
            re.compile(
                rf"{_START}()((?:18|19|20)[0-9]{{2}})(?= (?:में|"
                rf"से) (?:[\u0904-\u0963]{{2,12}} ){{0,2}}(?:पैदा|जन्म|बना|बनी|शुरू|आज़ाद|शादी|"
                rf"स्थाप\w*|हुआ|हुई))"
            ),
            after,
        ),
        Pass(re.compile(rf"(?<!\w)((?:{_CONTEXT})[ -]){_YEAR}{_NO_YEAR}"), after),
        Pass(re.compile(rf"{_START}{_NO_MONEY}()(20[23][0-9]){_END}{_NO_YEAR}"), of_now),
    )


def _month(words: Words, written: str) -> str:
    """Return the name of the month in full."""
    return words.months[_NUMBERS[written[:3].lower()] - 1]
