"""Turns an HTTP status that is no success into a ProviderError.  Pure: cores import it, too."""

from __future__ import annotations

from workers.providers.interfaces import Busy, Down, ProviderError, Rejected


def refused(name: str, status: int, key_variable: str) -> ProviderError:
    """The error that the status means.  `name` and `key_variable` are for its text."""
    if status == 429:
        return Busy(f"{name} is at its limit (429)")
    if status in (401, 403):
        return Rejected(f"{name} does not accept the key ({status}); check {key_variable}")
    if status == 402:
        return Rejected(f"{name} wants to be paid (402); check the account of {key_variable}")
    if 400 <= status < 500 and status != 408:
        return Rejected(f"{name} refused the request ({status}); check the model, the language and the voice")
    return Down(f"{name} answered {status}")
