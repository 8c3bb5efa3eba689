"""What a call needs of the socket that leads to its caller."""

from __future__ import annotations

from typing import Protocol


class MediaSocket(Protocol):
    """The caller's end: a WebSocket."""

    def send_texts(self, messages: list[bytes]) -> None:
        """Write text messages at once, in one write."""

    @property
    def unsent_bytes(self) -> int: ...
