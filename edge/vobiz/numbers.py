"""Normalises phone numbers for Vobiz, and removes them from texts.  Pure.

No error of this module repeats its input, so that numbers stay out of logs.
"""

from __future__ import annotations

import re

from common.numbers import HOME_CODE, NATIONAL_DIGITS, compact, international, is_possible

_DIALLED = re.compile(r"\+?[0-9]{4,17}")
_SIP = re.compile(r"sips?:[^\s<>,]{1,250}")
_INTERNATIONAL = re.compile(r"(?:\+|00)[1-9][0-9]{7,15}|[1-9][0-9]{10,15}")
_NUMBER_IN_TEXT = re.compile(r"\+?\d[\d ().\-]{5,}\d")
_SIP_IN_TEXT = re.compile(r"\bsips?:[^\s<>\"',;]+", re.IGNORECASE)


def dialled(text: str) -> str:
    """Normalise a number to dial or to show: "+91 12345 67890", "01123456789", or a `sip:` URI.

    A number with its country code becomes E.164, without the 0 that only callers inside that country dial, as in
    "+91 (0) 12345 67890".  Raises ValueError, also for a country or a length that does not exist.
    """
    if _SIP.fullmatch(text):
        return text
    digits = compact(text)
    if not _DIALLED.fullmatch(digits):
        raise ValueError("not a phone number and not a sip: URI")
    full = international(digits)
    if digits.startswith(("+", "00")):
        if not is_possible(full):
            raise ValueError("not a number of any country")
        return full
    has_trunk_zero = len(digits) > NATIONAL_DIGITS + 1 and full not in (
        f"+{digits}",
        f"{HOME_CODE}{digits.lstrip('0')}",
    )
    return full if has_trunk_zero else digits


def e164(text: str) -> str:
    """The number in E.164 form, as Vobiz lists it: "+911234567890".

    Accepts "+" or "00" before the country code; without either, only numbers too long for an ordinary national number,
    since ten digits could belong to any country.  Of those, 1800 and 1860 are India's.  Raises ValueError.
    """
    digits = compact(text)
    full = international(digits) if _INTERNATIONAL.fullmatch(digits) else ""
    if not full or not is_possible(full):
        raise ValueError("not a phone number in international form, such as +91 12345 67890")
    return full


def without_numbers(text: str) -> str:
    """The text with everything that could be a phone number or SIP address replaced."""
    return _NUMBER_IN_TEXT.sub("<number>", _SIP_IN_TEXT.sub("<address>", text))
