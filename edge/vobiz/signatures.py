"""Verifies the signatures of Vobiz's webhooks.  Pure.

Vobiz signs the URL it was given, without query and fragment, and a nonce; the key is the account's auth token:

    X-Vobiz-Signature-V3, -MA-V3   base64(HMAC-SHA256(token, url + "." + nonce)), nonce in X-Vobiz-Signature-V3-Nonce
    X-Vobiz-Signature-V2, -MA-V2   base64(HMAC-SHA256(token, url + nonce)),       nonce in X-Vobiz-Signature-V2-Nonce

The MA headers are signed with the parent account's token.  V1 (SHA-1, and documented in two ways) is ignored.

Neither the body nor a time is signed.  So a signature proves that Vobiz called this URL once, not that it sent this
body, nor that it did so now: the caller must remember the nonces of valid requests (`Checked.nonces`), refuse them a
second time, and know the call that the body names.  Vobiz repeats a webhook that was not answered; whether with a new
nonce is not documented, so a repeated request should be answered like the first, without acting again.

Source: Vobiz documentation, "Validating callbacks".
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from ipaddress import ip_network
from urllib.parse import SplitResult, urlsplit, urlunsplit

from common.process.addresses import peer_ip

SIGNATURES_MAX = 8
"""Signatures in one header; Vobiz sends one.  Bounds the work that a stranger can cause."""
HEADER_CHARS_MAX = 1024
HEADERS_MAX, NONCES_MAX = 8, 4
"""Headers of one name that are examined."""

_PREFIX = "x-vobiz-signature-"
_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{43}=")
_NONCES = {
    "v3": re.compile(r"[A-Za-z0-9_-]{1,64}"),
    # URL and V2 nonce have no separator: were its length free, /a/1 and "23" would be signed like /a/12 and "3".
    "v2": re.compile(r"[0-9]{20}"),
}
_SECRET_HEADER = re.compile(r"token|secret|password|authorization|cookie|api-key|^x-auth-|^x-vobiz-signature")

HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
"""The shape of a valid Host header."""
REDACTED = "[redacted]"


class SignatureVerdict(StrEnum):
    """The result of checking a request's signatures."""

    VALID = "valid"
    MISSING = "missing"
    """No V2 or V3 signature."""
    WRONG = "wrong"
    """Well-formed, but not made with our tokens for our URL."""
    MALFORMED = "malformed"
    """Not a signature that Vobiz could have sent: no nonce, no base64 of 32 bytes, or too many."""


class Refusal(StrEnum):
    """Reasons for which a webhook is refused; metric labels."""

    MISSING = "signature_missing"
    WRONG = "signature_wrong"
    MALFORMED = "signature_malformed"


class Policy(StrEnum):
    """Whether webhooks must be signed (WEBHOOK_SIGNATURES)."""

    REQUIRED = "required"
    IF_PRESENT = "if-present"
    """Unsigned webhooks are accepted, since Vobiz does not document that it always signs; wrong signatures are not."""
    OFF = "off"

    def refuses(self, checked: Checked) -> Refusal | None:
        """Why this webhook must be refused; None if it is accepted."""
        if self is Policy.OFF or checked.verdict is SignatureVerdict.VALID:
            return None
        if self is Policy.IF_PRESENT and checked.verdict is SignatureVerdict.MISSING:
            return None
        return Refusal[checked.verdict.name]


@dataclass(frozen=True, slots=True)
class Checked:
    """The result for one request."""

    verdict: SignatureVerdict
    nonces: tuple[str, ...] = ()
    """Nonces of a valid request, V3's first.  All must be remembered: a replay may omit the V3 headers."""


def verify(headers: Mapping[str, str], urls: Iterable[str], tokens: Iterable[str]) -> Checked:
    """Check a request to one of `urls`, signed with one of `tokens` (our account's, its parent's).

    Header names are compared without case; each of several signatures, in one header or in several, is tried.  URLs are
    compared as spelled, with the path undecoded; one with userinfo matches with and without it.  Raises ValueError
    without a token, since anybody can sign with an empty key.
    """
    keys = [token.encode() for token in tokens if token]
    if not keys:
        raise ValueError("no auth token to check signatures with")
    bases = dict.fromkeys(base for url in urls for base in _bases(url))
    known = _folded(headers)
    verdicts, nonces = [], []
    for version in ("v3", "v2"):
        verdict, nonce = _verify_version(version, known, list(bases), keys)
        verdicts.append(verdict)
        nonces += [nonce] if verdict is SignatureVerdict.VALID else []
    for verdict in (SignatureVerdict.VALID, SignatureVerdict.WRONG, SignatureVerdict.MALFORMED):
        if verdict in verdicts:
            return Checked(verdict, tuple(dict.fromkeys(nonces)))
    return Checked(SignatureVerdict.MISSING)


