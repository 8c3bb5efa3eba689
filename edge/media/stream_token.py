"""Signs and verifies the token in the stream URL: `<call id>.<expiry>.<signature>`.  Pure.

Vobiz does not sign its WebSocket requests; the token takes the signature's place.  `/answer` mints it, and its first
use must be within a minute.  The same call may use it again as long as the call lives, because Vobiz reconnects with
the URL it was given; edge/session/media_streams.py enforces that rule, which needs the call's record.

A secret may be a list, separated by commas: the first one signs, all are accepted.  So a secret can be replaced while
calls go on: set `new,old` until every call that was answered with the old one has ended.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256

FIRST_USE_SECONDS = 60
_SHAPE = re.compile(r"([A-Za-z0-9_-]{1,64})\.([0-9]{1,12})\.([A-Za-z0-9_-]{32})")


class BadToken(ValueError):
    """The token is malformed, or was not signed with any of our secrets."""


@dataclass(frozen=True, slots=True)
class StreamToken:
    """The content of a token whose signature is valid."""

    call_id: str
    expires_s: int
    """Unix time in seconds by Redis's clock (`CallStore.now_ms`), until which the first connection must come."""


def mint(secret: bytes, call_id: str, now_s: float) -> str:
    """A token for this call, valid from `now_s` (Unix time in seconds).  Raises ValueError if the call id cannot stand
    in a URL path.
    """
    body = f"{call_id}.{int(now_s) + FIRST_USE_SECONDS}"
    token = f"{body}.{_signature(secret.split(b',')[0], body)}"
    if not _SHAPE.fullmatch(token):
        raise ValueError("the call id has characters that a URL path cannot hold")
    return token


def verify(secret: bytes, token: str) -> StreamToken:
    """The content of the token.  Raises BadToken if it was not signed by us; the caller checks the expiry."""
    shape = _SHAPE.fullmatch(token)
    if shape is None:
        raise BadToken("malformed")
    call_id, expires, signature = shape.groups()
    body = f"{call_id}.{expires}"
    if not any(hmac.compare_digest(signature, _signature(one, body)) for one in secret.split(b",")):
        raise BadToken("forged")
    return StreamToken(call_id, int(expires))


def _signature(secret: bytes, body: str) -> str:
    return urlsafe_b64encode(hmac.digest(secret, body.encode(), sha256)[:24]).decode()
