"""Logs: one JSON object a line on standard error, or short lines on a terminal.

What is logged: call answered, call ended with reason and totals, takeover, provider trouble, process start and end.
Never: frames, transcripts, phone numbers, keys.  `extra={"call_id": ...}` names the call.
"""

import json
import logging
import sys

_NOISY = ("uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "httpcore", "openai", "websockets", "faster_whisper")
"""Libraries whose lines we do not want: one a frame, or with URLs, and ours hold tokens."""
_FIELDS = ("call_id", "pool", "reason", "seconds", "provider", "turns")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname,
            "from": record.name,
            "says": record.getMessage(),
        }
        line |= {name: value for name in _FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class _Terminal(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        extras = " ".join(f"{name}={value}" for name in _FIELDS if (value := getattr(record, name, None)) is not None)
        line = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname:<7} {record.getMessage()} {extras}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def start_logging(level: str) -> None:
    """Set up the process's logs; call once, first thing in `__main__`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Terminal() if sys.stderr.isatty() else _Json())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
