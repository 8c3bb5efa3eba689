"""Expands abbreviations: Dr., approx., e.g., a/c, Mon-Fri."""

from __future__ import annotations

import re

from workers.tts.normalise.spans import Pass, kept_stop

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
    "addl": "additional", "asst": "assistant", "hosp": "hospital", "jn": "junction", "rly": "railway", "stn": "station",
    "hwy": "highway", "pkwy": "parkway", "ln": "lane", "univ": "university", "dist": "district", "qty": "quantity",
    "amt": "amount", "appt": "appointment", "appts": "appointments", "tmrw": "tomorrow", "vill": "village",
    "intl": "international", "natl": "national", "misc": "miscellaneous", "temp": "temperature", "pkg": "package",
    "vol": "volume",
}  # fmt: skip
BEFORE_NUMBERS = {
    "rt": "Route", "rte": "Route", "hwy": "Highway", "fwy": "Freeway", "expy": "Expressway", "sec": "Section",
    "sect": "Section", "fl": "Floor", "rm": "Room", "blk": "Block", "ste": "Suite", "pg": "page", "p": "page",
    "pp": "pages", "ch": "Chapter", "chap": "Chapter", "fig": "Figure", "vol": "Volume", "art": "Article",
    "qty": "quantity", "amt": "amount", "bal": "balance", "flt": "Flight",
    "wt": "weight", "ht": "height", "temp": "temperature", "reg": "registration",
    "regn": "registration", "ref": "reference", "inv": "invoice", "acct": "account", "acc": "account",
    "tkt": "ticket", "st": "Street", "wd": "ward", "plt": "Plot", "cl": "Clause", "sch": "Schedule", "dt": "dated",
    "dtd": "dated", "std": "standard", "ver": "version", "ed": "edition", "bk": "book", "pkt": "packet",
    "gr": "grade", "apt": "Apartment", "tab": "tablet", "ex": "Exercise", "mob": "mobile", "cont": "contact",
    "ph": "phone", "tel": "telephone", "lic": "licence",
}  # fmt: skip
"""Abbreviations only with a full stop and before a number: "Rt. 66", but "an art. 5 of them"."""
NUMBERS_OF = {
    "h": "House", "rt": "Route", "rd": "Road", "fl": "Flat", "d": "Door", "s": "Serial", "sl": "Serial",
    "sr": "Serial", "f": "Flat", "p": "Plot", "pl": "Plot", "w": "Ward", "r": "Room", "rm": "Room", "q": "Question",
    "sy": "Survey", "ph": "Phone", "mob": "Mobile", "tel": "Telephone", "reg": "Registration",
    "regd": "Registration", "regn": "Registration", "ref": "Reference", "inv": "Invoice", "a/c": "Account",
    "acc": "Account", "acct": "Account", "cust": "Customer", "ord": "Order", "flt": "Flight", "tkt": "Ticket",
    "bk": "Booking", "roll": "Roll", "t": "Token", "b": "Bill", "emp": "Employee", "lic": "Licence",
    "veh": "Vehicle", "con": "Consumer", "cons": "Consumer", "apt": "Apartment", "blk": "Block", "bldg": "Building",
}  # fmt: skip
"""Words before "No.": H.No. 4, Sr. No. 5, A/c No. 1234."""
_IN_FULL = {
    "b/w": "between", "n/a": "not applicable", "w.e.f.": "with effect from", "w.r.t.": "with respect to",
    "viz.": "namely", "s/o": "son of", "d/o": "daughter of", "u/s": "under section", "p.o. box": "P O Box",
    "p.o box": "P O Box", "po box": "P O Box", "a.k.a.": "also known as", "p.m.i.": "P M I",
    "t&c": "terms and conditions", "t&cs": "terms and conditions", "q&a": "Q and A", "b&b": "B and B",
    "f&b": "F and B",
}  # fmt: skip
_PLAIN = {
    "a/c": "account", "c/o": "care of", "w/o": "without", "w/": "with", "p.a.": "per annum",
    "approx": "approximately", "etc": "et cetera", "vs": "versus", "govt": "government", "pvt": "private",
    "ltd": "limited", "e.g.": "for example", "eg.": "for example", "i.e.": "that is", "ie.": "that is",
    "m/s": "Messrs", "ph.d.": "P H D", "ph.d": "P H D", **_IN_FULL,
}  # fmt: skip
_HINDI = {
    "सं.": "संख्या", "श्री.": "श्री", "श्रीमती.": "श्रीमती", "रजि.": "रजिस्टर्ड", "मो.": "मोबाइल", "डॉ.": "डॉक्टर",
    "डा.": "डॉक्टर", "प्रो.": "प्रोफ़ेसर", "नं.": "नंबर", "पं.": "पंडित", "कृ.": "कृपया",
}  # fmt: skip
_PER = {
    "mo": "month", "mth": "month", "hr": "hour", "yr": "year", "wk": "week", "pc": "piece", "pax": "person",
    "ltr": "litre",
}  # fmt: skip
_ROADS = {
    "St": "Street", "Ave": "Avenue", "Rd": "Road", "Blvd": "Boulevard", "Ln": "Lane", "Pkwy": "Parkway",
    "Sq": "Square", "Ct": "Court", "Hwy": "Highway",
}  # fmt: skip
_DAYS = {
    "mon": "Monday", "tue": "Tuesday", "tues": "Tuesday", "wed": "Wednesday", "thu": "Thursday", "thur": "Thursday",
    "thurs": "Thursday", "fri": "Friday", "sat": "Saturday", "sun": "Sunday",
}  # fmt: skip
_ALWAYS = {"Hwy": "Highway", "Rte": "Route", "Apt": "Apartment", "Blk": "Block", "Bldg": "Building"}
_DIGITS = "0123456789"
_DAY = r"Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun"


