"""Child processes that do not outlive their parent, however it ends: a closed terminal must not leave six of them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> Callable[[], None] | None:
    """For `preexec_fn` of a child: the kernel sends it SIGTERM when this process is gone.  None where that is unknown.

    The child is tied to the *thread* that starts it: start it from the main one.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it ended between the fork and here
            os._exit(1)

    return tie
