"""The token in the stream URL: `<call id>.<expiry>.<signature>`.  Vobiz does not sign its WebSocket; this replaces it.

Minted by /answer, it must be used within a minute the first time.  The same call may use it again for as long as it
lives, because Vobiz reconnects with the URL it was given; that rule needs the call's record and is kept by
edge/media/stream.py.

A secret may be several, with commas between them: the first signs, and all are believed.  So it can be replaced while
calls go on: `new,old` until every call that was answered with the old one has ended.
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
    """Not one of ours."""


@dataclass(frozen=True, slots=True)
class StreamToken:
    """What a token says, once its signature is good."""

    call_id: str
    expires_s: int
    """Unix time, by the ledger's clock (`CallStore.now_ms`), until which the first connection must come."""


def mint(secret: bytes, call_id: str, now_s: float) -> str:
    """A token for this call.  Raises ValueError if the call id could not stand in a URL path."""
    body = f"{call_id}.{int(now_s) + FIRST_USE_SECONDS}"
    token = f"{body}.{_signature(secret.split(b',')[0], body)}"
    if not _SHAPE.fullmatch(token):
        raise ValueError("the call id has characters that a URL path cannot hold")
    return token


def verify(secret: bytes, token: str) -> StreamToken:
    """Whose token it is.  Raises BadToken if we did not sign it; expiry is for the caller to judge."""
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
