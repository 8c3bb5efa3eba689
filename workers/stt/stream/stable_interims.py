"""Finds a likely end of turn in interim results, before the vendor reports a silence.  Pure; for vendors with interims.

    the words stood unchanged for `wait_ms`, and the caller's audio was quiet for as long -> a reply may be begun

The words may still change, and the caller may go on: then the reply was begun in vain.  So a turn has at most
`PER_TURN_MAX` of these, and after `MISSES_MAX` in a row that were in vain a turn is left to the vendor's own signal.
"""

from __future__ import annotations

from common.call.same_words import same_words

PER_TURN_MAX = 2
"""Replies begun on interim words in one turn."""
MISSES_MAX = 3
"""After this many in vain in a row the next turn waits for the vendor; then one is tried again."""


class StableInterims:
    """The words of one call, turn by turn.

    Time is the position in the call's audio, in ms: while no audio comes, neither words nor silence stand.
    """

    def __init__(self, wait_ms: int) -> None:
        """`wait_ms` 0: nothing is ever due."""
        self._wait_ms = wait_ms
        self._text = ""
        self._stands_since_ms = 0
        self._begun: list[str] = []  # the words of each reply that was begun in this turn
        self._misses = 0

    def words(self, text: str, fed_ms: int) -> None:
        """Take all words of the open turn, as they are known when the audio up to `fed_ms` was fed."""
        if not same_words(text, self._text):
            self._stands_since_ms = fed_ms
        self._text = text

    def due(self, quiet_ms: int, fed_ms: int) -> bool:
        """Whether a reply may be begun; `quiet_ms` is how long the audio has been quiet.  Then call `begin`."""
        if not self._wait_ms or not self._text or self._misses >= MISSES_MAX or len(self._begun) >= PER_TURN_MAX:
            return False
        if quiet_ms < self._wait_ms or fed_ms - self._stands_since_ms < self._wait_ms:
            return False
        return not self.begun(self._text)

    def begin(self) -> None:
        """Take note that a reply to the words was begun."""
        self._begun.append(self._text)

    def begun(self, text: str) -> bool:
        """Whether the newest reply that was begun in this turn is to these words."""
        return bool(self._begun) and same_words(text, self._begun[-1])

    def end_turn(self, text: str) -> None:
        """Take note that the turn ended with these words; none: it was a noise."""
        if self._begun:
            self._misses = 0 if self.begun(text) else self._misses + len(self._begun)
        elif self._misses >= MISSES_MAX:
            self._misses = MISSES_MAX - 1
        self._text, self._begun = "", []
