"""Reads the owners of a call and their times from its event log as the edge's API sends it.  Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field


@dataclass(slots=True)
class Owners:
    """The owners of a call in each pool and at the edges, in order of time."""

    changes: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    ended_because: str = ""

    def at(self, kind: str, at_ms: float) -> str:
        """Return the node that held the call at that time; "" if unknown."""
        return next((node for since_ms, node in reversed(self.changes.get(kind, [])) if since_ms <= at_ms), "")


def read_owners(events: str) -> Owners:
    """Read server-sent events and skip unknown ones."""
    owners = Owners()
    for block in events.split("\n\n"):
        lines = dict(line.partition(": ")[::2] for line in block.splitlines())
        try:
            body = json.loads(lines.get("data", "null"))
        except ValueError:
            continue
        if not isinstance(body, dict):
            continue
        match lines.get("event"):
            case "OwnerChanged":
                owners.changes.setdefault(str(body["pool"]), []).append((float(body["at_ms"]), str(body["owner"])))
            case "CallStarted":
                owners.changes.setdefault("edge", []).append((float(body["at_ms"]), str(body["edge"])))
            case "CallEnded":
                owners.ended_because = owners.ended_because or str(body["reason"])
    return owners


def brief(events: str) -> list[str]:
    """Return one line for each event."""
    lines = []
    for block in events.split("\n\n"):
        found = dict(line.partition(": ")[::2] for line in block.splitlines())
        if "event" in found:
            lines.append(f"{found.get('id', '')} {found['event']} {found.get('data', '')}")
    return lines
