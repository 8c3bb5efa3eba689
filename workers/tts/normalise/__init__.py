"""Rewrites what language models write as a voice is to say it: `normalised`, and `with_sources` with the way back.

docs/speech.md lists the rewritings.  Pure: no clock, no I/O, no state between clauses.
"""

from workers.tts.normalise.pipeline import normalised, with_sources
from workers.tts.normalise.spans import Normalised

__all__ = ["Normalised", "normalised", "with_sources"]
