"""Who calls our webhooks: signatures made here by hand, the way Vobiz documents them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from edge.vobiz.signatures import (
    Checked,
    Policy,
    Refusal,
    SignatureVerdict,
    public_url_candidates,
    redacted,
    trusted_peer,
    verify,
)

pytestmark = pytest.mark.fast

TOKEN = "own-token"
PARENT = "parent-token"
URL = "https://voice.example.com/answer"
NONCE = "12345678901234567890"
OTHER_NONCE = "09876543210987654321"


def by_hand(token: str, text: str) -> str:
    """HMAC-SHA256 as RFC 2104 spells it, without the module under test or `hmac`."""
    key = token.encode().ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + text.encode()).digest()
    return base64.b64encode(hashlib.sha256(bytes(byte ^ 0x5C for byte in key) + inner).digest()).decode()


def v3(url: str = URL, token: str = TOKEN, nonce: str = NONCE) -> dict[str, str]:
    return {"X-Vobiz-Signature-V3": by_hand(token, f"{url}.{nonce}"), "X-Vobiz-Signature-V3-Nonce": nonce}


def v2(url: str = URL, token: str = TOKEN, nonce: str = NONCE) -> dict[str, str]:
    return {"X-Vobiz-Signature-V2": by_hand(token, url + nonce), "X-Vobiz-Signature-V2-Nonce": nonce}


def test_our_hand_agrees_with_the_library() -> None:
    digest = hmac.new(TOKEN.encode(), f"{URL}.{NONCE}".encode(), "sha256").digest()
    assert by_hand(TOKEN, f"{URL}.{NONCE}") == base64.b64encode(digest).decode()


def test_a_vector_that_nobody_computes_here() -> None:
    """Made with `printf %s "$URL.$NONCE" | openssl dgst -sha256 -hmac own-token -binary | base64`."""
    headers = {
        "x-vobiz-signature-v3": "pmaOABOkK5k1eXCd1DqaY02mi7zddre9cyNxf1nv6+0=",
        "x-vobiz-signature-v3-nonce": NONCE,
    }
    assert verify(headers, [URL], [TOKEN]).verdict is SignatureVerdict.VALID
    headers = {
        "x-vobiz-signature-v2": "3nk7RzGpldmaXXQye7eMirlNVVECWSZJ7xAwHDVnsJA=",
        "x-vobiz-signature-v2-nonce": NONCE,
    }
    assert verify(headers, [URL], [TOKEN]).verdict is SignatureVerdict.VALID


# --- what Vobiz sends ----------------------------------------------------------------------------------------------


def test_a_webhook_of_vobiz_is_believed_and_its_nonces_are_handed_back() -> None:
    ma = {"X-Vobiz-Signature-MA-V3": v3()["X-Vobiz-Signature-V3"], "X-Vobiz-Signature-MA-V2": "A" * 43 + "="}
    headers = {"X-Vobiz-Signature": "legacy", **ma, **v3(), **v2(nonce=OTHER_NONCE)}
    assert verify(headers, [URL], [TOKEN]) == Checked(SignatureVerdict.VALID, (NONCE, OTHER_NONCE))


def test_one_nonce_for_both_versions_is_handed_back_once() -> None:
    assert verify({**v3(), **v2()}, [URL], [TOKEN]).nonces == (NONCE,)


def test_whoever_replays_only_the_v2_headers_is_known_by_their_nonce() -> None:
    first = verify({**v3(), **v2(nonce=OTHER_NONCE)}, [URL], [TOKEN])
    replay = verify(v2(nonce=OTHER_NONCE), [URL], [TOKEN])
    assert replay.verdict is SignatureVerdict.VALID
    assert set(replay.nonces) <= set(first.nonces)


def test_a_sub_account_may_be_checked_with_its_parents_token() -> None:
    own, parent = v3(), v3(token=PARENT)
    headers = {**own, "X-Vobiz-Signature-MA-V3": parent["X-Vobiz-Signature-V3"]}
    for tokens in ([TOKEN], [PARENT], [PARENT, TOKEN], ["", PARENT]):
        assert verify(headers, [URL], tokens).verdict is SignatureVerdict.VALID
    assert verify(headers, [URL], ["stranger"]).verdict is SignatureVerdict.WRONG
    only_parent = {name: value for name, value in headers.items() if name != "X-Vobiz-Signature-V3"}
    assert verify(only_parent, [URL], [PARENT]).verdict is SignatureVerdict.VALID


def test_ma_v2_is_read_with_the_v2_nonce() -> None:
    signed = v2(token=PARENT)
    headers = {
        "X-Vobiz-Signature-MA-V2": signed["X-Vobiz-Signature-V2"],
        "X-Vobiz-Signature-V2-Nonce": NONCE,
        "X-Vobiz-Signature-V3-Nonce": OTHER_NONCE,
    }
    assert verify(headers, [URL], [PARENT]) == Checked(SignatureVerdict.VALID, (NONCE,))


def test_several_signatures_in_a_header_are_each_tried() -> None:
    right = v3()["X-Vobiz-Signature-V3"]
    wrong = by_hand("stranger", "text")
    for listed in (f"{wrong}, {right}", f"{right},{wrong}", f" {right} "):
        assert verify({**v3(), "X-Vobiz-Signature-V3": listed}, [URL], [TOKEN]).verdict is SignatureVerdict.VALID


RIGHT = v3()["X-Vobiz-Signature-V3"]
STRANGERS = by_hand("stranger", "text")
JUNK = ["not base64", "", "\u00e9" * 43 + "=", RIGHT[:-1], RIGHT + "=", '"' + RIGHT + '"', " ", "v3=" + RIGHT]


@pytest.mark.parametrize("junk", [*JUNK, STRANGERS, "x" * 2000], ids=lambda text: text[:12])
def test_one_signature_that_matches_is_enough_whatever_stands_beside_it(junk: str) -> None:
    """In one header, in two of one name, and in the twin of the parent account; first, last and between."""
    if len(junk) < 1000:
        for listed in (f"{junk},{RIGHT}", f"{RIGHT}, {junk}", f"{junk},{RIGHT},{junk}", f",{RIGHT},"):
            checked = verify({**v3(), "X-Vobiz-Signature-V3": listed}, [URL], [TOKEN])
            assert checked == Checked(SignatureVerdict.VALID, (NONCE,)), listed
    name, nonce = b"x-vobiz-signature-v3", (b"x-vobiz-signature-v3-nonce", NONCE.encode())
    good, bad = RIGHT.encode(), junk.encode("latin-1")
    for pairs in (
        [(name, good), (name, bad)],
        [(name, bad), (name, good)],
        [(name, bad), (b"x-vobiz-signature-ma-v3", good)],
    ):
        assert verify(Headers(raw=[*pairs, nonce]), [URL], [TOKEN]) == Checked(SignatureVerdict.VALID, (NONCE,))


def test_many_that_are_none_do_not_hide_one_that_is() -> None:
    listed = ",".join(["x"] * 100 + [RIGHT])
    assert verify({**v3(), "X-Vobiz-Signature-V3": listed}, [URL], [TOKEN]).verdict is SignatureVerdict.VALID


def test_a_nonce_header_that_came_twice_is_read_twice() -> None:
    raw = [(b"x-vobiz-signature-v3", RIGHT.encode())]
    for other in (NONCE, OTHER_NONCE, "", "not/a/nonce"):
        for nonces in ((other, NONCE), (NONCE, other)):
            doubled = [(b"x-vobiz-signature-v3-nonce", nonce.encode()) for nonce in nonces]
            assert verify(Headers(raw=raw + doubled), [URL], [TOKEN]) == Checked(SignatureVerdict.VALID, (NONCE,))


@pytest.mark.parametrize("junk", JUNK, ids=lambda text: text[:12])
def test_junk_alone_stays_malformed_and_beside_a_strangers_wrong(junk: str) -> None:
    only = {**v3(), "X-Vobiz-Signature-V3": f"{junk},{junk}"}
    assert verify(only, [URL], [TOKEN]) == Checked(SignatureVerdict.MALFORMED)
    both = {**v3(), "X-Vobiz-Signature-V3": f"{junk},{STRANGERS}"}
    assert verify(both, [URL], [TOKEN]) == Checked(SignatureVerdict.WRONG)


def test_headers_are_read_in_any_case_and_when_repeated() -> None:
    lower = {name.lower(): value for name, value in v3().items()}
    assert verify(lower, [URL], [TOKEN]).verdict is SignatureVerdict.VALID
    assert (
        verify({name.upper(): value for name, value in lower.items()}, [URL], [TOKEN]).verdict is SignatureVerdict.VALID
    )
    wrong = [(b"x-vobiz-signature-v3", by_hand("stranger", "text").encode())]
    right = [(name.encode(), value.encode()) for name, value in lower.items()]
    for raw in (wrong + right, right + wrong):
        assert verify(Headers(raw=raw), [URL], [TOKEN]).verdict is SignatureVerdict.VALID


@pytest.mark.parametrize("signed", [URL, "https://user:word@voice.example.com/answer"])
def test_userinfo_may_be_signed_or_stripped(signed: str) -> None:
    given = "https://user:word@voice.example.com/answer?agent=reception#part"
    assert verify(v3(signed), [given], [TOKEN]).verdict is SignatureVerdict.VALID


def test_query_and_fragment_are_not_signed() -> None:
    assert verify(v3(), [f"{URL}?CallUUID=c-1&x=1#y"], [TOKEN]).verdict is SignatureVerdict.VALID
    assert verify(v3(f"{URL}?x=1"), [f"{URL}?x=1"], [TOKEN]).verdict is SignatureVerdict.WRONG


def test_any_of_the_candidate_urls_may_be_the_one() -> None:
    assert verify(v2(), ["http://10.0.0.7:8000/answer", URL], [TOKEN]).verdict is SignatureVerdict.VALID


# --- what others send ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [v3, v2])
def test_another_key_url_or_nonce_is_wrong(make: Callable[..., dict[str, str]]) -> None:
    assert verify(make(token="stranger"), [URL], [TOKEN]) == Checked(SignatureVerdict.WRONG)
    for url in (
        f"{URL}/",
        "https://voice.example.com/hangup",
        "http://voice.example.com/answer",
        "https://evil.example/answer",
    ):
        assert verify(make(url), [URL], [TOKEN]).verdict is SignatureVerdict.WRONG
    swapped = {name: OTHER_NONCE if name.endswith("Nonce") else value for name, value in make().items()}
    assert verify(swapped, [URL], [TOKEN]).verdict is SignatureVerdict.WRONG


def test_the_versions_do_not_stand_for_each_other() -> None:
    headers = {"X-Vobiz-Signature-V3": v2()["X-Vobiz-Signature-V2"], "X-Vobiz-Signature-V3-Nonce": NONCE}
    assert verify(headers, [URL], [TOKEN]).verdict is SignatureVerdict.WRONG


def test_a_v2_signature_cannot_be_moved_to_a_neighbouring_path() -> None:
    """V2 joins path and nonce without a mark: a digit of one could become a digit of the other."""
    stolen = v2(f"{URL}/1")["X-Vobiz-Signature-V2"]
    headers = {"X-Vobiz-Signature-V2": stolen, "X-Vobiz-Signature-V2-Nonce": "1" + NONCE}
    assert verify(headers, [f"{URL}/"], [TOKEN]).verdict is SignatureVerdict.MALFORMED


def test_v1_alone_is_no_signature() -> None:
    sha1 = base64.b64encode(hmac.new(TOKEN.encode(), URL.encode(), "sha1").digest()).decode()
    assert verify({"X-Vobiz-Signature": sha1}, [URL], [TOKEN]) == Checked(SignatureVerdict.MISSING)
    assert verify({}, [URL], [TOKEN]) == Checked(SignatureVerdict.MISSING)
    assert verify({"X-Vobiz-Signature-V3-Nonce": NONCE}, [URL], [TOKEN]) == Checked(SignatureVerdict.MISSING)


@pytest.mark.parametrize(
    "broken",
    [
        {"X-Vobiz-Signature-V3": v3()["X-Vobiz-Signature-V3"]},
        {**v3(), "X-Vobiz-Signature-V3-Nonce": ""},
        {**v3(), "X-Vobiz-Signature-V3-Nonce": f"{NONCE},{NONCE}"},
        {**v3(), "X-Vobiz-Signature-V3": ""},
        {**v3(), "X-Vobiz-Signature-V3": "not base64"},
        {**v3(), "X-Vobiz-Signature-V3": "\u00e9" * 43 + "="},
        {**v3(), "X-Vobiz-Signature-V3": ",".join([v3()["X-Vobiz-Signature-V3"]] * 9)},
        {**v3(), "X-Vobiz-Signature-V3": v3()["X-Vobiz-Signature-V3"] + " " * 1024},
        {**v2(), "X-Vobiz-Signature-V2-Nonce": NONCE[:-1]},
    ],
)
def test_what_vobiz_does_not_send_is_malformed(broken: dict[str, str]) -> None:
    assert verify(broken, [URL], [TOKEN]) == Checked(SignatureVerdict.MALFORMED)


@pytest.mark.parametrize("odd", ["?", by_hand("stranger", "text")])
def test_a_v3_that_we_cannot_read_does_not_spoil_a_good_v2(odd: str) -> None:
    """Whoever can make the one can make the other, and a change at Vobiz must not end every call."""
    headers = {**v3(nonce=OTHER_NONCE), **v2(), "X-Vobiz-Signature-V3": odd}
    assert verify(headers, [URL], [TOKEN]) == Checked(SignatureVerdict.VALID, (NONCE,))


def test_an_empty_token_signs_nothing() -> None:
    forged = v3(token="")
    with pytest.raises(ValueError, match="no auth token"):
        verify(forged, [URL], [""])
    assert verify(forged, [URL], ["", TOKEN]).verdict is SignatureVerdict.WRONG


def test_without_a_url_nothing_is_valid() -> None:
    assert verify(v3(), [], [TOKEN]).verdict is SignatureVerdict.WRONG
    assert verify(v3(), ["http://[/answer"], [TOKEN]).verdict is SignatureVerdict.WRONG


@given(st.dictionaries(st.sampled_from([*v3(), *v2(), "X-Vobiz-Signature-MA-V2", "Host"]), st.text(max_size=60)))
def test_nothing_a_stranger_writes_is_valid_or_breaks_us(headers: dict[str, str]) -> None:
    assert verify(headers, [URL], [TOKEN]).verdict is not SignatureVerdict.VALID


def test_neither_body_nor_time_is_signed_so_a_replay_looks_the_same() -> None:
    """`verify` takes no body and no clock: remembering nonces is the caller's part."""
    assert verify(v3(), [URL], [TOKEN]) == verify(v3(), [URL], [TOKEN])


