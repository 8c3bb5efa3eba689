"""Selects the environment of a child process: what it needs to run, and no key, token or address."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Mapping

NEEDED = frozenset(
    {
        "PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH",
        "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "ESPEAK_DATA_PATH",
    }
)  # fmt: skip
DOWNLOADS = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"}
)
"""Variables of the network, for a child that downloads.  A proxy's address may have a password."""


_PR_SET_DUMPABLE = 4


def shut_own_environment() -> None:
    """Keep processes of the same user from reading our environment in /proc and from attaching (Linux, prctl(2)).

    Otherwise a child would find in /proc/<parent>/environ what it was not given.  It costs core dumps of this process.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def child_environment(downloads: bool = False, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of a child, with `downloads` also those of the network.  Closes our own environment to it."""
    shut_own_environment()
    wanted = NEEDED | DOWNLOADS if downloads else NEEDED
    return {name: value for name, value in environ.items() if name in wanted}
