"""The command line of programs that take no arguments: `--help` tells what they are, anything else is refused."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

SETTINGS = "It takes no arguments. Settings come from the environment: docs/settings.md."


def no_arguments(prog: str, description: str, argv: Sequence[str], epilog: str = SETTINGS) -> None:
    """Ends the process, as `argparse` does, after `--help` (0) and after an argument that means nothing (2)."""
    argparse.ArgumentParser(prog=prog, description=description, epilog=epilog).parse_args(argv)