# --- policy --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "verdict", "refusal"),
    [
        (Policy.REQUIRED, SignatureVerdict.VALID, None),
        (Policy.REQUIRED, SignatureVerdict.MISSING, Refusal.MISSING),
        (Policy.REQUIRED, SignatureVerdict.WRONG, Refusal.WRONG),
        (Policy.REQUIRED, SignatureVerdict.MALFORMED, Refusal.MALFORMED),
        (Policy.IF_PRESENT, SignatureVerdict.VALID, None),
        (Policy.IF_PRESENT, SignatureVerdict.MISSING, None),
        (Policy.IF_PRESENT, SignatureVerdict.WRONG, Refusal.WRONG),
        (Policy.IF_PRESENT, SignatureVerdict.MALFORMED, Refusal.MALFORMED),
        *((Policy.OFF, verdict, None) for verdict in SignatureVerdict),
    ],
)
def test_the_policy_decides(policy: Policy, verdict: SignatureVerdict, refusal: Refusal | None) -> None:
    assert policy.refuses(Checked(verdict)) is refusal


def test_the_policies_are_spelt_as_in_the_settings() -> None:
    assert [policy.value for policy in Policy] == ["required", "if-present", "off"]


# --- logs ----------------------------------------------------------------------------------------------------------


def test_no_secret_of_a_header_reaches_a_log() -> None:
    secret = {
        "auth-token": "s3cret", "Parent-Auth-Token": "s3cret", "auth_token": "s3cret", "Authorization": "Bearer s3cret",
        "Proxy-Authorization": "s3cret", "X-Auth-ID": "s3cret", "X-Auth-Token": "s3cret", "Cookie": "s3cret",
        "Set-Cookie": "s3cret", "X-API-Key": "s3cret", "X-Vobiz-Signature": "s3cret",
        "X-Vobiz-Signature-MA-V3": "s3cret", "X-Vobiz-Signature-V2-Nonce": "s3cret",
    }  # fmt: skip
    plain = {"User-Agent": "Vobiz", "Content-Type": "application/x-www-form-urlencoded", "Accept": "*/*"}
    shown = redacted({**secret, **plain})
    assert shown.keys() == {*secret, *plain}
    assert "s3cret" not in str(shown)
    assert {name: shown[name] for name in plain} == plain


