"""Dr., approx., e.g., a/c, Mon-Fri: what people write short and say in full."""

from __future__ import annotations

import re

from workers.tts.normalise.spans import Pass

_TITLES = {
    "Dr": "Doctor", "Mr": "Mister", "Mrs": "Missus", "Prof": "Professor", "Smt": "Shrimati", "Capt": "Captain",
    "Col": "Colonel", "Gen": "General", "Lt": "Lieutenant", "Sgt": "Sergeant", "Rev": "Reverend", "Hon": "Honourable",
    "Er": "Engineer", "Adv": "Advocate",
}  # fmt: skip
_DOTTED = {
    "sr": "senior", "jr": "junior", "rd": "road", "ave": "avenue", "blvd": "boulevard", "apt": "apartment",
    "flr": "floor", "bldg": "building", "opp": "opposite", "nr": "near", "govt": "government", "dept": "department",
    "pvt": "private", "ltd": "limited", "inc": "incorporated", "corp": "corporation", "co": "company", "vs": "versus",
    "etc": "et cetera", "approx": "approximately", "max": "maximum", "min": "minimum", "incl": "including",
    "excl": "excluding", "ext": "extension", "tel": "telephone", "ph": "phone", "mob": "mobile", "nos": "numbers",
    "regd": "registered", "est": "established", "avg": "average", "mgmt": "management", "mgr": "manager",
    "addl": "additional", "asst": "assistant", "hosp": "hospital", "jn": "junction", "stn": "station",
}  # fmt: skip
_PLAIN = {
    "a/c": "account", "c/o": "care of", "w/o": "without", "w/": "with", "p.a.": "per annum", "approx": "approximately",
    "etc": "et cetera", "vs": "versus", "govt": "government", "pvt": "private", "ltd": "limited", "e.g.": "for example",
    "eg.": "for example", "i.e.": "that is", "ie.": "that is", "m/s": "Messrs", "ph.d.": "P H D", "ph.d": "P H D",
}  # fmt: skip
_HINDI = {"डॉ.": "डॉक्टर", "डा.": "डॉक्टर", "प्रो.": "प्रोफ़ेसर", "नं.": "नंबर", "पं.": "पंडित", "कृ.": "कृपया"}
_DAYS = {
    "mon": "Monday", "tue": "Tuesday", "tues": "Tuesday", "wed": "Wednesday", "thu": "Thursday", "thur": "Thursday",
    "thurs": "Thursday", "fri": "Friday", "sat": "Saturday", "sun": "Sunday",
}  # fmt: skip
_DAY = r"Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun"


def _any(table: dict[str, str]) -> str:
    return "|".join(sorted(map(re.escape, table), key=len, reverse=True))


def _kept_stop(match: re.Match[str], said: str) -> str:
    """The full stop of an abbreviation that ends the text ends the sentence, too."""
    return f"{said}." if match[0].endswith(".") and match.end() == len(match.string) else said


def _dotted(match: re.Match[str]) -> str:
    said = _DOTTED[match[1].lower()]
    return _kept_stop(match, said.capitalize() if match[1][0].isupper() else said)


def _plain(match: re.Match[str]) -> str:
    said = _PLAIN[match[0].lower()]
    return _kept_stop(match, said.capitalize() if match[0][0].isupper() else said)


def _number(match: re.Match[str]) -> str:
    return f"{match[1]}umber{match[2]} "


def _day(match: re.Match[str]) -> str:
    return _DAYS[match[1].lower()]


PASSES: tuple[Pass, ...] = (
    Pass(re.compile(rf"(?<![\w.])({_any(_TITLES)})\.(?!\w)"), lambda match: _TITLES[match[1]], needs="."),
    Pass(re.compile(r"(?<![\w.])(Dr|Prof)(?= [A-Z])"), lambda match: _TITLES[match[1]]),
    Pass(re.compile(r"(?<![\w.])([Nn])o(s?)\. ?(?=#?[A-Z]{0,6}-?[0-9])"), _number, needs="."),
    Pass(re.compile(r"(?<![\w.])(M[sx])\.(?= [A-Z])"), lambda match: match[1], needs="."),
    Pass(
        re.compile(r"(?<=[0-9] )([A-Z]\w{1,20}) St\.?(?= |,|$)"), lambda match: _kept_stop(match, f"{match[1]} Street")
    ),
    Pass(re.compile(r"(?<!\w)St\.(?= [A-Z])"), lambda match: "Saint", needs="."),
    Pass(re.compile(r"(?<!\w)St\.(?!\w)"), lambda match: _kept_stop(match, "Street"), needs="."),
    Pass(re.compile(rf"(?<![\w.])(?i:{_any(_PLAIN)})(?![\w./])"), _plain),
    Pass(re.compile(rf"(?<![\w.])(?<![0-9] )(?i:({_any(_DOTTED)}))\.(?!\w)"), _dotted, needs="."),
    Pass(
        re.compile(rf"(?<!\w)({_DAY})\.? ?[-–] ?(?=(?:{_DAY})(?!\w))"), lambda match: f"{_day(match)} to ", needs="-–"
    ),
    Pass(re.compile(rf"(?:(?<=to )|(?<=and )|(?<!\w)(?=[MTWF]))({_DAY})\.?(?!\w)"), _day),
    Pass(re.compile(r"(?<!\w)(Sat|Sun)\.?(?=:|,? [0-9])"), _day),
)
HINDI: tuple[Pass, ...] = (Pass(re.compile(rf"(?<!\S)(?:{_any(_HINDI)})"), lambda match: _HINDI[match[0]]),)
