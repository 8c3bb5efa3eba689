"""The token in the stream URL: ours, or nobody's."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.media.stream_token import FIRST_USE_SECONDS, BadToken, StreamToken, mint, verify

pytestmark = pytest.mark.fast

SECRET = b"a secret of the deployment"
CALL = "0e516b32-0000-4000-8000-000000000001"
NOW = 1_778_597_597.9
TOKEN = mint(SECRET, CALL, NOW)


def test_a_token_names_its_call_and_the_minute_in_which_it_must_be_used() -> None:
    assert verify(SECRET, TOKEN) == StreamToken(CALL, 1_778_597_597 + FIRST_USE_SECONDS)


def test_a_token_stands_in_a_path_without_quoting() -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", TOKEN)


def test_a_token_of_another_deployment_is_refused() -> None:
    with pytest.raises(BadToken, match="forged"):
        verify(b"another secret", TOKEN)


def test_while_a_secret_is_replaced_both_are_believed_and_the_first_signs() -> None:
    new = b"the secret of tomorrow"
    assert verify(new + b"," + SECRET, TOKEN).call_id == CALL
    assert verify(SECRET + b"," + new, TOKEN).call_id == CALL
    signed = mint(new + b"," + SECRET, CALL, NOW)
    assert verify(new, signed).call_id == CALL
    with pytest.raises(BadToken, match="forged"):
        verify(SECRET, signed)


def test_nobody_can_change_the_call_or_prolong_the_token() -> None:
    call_id, expires, signature = TOKEN.split(".")
    for forged in (f"other-call.{expires}.{signature}", f"{call_id}.{int(expires) + 1}.{signature}"):
        with pytest.raises(BadToken, match="forged"):
            verify(SECRET, forged)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", TOKEN + "=", TOKEN[:-1], f" {TOKEN}", f"{TOKEN}\n", f"x/{TOKEN}"])
def test_what_has_not_the_shape_is_refused(token: str) -> None:
    with pytest.raises(BadToken, match="malformed"):
        verify(SECRET, token)


@given(st.integers(0, len(TOKEN) - 1), st.characters())
def test_every_character_counts(at: int, other: str) -> None:
    changed = TOKEN[:at] + other + TOKEN[at + 1 :]
    if changed == TOKEN:
        assert verify(SECRET, changed).call_id == CALL
    else:
        with pytest.raises(BadToken):
            verify(SECRET, changed)


@given(st.text(max_size=200))
def test_any_text_is_refused_and_nothing_else_happens(token: str) -> None:
    with pytest.raises(BadToken):
        verify(SECRET, token)


@pytest.mark.parametrize("call_id", ["", "a/b", "a.b", "a b", "x" * 65, "é"])
def test_a_call_id_that_no_path_can_hold_gets_no_token(call_id: str) -> None:
    with pytest.raises(ValueError, match="URL path"):
        mint(SECRET, call_id, NOW)
