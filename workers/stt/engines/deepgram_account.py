"""The Deepgram account: the key, the server, and the addresses of its sockets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from common.process.addresses import socket_url
from workers.stt.stream.socket_stream import SocketAddress

DEEPGRAM_URL = "wss://api.deepgram.com"
KEY_VARIABLE = "DEEPGRAM_API_KEY"
KEYTERM_CHARS_MAX = 1_000
"""The vendor takes 500 tokens of them, and closes the socket if there are more; a token is two letters or more."""


@dataclass(frozen=True, slots=True)
class DeepgramAccount:
    """A key, and the server it is for (`ws`, `wss`, `http` or `https`)."""

    key: str = field(repr=False)
    url: str = DEEPGRAM_URL

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Token {self.key}"} if self.key else {}

    def address(self, name: str, path: str, query: Iterable[tuple[str, str]]) -> SocketAddress:
        """The address of a stream; `name` ("deepgram/nova-3") is for errors."""
        url = f"{socket_url(self.url)}{path}?{urlencode(list(query))}"
        return SocketAddress(name, url, self.headers, KEY_VARIABLE)


def keyterms_within(keyterms: Iterable[str]) -> list[str]:
    """The first of the terms, as many as the vendor takes."""
    taken: list[str] = []
    chars = 0
    for term in keyterms:
        chars += len(term)
        if chars > KEYTERM_CHARS_MAX:
            break
        taken.append(term)
    return taken
