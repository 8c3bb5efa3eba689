"""Which numbers may be dialled: DIAL_PREFIXES.  Pure.

A number is judged as E.164, however it is written, by the prefixes that are set, else by the country of
VOBIZ_FROM_NUMBER (India's without one: so is the carrier).  What costs more than a call to a person (premium rate,
shared cost, personal and paging numbers, satellites, the codes of no country) is refused unless a prefix names its
series: "+1" does not open +1 900, "+1900" does; "+881" names the satellites themselves.

Series that libphonenumber does not know are judged by their prefix alone: regulators open new ones faster than it
learns.  In a country code that several countries share, they are not the default country's.

A SIP address is dialled only if DIAL_PREFIXES has "sip:" (any address) or the address itself; one whose user is a
number must be allowed as a number, too, for the carrier may dial it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from common.numbers import HOME, Kind, international, is_possible, kind_of, number_key, regions_of

SIP = "sip:"
_SIP = re.compile(r"sips?:([^@;?>\s]*@)?([^;?>\s]+)", re.IGNORECASE)
_SIP_NUMBER = re.compile(r"\+?[0-9().-]{5,25}")
_NEVER_PLAIN = ("+1900", "+449", "+4470")
"""Dear series whose numbers libphonenumber knows only in part: here the prefix alone makes them so."""

SERIES_DIGITS = 2
"""After the country's code: a prefix with fewer does not name a dear series ("+447" means mobiles, not +44 70)."""

REASONS = ("prefix", "number type", "sip")
"""Why a destination is refused: a closed set, the metric's labels."""


class NotAllowed(ValueError):
    """The destination may not be dialled.  `reason` is one of REASONS; the text names the setting, never the number."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Destinations:
    """`prefixes` as set; without any, `country` decides (its two letters, as libphonenumber has them)."""

    prefixes: tuple[str, ...] = ()
    country: str = HOME

    @classmethod
    def of(cls, dial_prefixes: str, from_number: str = "") -> Destinations:
        """By DIAL_PREFIXES and VOBIZ_FROM_NUMBER."""
        prefixes = tuple(part.strip() for part in dial_prefixes.split(",") if part.strip())
        regions = regions_of(international(from_number)) if from_number else ()
        return cls(prefixes, regions[0] if regions else HOME)

    def check(self, text: str) -> None:
        """Raises NotAllowed."""
        if found := _SIP.fullmatch(text.strip()):
            self._check_sip(text.strip(), (found[1] or "").rstrip("@"))
            return
        number = international(text)
        if not number or not is_possible(number):
            raise NotAllowed("prefix", "DIAL_PREFIXES does not allow this destination: it is no number of any country.")
        self._check_number(number)

    def allows(self, text: str) -> bool:
        """May it be dialled?"""
        try:
            self.check(text)
        except NotAllowed:
            return False
        return True

    def _check_sip(self, address: str, user: str) -> None:
        own = {number_key(prefix) for prefix in self.prefixes if _SIP.fullmatch(prefix)}
        if SIP not in self.prefixes and number_key(address) not in own:
            raise NotAllowed(
                "sip", "DIAL_PREFIXES does not allow SIP addresses: add the address to it, or 'sip:' for all of them."
            )
        if _SIP_NUMBER.fullmatch(user):
            self._check_number(international(user.replace("(", "").replace(")", "")))

    def _check_number(self, number: str) -> None:
        named = [prefix for prefix in self.prefixes if prefix.startswith("+") and number.startswith(prefix)]
        if not (named if self.prefixes else self._is_at_home(number)):
            allowed = "" if self.prefixes else ", which is the country of VOBIZ_FROM_NUMBER unless it is set"
            raise NotAllowed("prefix", f"DIAL_PREFIXES does not allow this destination{allowed}.")
        kind, code = kind_of(number)
        if number.startswith(_NEVER_PLAIN) and kind is Kind.PLAIN:
            kind = Kind.DEAR
        if kind is Kind.PLAIN:
            return
        series = len(code) + (SERIES_DIGITS if kind is Kind.DEAR else 0)  # else the code itself is the series
        if not any(len(prefix) >= series for prefix in named):
            raise NotAllowed(
                "number type",
                "DIAL_PREFIXES does not name this series: premium, shared-cost, personal and satellite numbers are "
                "dialled only if a prefix names them, such as '+1900'.",
            )

    def _is_at_home(self, number: str) -> bool:
        """A number of the one country; a series that nobody knows counts if its code is that country's alone."""
        return self.country in regions_of(number)


@dataclass(frozen=True, slots=True)
class OperatorLimits:
    """What the operator allows, whatever an agent's file or a request says."""

    destinations: Destinations = field(default_factory=Destinations)
    call_s_max: int = 14_400
    """CALL_S_MAX."""
