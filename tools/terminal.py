"""Colour where a person looks, plain text where a file does."""

import contextlib
import os
import sys

_CODES = {"dim": "2", "bold": "1", "caller": "36", "agent": "32", "good": "32", "bad": "31", "warn": "33"}


def paint(style: str, text: str) -> str:
    """The text in a style, if standard output is a terminal and NO_COLOR is not set."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{_CODES[style]}m{text}\033[0m"


def say(text: str = "") -> None:
    """One line to the person; a terminal that was closed meanwhile is no error."""
    with contextlib.suppress(OSError):
        print(text, flush=True)
