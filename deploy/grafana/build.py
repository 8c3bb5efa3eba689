"""`python -m deploy.grafana.build`: writes each dashboard to a JSON file beside this one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from deploy.grafana.calls import CALLS
from deploy.grafana.cost import COST
from deploy.grafana.latency import LATENCY
from deploy.grafana.panels import Dashboard, document
from deploy.grafana.pools import POOLS
from deploy.grafana.redis_and_edge import REDIS_AND_EDGE

FOLDER = Path(__file__).parent
DASHBOARDS = (CALLS, LATENCY, POOLS, REDIS_AND_EDGE, COST)


def text(dashboard: Dashboard) -> str:
    """Return the content of a dashboard's file."""
    return json.dumps(document(dashboard), indent=2, ensure_ascii=False) + "\n"


def file(dashboard: Dashboard) -> Path:
    """Return the path of a dashboard's file."""
    return FOLDER / f"{dashboard.name}.json"


def main() -> int:
    """Write all dashboards."""
    for dashboard in DASHBOARDS:
        file(dashboard).write_text(text(dashboard), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
