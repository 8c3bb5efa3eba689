"""How long tests wait, in seconds.  A busy machine reaches none of it; only a fault does."""

from __future__ import annotations

from typing import Final

WAIT_S: Final = 30.0
"""The bound of a wait for what happens in milliseconds on a quiet machine."""
SOON_S: Final = 10.0
"""The bound of what must not take long: below `WAIT_S` and the `PATIENT` deadlines of tests/contract/deadlines.py."""
