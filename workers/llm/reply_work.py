"""Counts what a reply took of the model and of the voice, as used or as wasted."""

from __future__ import annotations

from common.telemetry import metrics


class ReplyWork:
    """One reply.  It is counted once: when it is no longer generated, and it is known whether it may be heard."""

    def __init__(self, turn: int, preemptive: bool) -> None:
        self.turn = turn
        self.tokens = 0
        """Pieces of text that the model streamed: a vendor bills about a token for each, and a cancelled stream says
        nothing of its use."""
        self.characters = 0
        """Characters of the clauses that the voice was given."""
        self._outcome = "" if preemptive else "used"
        self._over = False

    def settle(self, discarded: bool) -> None:
        """Take note that the reply, which was preemptive, is released or discarded."""
        if not self._outcome:
            self._outcome = "wasted" if discarded else "used"
            self._count()

    def end(self, task: object = None) -> None:
        """Take note that nothing more of the reply is generated: its task is done."""
        if not self._over:
            self._over = True
            self._count()

    def _count(self) -> None:
        if self._outcome and self._over:
            metrics.REPLY_TOKENS.labels(self._outcome).inc(self.tokens)
            metrics.REPLY_CHARACTERS.labels(self._outcome).inc(self.characters)
