"""How many examples a property test tries: fewer with `--hypothesis-profile=brief`, as in `make check`."""

from __future__ import annotations

from hypothesis import settings

EXAMPLES = 100
"""Of a test that does not say how many: Hypothesis' own number."""
BRIEF_EXAMPLES = 10
settings.register_profile("whole", deadline=None)  # a busy machine is no fault of the code
settings.register_profile("brief", max_examples=BRIEF_EXAMPLES, deadline=None)
settings.load_profile("whole")


def examples(count: int) -> int:
    """`count`, or its share under a profile with fewer examples.  For `@settings(max_examples=…)`."""
    return max(1, count * min(settings.default.max_examples, EXAMPLES) // EXAMPLES)
