"""Normalises phone numbers and SIP addresses, and tells which spellings are one and the same.  Pure.

libphonenumber knows the rules of each country (lengths, the digit that is dialled only inside it).  What follows from
them for a carrier in India is here:

- A number without a country is Indian if India has such a number; otherwise it is read as if a "+" had been lost,
  because the carrier strips it.  So 1800 123 4567 is India's toll-free number, not one of the United States.
- No number is refused because libphonenumber does not know its series: regulators open new ones faster than it learns.

`tests/unit/edge/vobiz/test_numbers.py` lists what it gets wrong.  No error text repeats a number.
"""

from __future__ import annotations

import re
from enum import Enum

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat

HOME = "IN"
HOME_CODE = "+91"
NATIONAL_DIGITS = 10
"""Digits of an ordinary Indian number, without the 0 that is dialled before it."""
LAST_DIGITS = 4
"""The last digits of a number, which are the same in every spelling."""
_SEPARATORS = re.compile(r"[ ().\-\u00a0]")
_DIGITS = re.compile(r"\+?[0-9]{3,20}")
_SIP = re.compile(r"(sips?):([^@;?>]*@)?([^;?>]+)", re.IGNORECASE)
_SIP_OF_A_NUMBER = re.compile(r"sips?:(\+[0-9]{7,15})@", re.IGNORECASE)


def compact(text: str) -> str:
    """The number without the separators that people write between its digits."""
    return _SEPARATORS.sub("", text)


def international(text: str) -> str:
    """The number as E.164 ("+911234567890"), from any spelling; empty if the text is no number.

    A 0 that is dialled only inside the country is dropped: "+91 (0) 12345 67890", "+44 (0)20 …"; not for Italy.
    """
    digits = compact(text)
    if not _DIGITS.fullmatch(digits):
        return ""
    if digits.startswith("+"):
        return _e164(_parsed(digits))
    if digits.startswith("00") and (abroad := _parsed(f"+{digits[2:]}")) is not None:
        return _e164(abroad)
    home = _parsed(digits, HOME)
    if home is not None and phonenumbers.is_valid_number(home):
        return _e164(home)
    bare = digits.lstrip("0")
    if len(bare) <= NATIONAL_DIGITS:
        return f"{HOME_CODE}{bare}" if bare else ""
    abroad = _parsed(f"+{bare}")
    return _e164(abroad) if abroad is not None and phonenumbers.is_valid_number(abroad) else f"+{bare}"


def readable(number: str) -> str:
    """The number as people write it, "+91 12345 67890", from any spelling or from a SIP address with a number.

    Empty if the text is no number, such as the "anonymous" of a withheld one; another SIP address stays as it is.
    """
    text = number.strip()
    if address := _sip_address(text):
        found = _SIP_OF_A_NUMBER.search(text)
        if not found:
            return address
        text = found[1]
    full = international(text)
    if full.startswith(HOME_CODE) and len(full) == len(HOME_CODE) + NATIONAL_DIGITS:
        return f"{HOME_CODE} {full[3:8]} {full[8:]}"
    parsed = _parsed(full)
    return phonenumbers.format_number(parsed, PhoneNumberFormat.INTERNATIONAL) if parsed is not None else full


def is_possible(number: str) -> bool:
    """Whether the number (E.164) has a country and a length that exists there."""
    parsed = _parsed(number)
    return parsed is not None and phonenumbers.is_possible_number(parsed)


def number_key(number: str) -> str:
    """The one spelling by which numbers and SIP addresses are compared.

    Carriers write an Indian number in five ways (+91…, 91…, 0091…, 0…, bare); its key is the bare one, and that of a
    foreign number is E.164.  A SIP address is compared as a whole (scheme and host in any case, parameters left out),
    unless its user is a number with its country: `sip:+911234567890@…` is that number.
    """
    text = number.strip()
    if found := _SIP_OF_A_NUMBER.search(text):
        text = found[1]
    elif address := _sip_address(text):
        return address
    full = international(text)
    return full.removeprefix(HOME_CODE) if full else text.lower()


def same_party(one: str, other: str) -> bool:
    """Whether two texts name one party in any spelling.  Two SIP addresses must be the same address."""
    first, second = _sip_address(one), _sip_address(other)
    if first and second:
        return first == second
    if not first and not second and compact(one)[-LAST_DIGITS:] != compact(other)[-LAST_DIGITS:]:
        return False  # hundreds of records are compared during calls, and parsing one takes 0.1 ms
    return number_key(one) == number_key(other)


def _sip_address(text: str) -> str:
    found = _SIP.search(text)
    return f"{found[1].lower()}:{found[2] or ''}{found[3].lower().strip()}" if found else ""


def _parsed(text: str, region: str | None = None) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(text, region)
    except NumberParseException:
        return None


def _e164(number: PhoneNumber | None) -> str:
    return phonenumbers.format_number(number, PhoneNumberFormat.E164) if number is not None else ""


class Kind(Enum):
    """How expensive a number may be, as far as its series says."""

    PLAIN = "plain"
    DEAR = "dear"
    """Premium rate, shared cost, personal numbers, pagers: more expensive than a call to a person."""
    NO_COUNTRY = "no country"
    """Satellites, international networks and services: codes of no country, all of them expensive."""


_DEAR = frozenset(
    {
        phonenumbers.PhoneNumberType.PREMIUM_RATE,
        phonenumbers.PhoneNumberType.SHARED_COST,
        phonenumbers.PhoneNumberType.PERSONAL_NUMBER,
        phonenumbers.PhoneNumberType.PAGER,
    }
)
_NO_COUNTRY = "001"
"""libphonenumber's region of the codes of no country: +870, +881, +882, +883, +979 and others."""


def kind_of(number: str) -> tuple[Kind, str]:
    """(kind of the number, which is E.164; its country code with "+")."""
    parsed = _parsed(number)
    if parsed is None or parsed.country_code is None:
        return Kind.NO_COUNTRY, number
    code = f"+{parsed.country_code}"
    if phonenumbers.region_code_for_country_code(parsed.country_code) in (_NO_COUNTRY, "ZZ"):
        return Kind.NO_COUNTRY, code
    return (Kind.DEAR if phonenumbers.number_type(parsed) in _DEAR else Kind.PLAIN), code


def regions_of(number: str) -> tuple[str, ...]:
    """The country (two letters) of the number (E.164), in a tuple; empty if several countries share its code and the
    number does not tell which.
    """
    parsed = _parsed(number)
    if parsed is None or parsed.country_code is None:
        return ()
    sharing = phonenumbers.region_codes_for_country_code(parsed.country_code)
    known = phonenumbers.region_code_for_number(parsed)
    return (known,) if known else tuple(sharing) if len(sharing) == 1 else ()
