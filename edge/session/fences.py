"""Which owner of each pool has the call, as far as its edge knows: what an older one still sends is not obeyed.

A worker that froze, and was replaced, wakes up with messages that were right before.  Each bears the fencing token of
its claim.  The edge learns of newer ones from the messages themselves, from the call's events (`OwnerChanged`), and
once a second from the ledger, whose word is final: after a failover a token may be given out again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from common.protocol.messages import HangUp, Message, ReplyReleased, SpeechEnded, SpeechStarted, WordsDetected
from common.protocol.redis_keys import POOLS

ORDERS: dict[type[Message], str] = {
    HangUp: "hang up",
    SpeechStarted: "speech started",
    SpeechEnded: "speech ended",
    WordsDetected: "understood",
    ReplyReleased: "release",
}
"""What stops, holds, plays or ends something at an edge, by its name in `voice_stale_orders_total`."""


class Fences:
    """The newest token of each pool, of one call."""

    def __init__(self, fell_back: Callable[[], None] = lambda: None) -> None:
        """`fell_back` is called when the ledger has lost the newest claim of the ears: theirs begin anew."""
        self._newest: dict[str, int] = {}
        self._fell_back = fell_back

    def admits(self, pool: str, token: int) -> bool:
        """Is this the newest owner that is known?  A newer one is known from now on."""
        if token < self._newest.get(pool, 0):
            return False
        self._newest[pool] = token
        return True

    def settle(self, notes: Mapping[str, str]) -> None:
        """What the ledger says (`CallStore.notes`): neither older tokens nor ones that it has lost."""
        for pool in POOLS:
            token = notes.get(f"token:{pool}", "")
            if not token.isdecimal():
                continue
            if pool == "stt" and int(token) < self._newest.get(pool, 0):
                self._fell_back()
            self._newest[pool] = int(token)

    def forget(self) -> None:
        """Redis had lost the call: its tokens begin anew."""
        self._newest.clear()

    def obeys(self, message: Message, epoch: int) -> bool:
        """Is the message from whoever may give this order to the call's connection `epoch`?"""
        match message:
            case SpeechStarted() | SpeechEnded() | WordsDetected():
                return self.admits("stt", message.token)
            case ReplyReleased():
                return self.admits("llm", message.token)
            case HangUp():
                ours = message.epoch in (0, epoch)  # 0: of a release that does not say
                return ours and not 0 < message.token < self._newest.get(message.pool, 0)
        return True
