"""Sets up logs: one JSON object per line on standard error, or short lines on a terminal.

Logged: call answered, call ended with reason and totals, takeover, provider errors, process start and end.  Never
logged: frames, transcripts, phone numbers, keys.  `extra={"call_id": ...}` names the call.
"""

import json
import logging
import sys
from datetime import UTC, datetime

_OURS = ("common", "edge", "workers", "__main__")
"""Packages whose lines are logged from `level` on.  Libraries log warnings only: their lines for each request have
URLs, and URLs may have tokens."""
_FIELDS = ("call_id", "pool", "reason", "seconds", "provider", "turns")

REPEAT_SECONDS = 10.0
REPEATS_MAX = 256
"""Most different warnings that are remembered to suppress repeats."""


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _rfc3339(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name in _FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class _Terminal(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        extras = " ".join(f"{name}={value}" for name in _FIELDS if (value := getattr(record, name, None)) is not None)
        at = f"{self.formatTime(record, '%H:%M:%S')}.{int(record.msecs):03d}"
        line = f"{at} {record.levelname:<7} {record.getMessage()} {extras}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Repeats(logging.Filter):
    """Writes a warning about no particular call once in `REPEAT_SECONDS`: four connections lose one Redis."""

    def __init__(self) -> None:
        super().__init__()
        self._logged_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING or hasattr(record, "call_id"):
            return True
        text = record.getMessage()
        last = self._logged_at.get(text, -REPEAT_SECONDS)
        if record.created - last < REPEAT_SECONDS:
            return False
        if len(self._logged_at) >= REPEATS_MAX:
            self._logged_at.clear()
        self._logged_at[text] = record.created
        return True


def _rfc3339(seconds: float) -> str:
    """Unix time as "2026-01-31T09:00:00.123Z", whatever the machine's time zone."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def start_logging(level: str) -> None:
    """Set up the logs of the process; call it once, first in `__main__`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Repeats())
    handler.setFormatter(_Terminal() if sys.stderr.isatty() else _Json())
    logging.basicConfig(level=max(logging.WARNING, getattr(logging, level)), handlers=[handler], force=True)
    for ours in _OURS:
        logging.getLogger(ours).setLevel(level)
