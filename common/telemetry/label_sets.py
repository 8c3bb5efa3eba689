"""Defines metrics whose labels have closed sets of values: any other value is counted as "other".

A label's value may come from far: a reason from another release over the bus, a direction out of a record.  Each new
value would be a series of its own, and a phone number among them would appear on a dashboard.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import prometheus_client

OTHER = "other"


class _Closed:
    """The values that the labels of a family may have, label by label; None: any."""

    known: tuple[Container[str] | None, ...] = ()

    def close(self, *known: Container[str] | None) -> None:
        """Restrict each label to the values of its set; any other becomes `OTHER`."""
        self.known = known

    def _among_known(self, values: tuple[Any, ...]) -> list[str]:
        if not self.known:
            return [str(value) for value in values]
        pairs = zip(values, self.known, strict=True)
        return [str(value) if known is None or str(value) in known else OTHER for value, known in pairs]


class Counter(_Closed, prometheus_client.Counter):
    """A counter whose `labels` restricts values to closed sets."""

    def labels(self, *values: Any) -> Counter:  # type: ignore[override]
        return super().labels(*self._among_known(values))


class Gauge(_Closed, prometheus_client.Gauge):
    """A gauge whose `labels` restricts values to closed sets."""

    def labels(self, *values: Any) -> Gauge:  # type: ignore[override]
        return super().labels(*self._among_known(values))


class Histogram(_Closed, prometheus_client.Histogram):
    """A histogram whose `labels` restricts values to closed sets."""

    def labels(self, *values: Any) -> Histogram:  # type: ignore[override]
        return super().labels(*self._among_known(values))