def _verify_version(
    version: str, headers: Mapping[str, Sequence[str]], bases: Sequence[str], keys: Sequence[bytes]
) -> tuple[SignatureVerdict, str]:
    """The verdict on the headers of one version, and the nonce of a valid one.

    One matching signature is enough, whatever stands beside it: proxies duplicate headers, and a sender that signs for
    two keys may add one that cannot be read.
    """
    given = [*headers.get(f"{_PREFIX}{version}", ()), *headers.get(f"{_PREFIX}ma-{version}", ())]
    if not given:
        return SignatureVerdict.MISSING, ""
    nonces = [nonce.strip() for nonce in headers.get(f"{_PREFIX}{version}-nonce", ())]
    nonces = [nonce for nonce in dict.fromkeys(nonces) if _NONCES[version].fullmatch(nonce)][:NONCES_MAX]
    signatures = [signature for value in given[:HEADERS_MAX] for signature in _well_formed(value)]
    if not nonces or not signatures:
        return SignatureVerdict.MALFORMED, ""
    dot = "." if version == "v3" else ""
    valid = ""
    for nonce in nonces:
        expected = [_sign(key, f"{base}{dot}{nonce}") for base in bases for key in keys]
        matches = [hmac.compare_digest(signature, right) for signature in signatures for right in expected]
        valid = valid or (nonce if any(matches) else "")
    return (SignatureVerdict.VALID, valid) if valid else (SignatureVerdict.WRONG, "")


def _well_formed(header: str) -> list[str]:
    """The well-formed signatures in one header; none if it is longer than any that Vobiz sends."""
    if len(header) > HEADER_CHARS_MAX:
        return []
    found = [signature for text in header.split(",") if _SIGNATURE.fullmatch(signature := text.strip())]
    return found if len(found) <= SIGNATURES_MAX else []


def _sign(key: bytes, text: str) -> str:
    return b64encode(hmac.digest(key, text.encode(errors="replace"), sha256)).decode()


def _bases(url: str) -> tuple[str, ...]:
    """The part of a URL that Vobiz signs, in both forms: of its two samples one keeps userinfo, one strips it."""
    parts = _split(url)
    if parts is None:
        return ()
    base = f"{parts.scheme}://{parts.netloc}{parts.path}"
    return base, f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _split(url: str) -> SplitResult | None:
    """Split a URL; None for one that nobody can have called, such as one with the Host header "["."""
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _folded(headers: Mapping[str, str]) -> dict[str, list[str]]:
    """Header name in lower case -> its values."""
    folded: dict[str, list[str]] = {}
    for name, value in headers.items():
        folded.setdefault(name.lower(), []).append(value)
    return folded


def redacted(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with secrets hidden, for logs: Vobiz was seen to send account tokens in plain text."""
    return {name: REDACTED if _is_secret(name) else value for name, value in headers.items()}


def _is_secret(name: str) -> bool:
    return _SECRET_HEADER.search(name.lower().replace("_", "-")) is not None


def public_url_candidates(
    public_url: str, request_url: str, forwarded: Mapping[str, str], *, trusted: bool
) -> tuple[str, ...]:
    """The URLs under which Vobiz may have called us, without query, for `verify`; empty if `request_url` is no URL.

    If `public_url` (PUBLIC_URL) is set, it decides, with the path of the request, whether or not a proxy removed a
    prefix. Otherwise X-Forwarded-Proto and X-Forwarded-Host, if the request came from a proxy of ours (`trusted`, see
    `trusted_peer`).  Otherwise the request's own URL, whose host a stranger chooses: he could replay a webhook that
    Vobiz sent to another program of the same account.  So PUBLIC_URL should be set.
    """
    request = _split(request_url)
    if request is None:
        return ()
    if public_url:
        public = urlsplit(public_url)
        prefix = public.path.rstrip("/")
        paths = [prefix + request.path]
        if prefix and (request.path + "/").startswith(prefix + "/"):
            paths.append(request.path)
        return tuple(urlunsplit((public.scheme, public.netloc, path, "", "")) for path in paths)
    scheme, host = request.scheme, request.netloc
    if trusted:
        known = _folded(forwarded)
        # Of several values only the last was written by our own proxy.
        proto, name = (
            known.get(f"x-forwarded-{what}", [""])[-1].rpartition(",")[2].strip() for what in ("proto", "host")
        )
        proto = proto.lower()
        scheme = proto if proto in ("http", "https") else scheme
        host = name if HOST.fullmatch(name) else host
    return (urlunsplit((scheme, host, request.path, "", "")),)


def trusted_peer(address: str, cidrs: Iterable[str]) -> bool:
    """Whether the peer's address is in one of our proxies' networks.  Raises ValueError for a malformed network."""
    networks = [ip_network(cidr, strict=False) for cidr in cidrs]
    peer = peer_ip(address)
    return peer is not None and any(peer in network for network in networks)
