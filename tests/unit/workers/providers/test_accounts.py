"""A vendor's key and server, as the environment names them."""

from __future__ import annotations

import pytest

from workers.providers.accounts import key_of, server_of, value_of

pytestmark = pytest.mark.fast

OWN = "wss://api.example.com"


def server(environ: dict[str, str]) -> tuple[str, str]:
    return server_of(environ, "X_API_KEY", "X_BASE_URL", OWN)


def test_a_blank_variable_is_not_set() -> None:
    assert value_of({"X": "  "}, "X", "default") == "default"
    assert value_of({"X": " set "}, "X", "default") == "set"
    assert value_of({}, "X") == ""


def test_a_vendor_without_a_key_is_refused_by_the_variable_s_name() -> None:
    assert key_of({"X_API_KEY": " k "}, "X_API_KEY") == "k"
    with pytest.raises(ValueError, match="set X_API_KEY"):
        key_of({"X_API_KEY": " "}, "X_API_KEY")


def test_only_the_vendor_s_own_server_needs_a_key() -> None:
    assert server({"X_API_KEY": "k"}) == ("k", OWN)
    assert server({"X_BASE_URL": "http://127.0.0.1:80"}) == ("", "http://127.0.0.1:80")
    assert server({"X_BASE_URL": "http://127.0.0.1:80", "X_API_KEY": "k"}) == ("k", "http://127.0.0.1:80")


@pytest.mark.parametrize("url", ["", OWN, f"{OWN}/", "https://api.example.com", "https://api.example.com/"])
def test_the_vendor_s_own_server_is_known_in_every_form(url: str) -> None:
    with pytest.raises(ValueError, match="set X_API_KEY, or X_BASE_URL to a server without keys"):
        server({"X_BASE_URL": url})
