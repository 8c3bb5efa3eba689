"""Fences the workers of a call: messages of a worker that was replaced are ignored.

A worker that froze and was replaced may resume with messages that were valid before.  Each message carries the fencing
token of its owner's claim.  The edge learns of newer tokens from the messages themselves, from the event log
(`OwnerChanged`), and once a second from the store, which is authoritative: after a failover a token may be reissued.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from common.protocol.acts import KeepKeysSecret, SendKeys, TransferCall
from common.protocol.messages import HangUp, Message, ReplyReleased, SpeechEnded, SpeechStarted, WordsDetected
from common.protocol.redis_keys import ALL_POOLS

ORDERS: dict[type[Message], str] = {
    HangUp: "hang up",
    SpeechStarted: "speech started",
    SpeechEnded: "speech ended",
    WordsDetected: "words detected",
    ReplyReleased: "reply released",
    KeepKeysSecret: "keep keys secret",
    TransferCall: "transfer call",
    SendKeys: "send keys",
}
"""Messages that stop, hold, play or end something at an edge -> their label in `voice_stale_orders_total`."""


class Fences:
    """The newest token of each pool for one call."""

    def __init__(self, fell_back: Callable[[], None] = lambda: None) -> None:
        """`fell_back()` is called when the store has lost the newest claim of the STT pool: its tokens start again."""
        self._newest: dict[str, int] = {}
        self._fell_back = fell_back

    def admits(self, pool: str, token: int) -> bool:
        """Whether `token` is of the newest known owner of the pool; a newer token becomes the newest."""
        if token < self._newest.get(pool, 0):
            return False
        self._newest[pool] = token
        return True

    def settle(self, notes: Mapping[str, str]) -> None:
        """Take the tokens from the store's state fields (`CallStore.state_fields`), lower ones as well."""
        for pool in ALL_POOLS:
            token = notes.get(f"token:{pool}", "")
            if not token.isdecimal():
                continue
            if pool == "stt" and int(token) < self._newest.get(pool, 0):
                self._fell_back()
            self._newest[pool] = int(token)

    def forget(self) -> None:
        """Redis had lost the call: tokens start again."""
        self._newest.clear()

    def obeys(self, message: Message, epoch: int) -> bool:
        """Whether the sender of the message may still give this order to connection `epoch` of the call."""
        match message:
            case SpeechStarted() | SpeechEnded() | WordsDetected():
                return self.admits("stt", message.token)
            case ReplyReleased():
                return self.admits("llm", message.token)
            case KeepKeysSecret():
                return message.epoch == epoch and self.admits("llm", message.token)
            case TransferCall() | SendKeys():
                return message.epoch in (0, epoch) and self.admits("llm", message.token)
            case HangUp():
                ours = message.epoch in (0, epoch)  # 0: sent by a release that does not state the epoch
                return ours and not 0 < message.token < self._newest.get(message.pool, 0)
        return True
