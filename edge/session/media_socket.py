"""The interface of the socket that leads to a call's caller."""

from __future__ import annotations

from typing import Protocol


class MediaSocket(Protocol):
    """The socket as `Call` uses it; edge/media/websocket.py implements it."""

    def send_texts(self, messages: list[bytes]) -> None:
        """Send text messages at once, in one write; does nothing on a closing socket."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes that were written and that the peer has not taken yet."""
