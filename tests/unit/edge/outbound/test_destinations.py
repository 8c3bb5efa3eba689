"""Where may be dialled: the country of the number that is shown, or what DIAL_PREFIXES names."""

import pytest

from common.settings import BadSettings, Settings
from edge.outbound.destinations import Destinations, NotAllowed

pytestmark = pytest.mark.fast

INDIA = Destinations.of("", "+911234567890")


def plain(number: str) -> str:
    """The number: "_" stands in those of no example series, so that none is taken for somebody's."""
    return number.replace("_", "")


def reason(destinations: Destinations, to: str) -> str:
    to = plain(to)
    try:
        destinations.check(to)
    except NotAllowed as error:
        assert "DIAL_PREFIXES" in str(error)
        assert to.strip("+") not in str(error)
        return error.reason
    return ""


@pytest.mark.parametrize(
    "to", ["+919876543210", "919876543210", "9876543210", "09876543210", "00919876543210", "+91 (0) 98765 43210",
           "+911234567890", "1800 123 4567"]
)  # fmt: skip
def test_the_country_of_the_number_that_is_shown_may_be_dialled(to: str) -> None:
    assert reason(INDIA, to) == ""


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("+882_161234567", "prefix"),
        ("882161234567", "prefix"),
        ("+882_16123456", "prefix"),
        ("+881_612345678", "prefix"),
        ("+870_773111632", "prefix"),
        ("+252_612345678", "prefix"),
        ("00252612345678", "prefix"),
        ("+1 9_00 555 1234", "prefix"),
        ("+979_123456789", "prefix"),
        ("+442_071838750", "prefix"),
        ("+911_860 123 4567", "number type"),
        ("1860 123 4567", "number type"),
        ("sip:alice@example.com", "sip"),
        ("sip:+882161234567@sip.example.com", "sip"),
        ("12", "prefix"),
    ],
)
def test_other_countries_satellites_and_dear_numbers_may_not(to: str, why: str) -> None:
    assert reason(INDIA, to) == why


@pytest.mark.parametrize(
    ("prefixes", "to", "why"),
    [
        ("+91,+1", "+121_25551234", ""),
        ("+91, +1", "+919876543210", ""),
        ("+1", "+190_05551234", "number type"),
        ("+1", "+190_01234567", "number type"),
        ("+1900", "+190_05551234", ""),
        ("+1212", "+131_05551234", "prefix"),
        ("+44", "+447_009123456", "number type"),
        ("+447", "+447_009123456", "number type"),
        ("+44", "+449_098790000", "number type"),
        ("+4470", "+447_009123456", ""),
        ("+447", "+447_400123456", ""),
        ("+8", "+881_612345678", "number type"),
        ("+881", "+881_612345678", ""),
        ("+911860", "+911_8601234567", ""),
        ("sip:", "sip:alice@example.com", ""),
        ("sip:,+91", "sip:+882161234567@sip.example.com", "prefix"),
        ("sip:,+91", "sips:+919876543210@sip.example.com", ""),
        ("sip:,+91", "sip:%2B882161234567@sip.example.com", "prefix"),
        ("sip:,+91", "sip:%20+88(2)16-123.4567@sip.example.com", "prefix"),
        ("sip:,+91", "sip:+882161234567:secret@sip.example.com", "prefix"),
        ("sip:,+91", "sip:882161234567%3Buser=phone@sip.example.com", "prefix"),
        ("sip:,+91", "sip:+882161234567", "prefix"),
        ("sip:,+91", "sip:@882161234567:5060", "prefix"),
        ("sip:,+91", "sip:alice@882161234567", "prefix"),
        ("sip:,+91", "sip:+911234567890@882161234567", "prefix"),
        ("sip:,+91", "sip:%2B919876543210@sip.example.com", ""),
        ("sip:,+91", "sip:example.com:5060", ""),
        ("sip:,+91", "sip:192.0.2.10", ""),
        ("sip:alice@example.com", "sip:alice@EXAMPLE.com", ""),
        ("sip:alice@example.com", "sip:bob@example.com", "sip"),
    ],
)
def test_prefixes_open_what_they_name(prefixes: str, to: str, why: str) -> None:
    assert reason(Destinations.of(prefixes, "+911234567890"), to) == why


@pytest.mark.parametrize(
    ("shown", "to", "allowed"),
    [
        ("+121_25551234", "+131_05551234", True),
        ("+121_25551234", "+187_65551234", False),  # Jamaica has +1, too
        ("+121_25551234", "+141_65551234", False),
        ("+442_071838750", "+441_481960194", False),  # Guernsey has +44, too
        ("", "+919876543210", True),
    ],
)
def test_a_country_is_not_all_that_share_its_code(shown: str, to: str, allowed: bool) -> None:
    assert Destinations.of("", plain(shown)).allows(plain(to)) is allowed


@pytest.mark.parametrize("value", ["91", "+", "IN", "+91;+1", "+0", "*", "+91,,x"])
def test_what_is_no_prefix_stops_the_process(value: str) -> None:
    with pytest.raises(BadSettings, match="DIAL_PREFIXES: expected prefixes such as"):
        Settings.from_env({"DIAL_PREFIXES": value})


@pytest.mark.parametrize("token", ["x", "short", "a" * 23])
def test_a_short_api_token_stops_the_process_and_is_told_what_to_write(token: str) -> None:
    with pytest.raises(BadSettings, match="API_TOKEN: expected at least 24 characters, such as `openssl") as raised:
        Settings.from_env({"API_TOKEN": token})
    assert f"got {token}" not in str(raised.value)
    assert Settings.from_env({"API_TOKEN": "a" * 24}).api_token == "a" * 24
