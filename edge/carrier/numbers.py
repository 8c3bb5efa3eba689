"""Phone numbers as Vobiz takes them, and texts without them.

No error of this module repeats what it was given: numbers stay out of logs.
"""

from __future__ import annotations

import re

from common.agents import number_key

_SEPARATORS = re.compile(r"[ ().\-\u00a0]")
_DIALLED = re.compile(r"\+?[0-9]{4,15}")
_SIP = re.compile(r"sips?:[^\s<>,]{1,250}")
_INTERNATIONAL = re.compile(r"(?:\+|00)([1-9][0-9]{7,14})|([1-9][0-9]{10,14})")
_NUMBER_IN_TEXT = re.compile(r"\+?\d[\d ().\-]{5,}\d")
_SIP_IN_TEXT = re.compile(r"\bsips?:[^\s<>\"',;]+", re.IGNORECASE)


def dialled(text: str) -> str:
    """A number to dial or to show, without its separators: "+91 12345 67890", "01123456789", or a `sip:` URI.

    Raises ValueError.
    """
    if _SIP.fullmatch(text):
        return text
    compact = _SEPARATORS.sub("", text)
    if not _DIALLED.fullmatch(compact):
        raise ValueError("not a phone number and not a sip: URI")
    return compact


def e164(text: str) -> str:
    """The number with its country, as Vobiz lists it: "+911234567890".

    Takes "+" or "00" before the country; without either, only what is too long to be a national number: ten digits
    could belong to any country.  Raises ValueError.
    """
    found = _INTERNATIONAL.fullmatch(_SEPARATORS.sub("", text))
    if found is None:
        raise ValueError("not a phone number in international form, such as +91 12345 67890")
    return f"+{found[1] or found[2]}"


def without_numbers(text: str) -> str:
    """The text with everything that could be somebody's number or SIP address replaced."""
    return _NUMBER_IN_TEXT.sub("<number>", _SIP_IN_TEXT.sub("<address>", text))


def same_party(one: str, other: str) -> bool:
    """Do two texts name one party, however each writes the number?  SIP addresses are compared as a whole."""
    return number_key(one) == number_key(other)