def _any(table: dict[str, str]) -> str:
    return "|".join(sorted(map(re.escape, table), key=len, reverse=True))


def _dotted(match: re.Match[str]) -> str | None:
    if match[1] in ("EST", "ED"):
        return None  # a time zone
    spoken = _DOTTED[match[1].lower()]
    return kept_stop(match, spoken.capitalize() if match[1][0].isupper() else spoken)


def _plain(match: re.Match[str]) -> str:
    spoken = _PLAIN[match[0].lower()]
    return kept_stop(match, spoken[0].upper() + spoken[1:] if match[0][0].isupper() else spoken)


def _number(match: re.Match[str]) -> str:
    return f"{match[1]}umber{match[2]} "


def _before_number(match: re.Match[str]) -> str:
    spoken = BEFORE_NUMBERS[match[1].lower()]
    if match[1].lower() == "sec" and not re.match(r" ?[0-9]{1,4}[A-Z]", match.string[match.end() - 1 :]):
        spoken = (
            "Sector"
            if re.search(
                "Noida|Chandigarh|Gurgaon|Gurugram|Rohini|Dwarka|Faridabad|Mohali|Panchkula|Nagar", match.string
            )
            else spoken
        )
    return f"{spoken if match[1][0].isupper() else spoken.lower()} "


def _number_of(match: re.Match[str]) -> str:
    spoken = NUMBERS_OF[match[1].lower()]
    return f"{spoken} Number "


def _compass(match: re.Match[str]) -> str:
    return {"N": "North", "S": "South", "E": "East", "W": "West"}[match[1]]


def _last_day(match: re.Match[str]) -> str:
    ends = match.end() == len(match.string) or re.match(" [A-Z]", match.string[match.end() : match.end() + 2])
    return f"{_day(match)}." if match[0].endswith(".") and ends else _day(match)


def _day(match: re.Match[str]) -> str:
    return _DAYS[match[1].lower()]


