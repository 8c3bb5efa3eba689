"""Handles the command line of programs without arguments: `--help` describes them, anything else is refused."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

SETTINGS = "It takes no arguments. Settings come from the environment: docs/settings.md."


def no_arguments(prog: str, description: str, argv: Sequence[str], epilog: str = SETTINGS) -> None:
    """End the process, as `argparse` does, after `--help` (status 0) and after any argument (status 2)."""
    argparse.ArgumentParser(prog=prog, description=description, epilog=epilog).parse_args(argv)
