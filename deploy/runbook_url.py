"""`python -m deploy.runbook_url`: writes the runbook's address into the alerts.

The person on call follows a link, so it must be a complete URL, and it depends on where you publish docs/runbook.md.
The address stands once, in deploy/prometheus/runbook_url.txt; the alerts, the rules for Kubernetes and the dashboards
are made with it by `make generated`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

FOLDER = Path(__file__).parent / "prometheus"
ADDRESS = FOLDER / "runbook_url.txt"
ALERTS = FOLDER / "voice.alerts.yml"
_LINK = re.compile(r"^( +runbook_url: )\S*(#[\w-]+)$", re.MULTILINE)


def whole(address: str) -> str:
    """Return the address if links can begin with it.  Raises ValueError if it is no complete URL."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.fragment or " " in address:
        raise ValueError(f"{ADDRESS.name}: expected one line such as https://wiki.example.com/runbook, without #")
    return address


def runbook(section: str = "") -> str:
    """Return the URL of the runbook, or of the section with this anchor.  Raises ValueError as `whole` does."""
    address = whole(ADDRESS.read_text("utf-8").strip())
    return f"{address}#{section}" if section else address


def addressed(alerts: str) -> str:
    """Return the text of an alert file with its links changed to the runbook's address; sections stay."""
    return _LINK.sub(lambda found: f"{found[1]}{runbook(found[2][1:])}", alerts)


def main() -> int:
    """Rewrite the alerts and the expected results of their tests."""
    for path in (ALERTS, *sorted((FOLDER / "tests").glob("*.yml"))):
        path.write_text(addressed(path.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
