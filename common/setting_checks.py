"""Checks settings against each other, and finds the raw value of one.  Pure, except for the file of a secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

SECRET_CHARS_MAX = 16_384
"""Most characters in the file of a secret; a REDIS_URL may be long."""


def contradictions(values: Mapping[str, Any]) -> list[str]:
    """A message for each contradiction between values that are valid one by one."""
    problems = []
    if values["webhook_signatures"] in ("required", "if-present") and not values["vobiz_auth_token"]:
        problems.append(f"WEBHOOK_SIGNATURES: {values['webhook_signatures']} needs VOBIZ_AUTH_TOKEN to check with")
    if bool(values["vobiz_auth_id"]) != bool(values["vobiz_auth_token"]):
        problems.append("VOBIZ_AUTH_ID, VOBIZ_AUTH_TOKEN: set both or neither")
    problems += dial_prefix_problems(values["dial_prefixes"])
    for network in filter(None, (part.strip() for part in values["trusted_proxies"].split(","))):
        try:
            ip_network(network, strict=False)
        except ValueError:
            problems.append(f"TRUSTED_PROXIES: {network!r} is no address and no network")
    return problems


def dial_prefix_problems(text: str) -> Iterable[str]:
    """A message about DIAL_PREFIXES, if it is wrong."""
    for part in filter(None, (part.strip() for part in text.split(","))):
        if not re.fullmatch(r"\+[1-9][0-9]{0,14}|sips?:\S{0,250}", part):
            yield "DIAL_PREFIXES: expected prefixes such as +91, +4420, +1900 or sip:, comma-separated"
            return


FORMER_NAMES = {"PROVIDER_CONCURRENCY": "PROVIDER_PLACES"}
"""Variable -> the name that it had; that one is read where the present one is unset."""


def raw_value(environ: Mapping[str, str], variable: str, secret: bool) -> str:
    """The variable's value, or for a secret the content of the file in `<variable>_FILE`; "" if neither is set.

    Raises ValueError if both are set, or the file cannot be read, is empty or too long.
    """
    raw, path = environ.get(variable, "").strip(), environ.get(f"{variable}_FILE", "").strip()
    if (former := FORMER_NAMES.get(variable)) and (value := environ.get(former, "").strip()):
        if raw and raw != value:
            raise ValueError(f"{variable}, {former}: the second is the former name of the first; set one of them")
        raw = value
    if not secret or not path:
        return raw
    if raw:
        raise ValueError(f"{variable}, {variable}_FILE: set one of them")
    try:
        with Path(path).open(encoding="utf-8") as file:
            held = file.read(SECRET_CHARS_MAX + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{variable}_FILE: the file cannot be read ({type(error).__name__})") from None
    if not held or len(held) > SECRET_CHARS_MAX:
        raise ValueError(f"{variable}_FILE: expected a file of 1 to {SECRET_CHARS_MAX} characters")
    return held
