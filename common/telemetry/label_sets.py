"""Metrics whose labels are closed sets: a value that is not in its set is counted as "other".

What stands in a label may have come a long way: a reason over the bus from another release, a direction out of a
record.  Each new value would be a series of its own, and a phone number among them would be on a dashboard.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import prometheus_client

OTHER = "other"


class _Closed:
    """The values that a family's labels may have, label by label; None: any."""

    known: tuple[Container[str] | None, ...] = ()

    def close(self, *known: Container[str] | None) -> None:
        """From now on each label has a value of its set, or is `OTHER`."""
        self.known = known

    def _among_known(self, values: tuple[Any, ...]) -> list[str]:
        if not self.known:
            return [str(value) for value in values]
        pairs = zip(values, self.known, strict=True)
        return [str(value) if known is None or str(value) in known else OTHER for value, known in pairs]


class Counter(_Closed, prometheus_client.Counter):
    """A counter whose `labels` never makes a series that nobody expects."""

    def labels(self, *values: Any) -> Counter:  # type: ignore[override]
        return super().labels(*self._among_known(values))


class Gauge(_Closed, prometheus_client.Gauge):
    """A gauge, likewise."""

    def labels(self, *values: Any) -> Gauge:  # type: ignore[override]
        return super().labels(*self._among_known(values))


class Histogram(_Closed, prometheus_client.Histogram):
    """A histogram, likewise."""

    def labels(self, *values: Any) -> Histogram:  # type: ignore[override]
        return super().labels(*self._among_known(values))
