"""Reads the keys of a `dtmf` message of the stream.  Vobiz documents no format, so every shape seen elsewhere is read.

{"dtmf": {"digit": "3"}}   {"dtmf": {"digits": "42#"}}   {"dtmf": "3"}   {"digit": 3}   {"digits": ["4", "2"]}
"""

from __future__ import annotations

from typing import Any

KEYS = "0123456789*#ABCD"
KEYS_MAX = 32
"""Keys in one message; more than a person presses between two messages."""
_NAMES = ("digit", "digits", "key", "keys", "value")
_WORDS = {"STAR": "*", "ASTERISK": "*", "HASH": "#", "POUND": "#"}


def keys_of(message: dict[str, Any]) -> str:
    """The keys in the order in which they were pressed, upper case; empty if there are none, or other characters."""
    body = message.get("dtmf")
    candidates = [body] if not isinstance(body, dict) else [body.get(name) for name in _NAMES]
    for value in [*candidates, *(message.get(name) for name in _NAMES)]:
        if value is not None and value != "":
            return _keys(value)
    return ""


def _keys(value: Any) -> str:
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, str | int) and not isinstance(part, bool) for part in parts) or len(parts) > KEYS_MAX:
        return ""
    texts = [_WORDS.get(text, text) for part in parts if (text := str(part)[: KEYS_MAX + 1].strip().upper())]
    pressed = "".join(texts)
    return pressed if len(pressed) <= KEYS_MAX and all(key in KEYS for key in pressed) else ""
