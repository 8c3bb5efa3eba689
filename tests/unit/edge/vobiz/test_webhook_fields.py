"""Times in webhooks, made comparable: the value's own zone holds, and only where it has none do we know better."""

from __future__ import annotations

import pytest

from edge.vobiz.webhook_fields import webhook_fields

pytestmark = pytest.mark.fast

TIMES = [
    ("StartTime", "2026-07-21 13:38:38", "2026-07-21T13:38:38+05:30"),
    ("AnswerTime", "2026-07-21T13:38:38", "2026-07-21T13:38:38+05:30"),
    ("EndTime", "2026-07-21T08:08:38Z", "2026-07-21T08:08:38+00:00"),
    ("EndTime", "2026-07-21T08:08:38.662991Z", "2026-07-21T08:08:38.662991+00:00"),
    ("StartTime", "2026-07-21 08:08:38 UTC", "2026-07-21T08:08:38+00:00"),
    ("StartTime", "2026-07-21 08:08:38z", "2026-07-21T08:08:38+00:00"),
    ("StartTime", "2026-07-21T13:38:38+05:30", "2026-07-21T13:38:38+05:30"),
    ("StartTime", "2026-07-21T13:38:38+0530", "2026-07-21T13:38:38+05:30"),
    ("StartTime", "2026-07-21T04:08:38-04:00", "2026-07-21T04:08:38-04:00"),
    ("SessionStart", "2026-07-21 08:08:38.662991", "2026-07-21T08:08:38.662991+00:00"),
    ("SessionStart", "2026-07-21T13:38:38+05:30", "2026-07-21T13:38:38+05:30"),
    ("Timestamp", "2025-11-06 09:58:40", "2025-11-06T09:58:40+00:00"),
    ("Timestamp", " 2025-11-06 09:58:40 ", "2025-11-06T09:58:40+00:00"),
    ("Timestamp", "1762423120", "2025-11-06T09:58:40+00:00"),
    ("Timestamp", "1762423120000", "2025-11-06T09:58:40+00:00"),
    ("StartTime", "1762423120.5", "2025-11-06T09:58:40.500000+00:00"),
    ("StartTime", "yesterday", "yesterday"),
    ("StartTime", "2026-02-30 10:00:00", "2026-02-30 10:00:00"),
    ("StartTime", "20260721", "20260721"),
    ("StartTime", "1999999999", "2033-05-18T03:33:19+00:00"),
    ("StartTime", "0001-01-01 00:00:00", "0001-01-01T00:00:00+05:30"),
    ("From", "2026-07-21 13:38:38", "2026-07-21 13:38:38"),
]


@pytest.mark.parametrize(("name", "value", "kept"), TIMES)
def test_a_time_is_kept_with_its_zone(name: str, value: str, kept: str) -> None:
    assert webhook_fields("Hangup", {name: value}) == {f"Hangup.{name}": kept}


@pytest.mark.parametrize("name", ["auth_id", "Auth_ID", "auth-token", "AUTH_TOKEN", "Parent-Auth-Token", "ServiceUrl"])
def test_credentials_are_not_kept_however_they_are_spelt(name: str) -> None:
    assert webhook_fields("StartApp", {name: "secret", "From": ""}) == {}