PASSES: tuple[Pass, ...] = (
    Pass(
        re.compile(r"(?<=[0-9] )([A-Z][a-z]{1,20}) Dr(?:\.(?=[,;)]|$)|(?=[,;)]|$| (?:Apt|Suite|Ste|Unit)))"),
        lambda match: f"{match[1]} Drive",
    ),
    Pass(re.compile(rf"(?<![\w.])({_any(_TITLES)})\.(?!\w)"), lambda match: _TITLES[match[1]], needs="."),
    Pass(re.compile(r"(?<![\w.])(Dr|Prof)(?= [A-Z])"), lambda match: _TITLES[match[1]]),
    Pass(
        re.compile(
            rf"(?<![\w.])(?i:({_any(NUMBERS_OF)}))(?:\.|(?<=[a-z])(?= )|"
            rf"(?<=/[cC])) ?[Nn]os?\.?:? ?(?=#?[A-Z]{{0,6}}-?[0-9])"
        ),
        _number_of,
        needs=_DIGITS,
    ),
    Pass(
        re.compile(rf"(?<![\w.])(?<![0-9] )(?i:({_any(BEFORE_NUMBERS)}))\. ?(?=#?[A-Z]{{0,2}}-?[0-9])"),
        _before_number,
        needs=".",
    ),
    Pass(
        re.compile(
            r"(?:(?<=[0-9] )|(?<=on )|(?<=at ))([NSEW])\.? (?=[A-Z0-9][\w ]{1,30} (?:St|Ave|Rd|Street|"
            r"Avenue|Road|Blvd|Dr|Ln|Way)(?!\w))"
        ),
        _compass,
        needs="NSEW",
    ),
    Pass(re.compile(r"(?<!\w)(NH|SH)-(?=[0-9]{1,3}(?!\w))"), lambda match: f"{match[1]} ", needs="-"),
    Pass(re.compile(r"(?<!\w)I-(?=[0-9]{1,2}(?!\w))"), lambda match: "I ", needs="-"),
    Pass(
        re.compile(r"(?<![\w.'’])([HDS])[ -]?(?:No|no|NO)\.?:? ?(?=[0-9])"),
        lambda match: f"{NUMBERS_OF[match[1].lower()]} Number ",
        needs=_DIGITS,
    ),
    Pass(re.compile(r"(?<!\w)W/[oO](?= [A-Z])"), lambda match: "wife of", needs="/"),
    Pass(re.compile(r"(?<!\w)R/O(?!\w)"), lambda match: "R O", needs="/"),
    Pass(
        re.compile(r"(?<![\w])(?:(AB|A|B|O) ?)?([+−-])ve(?!\w)"),
        lambda match: f"{match[1] + ' ' if match[1] else ''}{'positive' if match[2] == '+' else 'negative'}",
        needs="+−-",
    ),
    Pass(
        re.compile(r"(?<!\w)(AB|A|B|O)([+−-])(?=,? (?:blood|group|donor|type))"),
        lambda match: f"{match[1]} {'positive' if match[2] == '+' else 'negative'}",
        needs="+−-",
    ),
    Pass(re.compile(r"(?<!\w)401 ?\(?[kK](?:\)|(?!\w))"), lambda match: "four oh one K", needs="4"),
    Pass(re.compile(r"(?<!\w)(Hwy|Rte|Apt|Blk|Bldg) (?=[0-9])"), lambda match: f"{_ALWAYS[match[1]]} ", needs=_DIGITS),
    Pass(re.compile(r"(?<=[a-z] )([Nn])o (?=[0-9])"), lambda match: f"{match[1]}umber ", needs=_DIGITS),
    Pass(re.compile(rf"(?<=[0-9A-Za-z])/({_any(_PER)})(?![\w/])"), lambda match: f"/{_PER[match[1]]}", needs="/"),
    Pass(
        re.compile(
            r"(?<!\w)A/C(?!\w)(?!(?:'s)? ?(?:no|number|details?|holder|balance|statement|type|ending|is|[0-9X*.…:#]))"
        ),
        lambda match: "A C",
        needs="/",
    ),
    Pass(
        re.compile(r"(?:(?<=[a-z] )|^)([Nn])o\. (?=(?:is|was|on|for|ends|of)(?!\w))"),
        lambda match: f"{match[1]}umber ",
        needs=".",
    ),
    Pass(
        re.compile(r"(?:(?<=/[2-8] )|(?<=[½¼¾⅓⅔] ))(tsp|tbsp)s?\.?(?!\w)"),
        lambda match: "teaspoon" if match[1] == "tsp" else "tablespoon",
        needs="/½¼¾⅓⅔",
    ),
    Pass(
        re.compile(r"(?<![\w.])(Tab|Cap|Inj|Syr)\. ?(?=[A-Z])"),
        lambda match: {"Tab": "Tablet ", "Cap": "Capsule ", "Inj": "Injection ", "Syr": "Syrup "}[match[1]],
        needs=".",
    ),
    Pass(
        re.compile(r"(?<![\w.])(Mt|Ft)\. (?=[A-Z])"), lambda match: {"Mt": "Mount ", "Ft": "Fort "}[match[1]], needs="."
    ),
    Pass(re.compile(r"(?<![\w.])([Nn])o(s?)\. ?(?=#?[A-Z]{0,6}-?[0-9])"), _number, needs="."),
    Pass(re.compile(r"(?<![\w.])(M[sx])\.(?= [A-Z])"), lambda match: match[1], needs="."),
    Pass(
        re.compile(r"(?<=[0-9] )([A-Z]\w{1,20}) St\.?(?= |,|$)"), lambda match: kept_stop(match, f"{match[1]} Street")
    ),
    Pass(
        re.compile(
            rf"(?<!\w)([A-Z]\w{{0,20}}|[0-9]{{1,3}}(?:st|nd|rd|th)) ({_any(_ROADS)})(?:\.(?=[,;)]|"
            rf" [a-z])|(?=\.?(?:[,;)]|$| (?![A-Z0-9])| (?:Apt|Apartment|Suite|Ste|Unit|North|South)(?!\w))"
            r"|\. (?![0-9])))"
        ),
        lambda match: f"{match[1]} {_ROADS[match[2]]}",
    ),
    Pass(re.compile(r"(?<!\w)St\.(?= [A-Z])"), lambda match: "Saint", needs="."),
    Pass(re.compile(r"(?<!\w)St\.(?!\w)"), lambda match: kept_stop(match, "Street"), needs="."),
    Pass(re.compile(rf"(?<![\w.])(?i:{_any(_PLAIN)})(?![\w./])"), _plain),
    Pass(re.compile(rf"(?<![\w.])(?<![0-9] )(?i:({_any(_DOTTED)}))\.(?!\w)"), _dotted, needs="."),
    Pass(
        re.compile(rf"(?<!\w)({_DAY})\.? ?[-–] ?(?=(?:{_DAY})(?!\w))"), lambda match: f"{_day(match)} to ", needs="-–"
    ),
    Pass(re.compile(rf"(?:(?<=to )|(?<=and )|(?<!\w)(?=[MTWF]))({_DAY})\.?(?!\w)"), _last_day),
    Pass(re.compile(r"(?<!\w)(Sat|Sun)\.?(?=:|,? [0-9])"), _day),
)
HINDI: tuple[Pass, ...] = (Pass(re.compile(rf"(?<!\S)(?:{_any(_HINDI)})"), lambda match: _HINDI[match[0]]),)
