"""The lanes of the test suite: each test module names exactly one, and says if it takes long.

    pytestmark = pytest.mark.fast                             a lane alone
    pytestmark = [pytest.mark.servers, pytest.mark.anyio]     or first in the list
    pytestmark = [pytest.mark.fast, pytest.mark.exhaustive]   left out of `make check`; so may be single tests
    pytestmark = [pytest.mark.engines, pytest.mark.slow]      left out of `make test`, too; so may be single tests

tests/conftest.py refuses to collect a module without its lane.  docs/testing.md says what runs which.
"""

from __future__ import annotations

import re
from typing import Final

LANES: Final = {
    "fast": "no server, no speech model, no process, no socket, no wait on the real clock",
    "servers": "needs a Redis, a Valkey or another server of its own",
    "processes": "starts processes or opens sockets, and waits in real time",
    "engines": "loads the local speech models",
}
"""From light to heavy: a module to which several apply is in the last of them."""
LONG: Final = {
    "exhaustive": "tries so many combinations that they take seconds: left out of `make check`",
    "slow": "takes so long that only `make test-all` runs it",
}

_MODULE = re.compile(r"^pytestmark = (\[[^\]]*|.*)", re.MULTILINE)
_SINGLE = re.compile(rf"^\s*@pytest\.mark\.({'|'.join(LANES)})\b", re.MULTILINE)
_MARK = re.compile(r"pytest\.mark\.(\w+)")
_ONE_LANE = re.compile(rf"({'|'.join(LANES)})((?: and not (?:{'|'.join(LONG)}))*)")


class WrongLane(ValueError):
    """A module that names no lane, or more than one."""


def marks(source: str) -> list[str]:
    """The names of the marks in a module's `pytestmark`, in order."""
    found = _MODULE.search(source)
    return _MARK.findall(found[1]) if found else []


def lane(source: str) -> str:
    """The lane of a test module with this source.  Raises WrongLane, whose message says what to write."""
    named = [name for name in marks(source) if name in LANES]
    if len(named) != 1:
        meanings = "\n".join(f"    pytestmark = pytest.mark.{name:10} # {meaning}" for name, meaning in LANES.items())
        problem = f"names {len(named)} lanes ({', '.join(named)})" if named else "names no lane"
        raise WrongLane(
            f"The module {problem}. Write the last of these that applies, once, below its imports:\n{meanings}"
        )
    if single := _SINGLE.search(source):
        raise WrongLane(f"A lane is a module's: move what is marked {single[1]!r} to a module of that lane.")
    return named[0]


def left_out(source: str, expression: str) -> bool:
    """Does `-m expression` name one lane, and leave out this whole module?  Such a module need not be imported."""
    wanted = _ONE_LANE.fullmatch(expression)
    if not wanted:
        return False
    unwanted = set(wanted[2].split()) & set(LONG)
    return lane(source) != wanted[1] or not unwanted.isdisjoint(marks(source))