# --- which URL was called ------------------------------------------------------------------------------------------

INSIDE = "http://10.0.0.7:8000/answer?CallUUID=c-1"
FORWARDED = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "voice.example.com"}


def test_the_public_url_decides_over_everything() -> None:
    for trusted in (True, False):
        evil = {"X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example"}
        assert public_url_candidates("https://voice.example.com/", INSIDE, evil, trusted=trusted) == (URL,)


def test_a_public_url_with_a_path_holds_whether_or_not_the_proxy_removes_it() -> None:
    outside = "https://voice.example.com/phone/answer"
    for inside in ("http://10.0.0.7/answer", "http://10.0.0.7/phone/answer"):
        assert outside in public_url_candidates("https://voice.example.com/phone", inside, {}, trusted=False)
    others = public_url_candidates("https://voice.example.com/phone", "http://10.0.0.7/phones", {}, trusted=False)
    assert others == ("https://voice.example.com/phone/phones",)


def test_a_proxy_of_ours_says_what_was_called_and_a_stranger_does_not() -> None:
    assert public_url_candidates("", INSIDE, FORWARDED, trusted=True) == (URL,)
    assert public_url_candidates("", INSIDE, FORWARDED, trusted=False) == ("http://10.0.0.7:8000/answer",)
    assert public_url_candidates("", INSIDE, {}, trusted=True) == ("http://10.0.0.7:8000/answer",)
    half = public_url_candidates("", "http://voice.example.com/answer", {"x-forwarded-proto": "HTTPS"}, trusted=True)
    assert half == (URL,)


