"""Decides which numbers may be dialled, by DIAL_PREFIXES.  Pure.

A number is checked in its E.164 form, however it is written, against the prefixes that are set, or else against the
country of VOBIZ_FROM_NUMBER (India without one, as the carrier is Indian).  Numbers that cost more than a call to a
person (premium rate, shared cost, personal and paging numbers, satellites, codes of no country) are refused unless a
prefix names their series: "+1" does not allow +1 900, "+1900" does; "+881" names the satellites themselves.

Series that libphonenumber does not know are checked by their prefix alone, since regulators open new ones before it
learns of them.  In a country code that several countries share, they do not count as the default country's.

A SIP address is dialled only if DIAL_PREFIXES has "sip:" (any address) or the address itself.  A number in it, as the
user, however it is written, or in place of the host, must be allowed as well, because the carrier may dial it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from common.numbers import HOME, Kind, compact, international, is_possible, kind_of, number_key, regions_of

SIP = "sip:"
_SIP = re.compile(r"sips?:([^@;?>\s]*@)?([^;?>\s]+)", re.IGNORECASE)
_SIP_NUMBER = re.compile(r"\+?[0-9]{5,25}")
_NEVER_PLAIN = ("+1900", "+449", "+4470")
"""Expensive series whose numbers libphonenumber knows only in part: the prefix alone makes them expensive."""

SERIES_DIGITS = 2
"""Digits after the country code without which a prefix does not name an expensive series ("+447": mobiles, not +44 70).
"""

REASONS = ("prefix", "number type", "sip")
"""Reasons for which a destination is refused: the metric's labels."""


class NotAllowed(ValueError):
    """The destination may not be dialled.  `reason` is one of REASONS; the text names the setting, not the number."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Destinations:
    """Allowed destinations: `prefixes` as set, or else all ordinary numbers of `country` (two letters)."""

    prefixes: tuple[str, ...] = ()
    country: str = HOME

    @classmethod
    def of(cls, dial_prefixes: str, from_number: str = "") -> Destinations:
        """Parse DIAL_PREFIXES and VOBIZ_FROM_NUMBER."""
        prefixes = tuple(part.strip() for part in dial_prefixes.split(",") if part.strip())
        regions = regions_of(international(from_number)) if from_number else ()
        return cls(prefixes, regions[0] if regions else HOME)

    def check(self, text: str) -> None:
        """Check a number or SIP address.  Raises NotAllowed."""
        if found := _SIP.fullmatch(text.strip()):
            self._check_sip(text.strip(), (found[1] or "").rstrip("@"), found[2])
            return
        number = international(text)
        if not number or not is_possible(number):
            raise NotAllowed("prefix", "DIAL_PREFIXES does not allow this destination: it is no number of any country.")
        self._check_number(number)

    def allows(self, text: str) -> bool:
        """Whether the number or SIP address may be dialled."""
        try:
            self.check(text)
        except NotAllowed:
            return False
        return True

    def _check_sip(self, address: str, user: str, host: str) -> None:
        own = {number_key(prefix) for prefix in self.prefixes if _SIP.fullmatch(prefix)}
        if SIP not in self.prefixes and number_key(address) not in own:
            raise NotAllowed(
                "sip", "DIAL_PREFIXES does not allow SIP addresses: add the address to it, or 'sip:' for all of them."
            )
        for part in (user, "" if "." in host else host):  # a host with dots is one of the internet
            if _SIP_NUMBER.fullmatch(number := _sip_number(part)):
                self._check_number(international(number))

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
        series = len(code) + (SERIES_DIGITS if kind is Kind.DEAR else 0)  # otherwise the code itself is the series
        if not any(len(prefix) >= series for prefix in named):
            raise NotAllowed(
                "number type",
                "DIAL_PREFIXES does not name this series: premium, shared-cost, personal and satellite numbers are "
                "dialled only if a prefix names them, such as '+1900'.",
            )

    def _is_at_home(self, number: str) -> bool:
        """Whether the number is of `country`; an unknown series counts if its code belongs to that country alone."""
        return self.country in regions_of(number)


@dataclass(frozen=True, slots=True)
class OperatorLimits:
    """Limits set by the operator, above those of agent files and API requests."""

    destinations: Destinations = field(default_factory=Destinations)
    call_s_max: int = 14_400
    """CALL_S_MAX, in seconds."""


def _sip_number(user: str) -> str:
    """The user of a SIP address as a switch may dial it: unescaped, without a password, parameters or separators."""
    return compact(unquote(user).partition(";")[0].partition(":")[0])
