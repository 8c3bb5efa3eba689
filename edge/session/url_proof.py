"""Signs the URLs that the edge gives the carrier, so that each is valid for one call and for a limited time.  Pure.

The carrier signs a webhook's URL without its query, and not its body; a captured signature would be valid for another
call's webhook once its nonce is forgotten.  Our URLs therefore name the call and carry a proof of that:

    /after-stream?call=<CallUUID>&proof=<expiry>.<signature>      of a call that was answered
    /dial-status?call=<CallUUID>&attempt=<turn>.<n>&proof=…       of one transfer of it
    /ring?dial=<id>&attempt=<n>&proof=<expiry>.<signature>        of one request for an outbound call

The signature is HMAC-SHA256 with the secret of the stream tokens over the path, the subject and the expiry (Unix time
in seconds), cut to 144 bits.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256
from urllib.parse import urlencode

SPARE_SECONDS = 3600
"""A proof is valid this much longer than its call can last, because webhooks arrive late."""
_PROOF = re.compile(r"([0-9]{1,12})\.([A-Za-z0-9_-]{24})")


class Proof(StrEnum):
    """Result of a check; the values of the invalid ones are labels of a metric."""

    GOOD = "good"
    NONE = "url_unproven"
    """The query has no proof: the URL was set in the carrier's console."""
    FORGED = "url_forged"
    EXPIRED = "url_expired"


def of_call(secret: bytes | None, path: str, call_id: str, until_s: float, attempt: str = "") -> str:
    """The path with a query that proves it for this call until `until_s` (Unix time); without a secret not more than
    the `attempt`, which is the name of a transfer of the call, or empty.
    """
    about = {"call": call_id, "attempt": attempt} if attempt else {"call": call_id}
    return _proven(secret, path, about, until_s)


def of_dial(secret: bytes | None, path: str, dial_id: str, attempt: str, until_s: float) -> str:
    """The path with the query of an outbound call's webhook; `attempt` is the request's name, or empty."""
    about = {"dial": dial_id, "attempt": attempt} if attempt else {"dial": dial_id}
    return _proven(secret, path, about, until_s)


def check(secret: bytes, path: str, query: Mapping[str, str], now_s: float) -> Proof:
    """Check the proof in the query.  The subject is in its `call`, or in its `dial` and `attempt`."""
    given = query.get("proof", "")
    if not given:
        return Proof.NONE
    shape = _PROOF.fullmatch(given)
    about = {name: query[name] for name in ("call", "dial", "attempt") if name in query}
    if shape is None or not about:
        return Proof.FORGED
    expires, signature = shape.groups()
    if not any(hmac.compare_digest(signature, _signature(one, path, about, expires)) for one in secret.split(b",")):
        return Proof.FORGED
    return Proof.EXPIRED if now_s > int(expires) else Proof.GOOD


def _proven(secret: bytes | None, path: str, about: Mapping[str, str], until_s: float) -> str:
    query = dict(about)
    if secret is not None:
        expires = str(int(until_s))
        query["proof"] = f"{expires}.{_signature(secret.split(b',')[0], path, about, expires)}"
    else:
        query.pop("call", None)
    return path if not query else f"{path}?{urlencode(query)}"


def _signature(secret: bytes, path: str, about: Mapping[str, str], expires: str) -> str:
    text = "\n".join(("url", path, *(f"{name}={about[name]}" for name in sorted(about)), expires))
    return urlsafe_b64encode(hmac.digest(secret, text.encode(), sha256)[:18]).decode()
