"""`make audit`, or `python -m deploy.audit [LOCK …]`: lists known vulnerabilities of the pinned packages.

pip-audit asks a vulnerability service about each pinned package.  Exit code 1 if one is known to be vulnerable, 0 if
none is, and 0 with "could not be checked" if the service cannot be reached: without network there is no finding and no
all-clear.  Not part of `make test`, whose outcome must not change overnight.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

LOCKS = ("requirements.lock",)
SECONDS = 300
"""Deadline for one lock file."""
SOCKET_SECONDS = "15"
COMMAND = (
    *(sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--format", "json"),
    *("--progress-spinner", "off", "--timeout", SOCKET_SECONDS, "--requirement"),
)


@dataclass(frozen=True, slots=True)
class Audit:
    """The result for one lock file; `why` is the reason if it could not be checked."""

    vulnerable: tuple[str, ...] = ()
    """`name version: id, fixed in …`"""
    checked: int = 0
    unchecked: tuple[str, ...] = ()
    why: str = ""

    def summary(self, lock: str) -> str:
        """Return the result as text for a terminal or a CI log."""
        if self.why:
            return f"{lock}: could not be checked: {self.why}"
        lines = [f"{lock}: {len(self.vulnerable)} known vulnerabilities in {self.checked} packages"]
        lines += [f"  {finding}" for finding in self.vulnerable]
        if self.unchecked:
            lines.append(f"  could not be checked: {', '.join(self.unchecked)}")
        return "\n".join(lines)


def read_report(report: str, complaint: str) -> Audit:
    """Read pip-audit's JSON, or the error that it printed instead."""
    try:
        found = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        lines = complaint.strip().splitlines()
        return Audit(why=lines[-1][:200] if lines else "pip-audit printed nothing")
    unchecked = tuple(sorted(package["name"] for package in found if "skip_reason" in package))
    if len(unchecked) == len(found):
        return Audit(why="the vulnerability service knows none of the packages, or cannot be asked")
    vulnerable = [
        f"{package['name']} {package['version']}: {known['id']}, fixed in {_versions(known)}"
        for package in found
        for known in package.get("vulns", ())
    ]
    return Audit(tuple(sorted(vulnerable)), len(found) - len(unchecked), unchecked)


def _versions(known: dict[str, list[str]]) -> str:
    return " or ".join(known["fix_versions"]) or "no version"


def audit(lock: str, command: Sequence[str] = COMMAND) -> Audit:
    """Run pip-audit on one lock file."""
    try:
        ran = subprocess.run(  # noqa: S603 - our own command
            [*command, lock], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Audit(why=f"no answer within {SECONDS} s")
    except OSError as error:
        return Audit(why=f"pip-audit cannot be started ({type(error).__name__})")
    return read_report(ran.stdout, ran.stderr)


def main(locks: Sequence[str]) -> int:
    """Print the result for each lock file; return 1 if any package is vulnerable."""
    audits = [(lock, audit(lock)) for lock in locks or LOCKS]
    for lock, outcome in audits:
        print(outcome.summary(lock))  # noqa: T201
    return int(any(outcome.vulnerable for _, outcome in audits))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
