"""What language models write, as a voice should say it: `normalised` and, with the way back, `with_sources`.

docs/speech.md shows what it does.  Pure: no clock, no I/O, no state between clauses.
"""

from workers.tts.normalise.pipeline import normalised, with_sources
from workers.tts.normalise.spans import Normalised

__all__ = ["Normalised", "normalised", "with_sources"]
