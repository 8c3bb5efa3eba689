"""Reads a vendor's key and address from the variables of the environment.  Pure."""

from __future__ import annotations

from collections.abc import Mapping

from common.process.addresses import http_url

OPENAI_URL = "https://api.openai.com/v1"


def value_of(environ: Mapping[str, str], variable: str, default: str = "") -> str:
    """The variable's value, or the default if it is unset or blank."""
    return environ.get(variable, "").strip() or default


def key_of(environ: Mapping[str, str], variable: str) -> str:
    """The key of a vendor.  Raises ValueError without one."""
    if key := value_of(environ, variable):
        return key
    raise ValueError(f"a key is needed: set {variable}")


def server_of(environ: Mapping[str, str], key_variable: str, url_variable: str, own_url: str) -> tuple[str, str]:
    """(key, URL) of a vendor's own server, or of another one that may need no key.

    Raises ValueError without a key for the vendor's own.
    """
    key, url = value_of(environ, key_variable), value_of(environ, url_variable, own_url)
    if not key and http_url(url) == http_url(own_url):
        raise ValueError(f"a key is needed: set {key_variable}, or {url_variable} to a server without keys")
    return key, url
