"""Known vulnerabilities of what the lock files pin: `make audit`, or `python -m deploy.audit [LOCK …]`.

pip-audit asks a vulnerability service about each pinned package.  Exit code 1 if one is known to be vulnerable, 0 if
none is, and 0 with "could not be checked" if the service cannot be asked: no network is no finding, and no all-clear
either, so it says so.  Not part of `make test`, whose outcome must not change over night.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

LOCKS = ("requirements.lock",)
SECONDS = 300
"""For one lock file."""
SOCKET_SECONDS = "15"
COMMAND = (
    *(sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--format", "json"),
    *("--progress-spinner", "off", "--timeout", SOCKET_SECONDS, "--requirement"),
)


@dataclass(frozen=True, slots=True)
class Audit:
    """What is known of one lock file; `why` says why nothing is, if nothing is."""

    vulnerable: tuple[str, ...] = ()
    """`name version: id, fixed in …`"""
    checked: int = 0
    unchecked: tuple[str, ...] = ()
    why: str = ""

    def summary(self, lock: str) -> str:
        """For people, and for CI's log."""
        if self.why:
            return f"{lock}: could not be checked: {self.why}"
        lines = [f"{lock}: {len(self.vulnerable)} known vulnerabilities in {self.checked} packages"]
        lines += [f"  {finding}" for finding in self.vulnerable]
        if self.unchecked:
            lines.append(f"  could not be checked: {', '.join(self.unchecked)}")
        return "\n".join(lines)


def read_report(report: str, complaint: str) -> Audit:
    """From pip-audit's JSON, or from what it said in place of it."""
    try:
        found = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        lines = complaint.strip().splitlines()
        return Audit(why=lines[-1][:200] if lines else "pip-audit said nothing")
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
    """Ask about one lock file."""
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
    """Print what is known of each; 1 if anything is vulnerable."""
    audits = [(lock, audit(lock)) for lock in locks or LOCKS]
    for lock, outcome in audits:
        print(outcome.summary(lock))  # noqa: T201
    return int(any(outcome.vulnerable for _, outcome in audits))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