def test_of_several_forwarded_values_only_our_proxys_own_counts() -> None:
    relayed = {"X-Forwarded-Proto": "http, https", "X-Forwarded-Host": "evil.example, voice.example.com"}
    assert public_url_candidates("", INSIDE, relayed, trusted=True) == (URL,)


@pytest.mark.parametrize("host", ["evil.example/answer?", "user@voice.example.com", "a b", "[", "voice.example.com#"])
def test_a_forwarded_host_is_a_host_or_nothing(host: str) -> None:
    odd = {"X-Forwarded-Proto": "javascript", "X-Forwarded-Host": host}
    assert public_url_candidates("", INSIDE, odd, trusted=True) == ("http://10.0.0.7:8000/answer",)


def test_a_host_header_that_is_none_leaves_no_candidate() -> None:
    assert public_url_candidates("", "http://[/answer", {}, trusted=False) == ()


def test_a_signed_call_through_a_proxy_is_believed() -> None:
    urls = public_url_candidates("", INSIDE, FORWARDED, trusted=trusted_peer("10.0.0.1", ["10.0.0.0/8"]))
    assert verify(v3(), urls, [TOKEN]).verdict is SignatureVerdict.VALID


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("fd00::7", True), ("127.0.0.1", False), ("11.0.0.1", False),
        ("fe80::1%eth0", False), ("2001:db8::1", False), ("", False), ("testclient", False), ("10.1.2.3.4", False),
    ],
)  # fmt: skip
def test_only_our_networks_are_trusted(address: str, trusted: bool) -> None:
    assert trusted_peer(address, ["10.0.0.1/8", "fd00::/8"]) is trusted
    assert not trusted_peer(address, [])


def test_a_network_that_is_none_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="office"):
        trusted_peer("10.1.2.3", ["office"])
