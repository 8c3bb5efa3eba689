"""Reads the wall clock, for times that cross processes.  Within a process only the event loop's time is used."""

import time


def wall_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
