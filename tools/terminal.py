"""Prints to the terminal, in colour if standard output is a terminal."""

import contextlib
import os
import sys

_CODES = {"dim": "2", "bold": "1", "caller": "36", "agent": "32", "good": "32", "bad": "31", "warn": "33"}


def paint(style: str, text: str) -> str:
    """Return the text in a style, or unchanged if standard output is no terminal or NO_COLOR is set."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{_CODES[style]}m{text}\033[0m"


def say(text: str = "") -> None:
    """Print one line; a terminal that was closed meanwhile is no error."""
    with contextlib.suppress(OSError):
        print(text, flush=True)
