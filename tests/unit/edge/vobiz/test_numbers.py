"""Phone numbers in all their spellings, and what libphonenumber gets wrong for a carrier in India."""

from pathlib import Path

import phonenumbers
import pytest

from common.agents.model import ANY_NUMBER, Agent, Agents, BadAgents
from common.agents.reading import load_agents
from common.numbers import international, is_possible, number_key, same_party
from edge.vobiz.numbers import dialled, e164
from edge.vobiz.xml import Dial, Number, render

pytestmark = pytest.mark.fast

P = "+"
"""Apart from the digits: what stands in the table is no number of anybody's, and is not to look like one."""

# One party per row, in every spelling that a carrier or a person uses.
SAME = (
    ("+911234567890", "911234567890", "00911234567890", "01234567890", "1234567890", "0911234567890",
     "+91 (12345) 678-90", "+91 (0) 12345 67890", "+9101234567890", "91 (0) 12345 67890", "0091 0 12345 67890"),
    ("+919112345678", "9112345678", "919112345678", "09112345678", "+91 (0) 91123 45678"),
    (f"{P}9118001234567", "1800 123 4567", "18001234567", "9118001234567", "01800 123 4567", "0091-1800-123-4567"),
    (f"{P}9118601234567", "1860 123 4567", "18601234567", "9118601234567", f"{P}91 (0) 1860 123 4567"),
    (f"{P}911800123456", "1800 123 456", "911800123456", "01800123456"),
    (f"{P}911401234567", "1401234567", "911401234567", "0140 1234567"),  # promotional
    (f"{P}911601234567", "1601234567", "911601234567", "160 1234567"),  # service
    (f"{P}442079460958", f"{P}44 (0)20 7946 0958", "00442079460958", "442079460958", f"{P}4402079460958",
     "4402079460958"),
    (f"{P}14155550123", "14155550123", f"{P}1 (415) 555-0123", "0014155550123"),
    (f"{P}390612345678", f"{P}39 06 1234 5678", "0039 06 12345678", "390612345678"),  # its 0 belongs to the number
    ("sip:desk@sip.example.com", "SIP:desk@SIP.example.com", "<sip:desk@sip.example.com;transport=udp>"),
    ("sip:+911234567890@sip.example.com", "+911234567890"),
)  # fmt: skip


@pytest.mark.parametrize("spellings", SAME, ids=lambda row: row[0])
def test_one_party_has_one_key_in_every_spelling(spellings: tuple[str, ...]) -> None:
    assert {number_key(spelling) for spelling in spellings} == {number_key(spellings[0])}


def test_no_two_parties_have_the_same_key() -> None:
    more = (
        f"{P}18001234567",
        "sip:1001@a.example.com",
        "sip:1001@b.example.com",
        "sip:alice1@a.example.com",
        "anonymous",
    )
    keys = [number_key(row[0]) for row in SAME[:-1]] + [number_key(party) for party in more]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("spellings", SAME, ids=lambda row: row[0])
def test_every_spelling_of_a_party_is_the_same_party_and_no_other_one(spellings: tuple[str, ...]) -> None:
    assert all(same_party(spellings[0], spelling) for spelling in spellings)
    others = [row[0] for row in SAME if number_key(row[0]) != number_key(spellings[0])]
    assert not any(same_party(other, spelling) for spelling in spellings for other in others)


def test_two_sip_addresses_of_one_number_are_two_parties_when_they_are_dialled() -> None:
    here, there = "sip:+911234567890@a.example.com", "sip:+911234567890@b.example.com"
    assert not same_party(here, there)
    assert same_party(here, "911234567890")  # as the carrier may name it


def agent(name: str, *numbers: str) -> Agent:
    return Agent(name, "Hi.", "Be brief.", numbers=numbers)


@pytest.mark.parametrize("called", [*SAME[2], *SAME[3]])
def test_a_toll_free_call_reaches_its_agent(called: str) -> None:
    agents = Agents({"free": agent("free", "1800 123 4567", "1860 123 4567"), "rest": agent("rest", ANY_NUMBER)})
    found = agents.for_number(called)
    assert found is not None
    assert found.name == "free"


def test_a_sip_call_reaches_the_agent_of_its_address_and_not_of_its_digits() -> None:
    desk, other = agent("desk", "sip:1001@a.example.com"), agent("other", "sip:1001@b.example.com")
    agents = Agents({"desk": desk, "other": other, "rest": agent("rest", ANY_NUMBER)})
    called = ("sip:1001@a.example.com", "sip:1001@b.example.com", "sip:1001@c.example.com", "1001")
    assert [found.name for number in called if (found := agents.for_number(number))] == [
        "desk",
        "other",
        "rest",
        "rest",
    ]


# --- what is dialled --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("+91 (0) 12345 67890", "+911234567890"),
        ("+9101234567890", "+911234567890"),
        ("0091 (0) 12345 67890", "+911234567890"),
        ("91 (0) 12345 67890", "+911234567890"),
        (f"{P}44 (0)20 7946 0958", f"{P}442079460958"),
        ("4402079460958", f"{P}442079460958"),
        (f"{P}39 06 1234 5678", f"{P}390612345678"),
        ("+91 12345 67890", "+911234567890"),
        ("911234567890", "911234567890"),
        ("012345 67890", "01234567890"),
        ("1800 123 4567", "18001234567"),
        (f"{P}91 1800 123 4567", f"{P}9118001234567"),
        ("sip:desk@example.com:5060", "sip:desk@example.com:5060"),
    ],
)
def test_the_zero_that_is_dialled_only_inside_a_country_is_dropped(written: str, sent: str) -> None:
    assert dialled(written) == sent
    if sent.startswith("+"):
        assert e164(written) == sent
        assert f">{sent}</Number>" in render(Dial((Number(written),)), answered=True).decode()


@pytest.mark.parametrize(
    "written",
    ["+91 123", f"{P}999 12345 67890", "+01234567890", "+91 12345 67890 12345", "1-800-FLOWERS", "+91 12345 6789O"],
)
def test_what_is_no_number_of_any_country_is_not_dialled(written: str) -> None:
    with pytest.raises(ValueError, match="number") as caught:
        dialled(written)
    assert "123" not in str(caught.value)


def test_the_toll_free_number_is_indias_also_where_the_country_is_asked_for() -> None:
    assert e164("1800 123 4567") == f"{P}9118001234567"


# --- a caller who comes back to us ------------------------------------------------------------------------------------


def written(folder: Path, **fallbacks: str) -> Path:
    for name, fallback in fallbacks.items():
        lines = (f"name: {name}", "greeting: Hi.", "instructions: Be brief.", f'fallback_number: "{fallback}"')
        own = {"desk": '["+91 12345 67890", "1800 123 4567"]', "rest": '["*"]'}[name]
        (folder / f"{name}.yaml").write_text("\n".join([*lines, f"numbers: {own}", ""]))
    return folder


@pytest.mark.parametrize(
    "fallback", ["+911234567890", "01234567890", "+91 (0) 12345 67890", f"{P}91 1800 123 4567", "911234567899"]
)
def test_a_number_of_our_own_is_refused_as_fallback_number(tmp_path: Path, fallback: str) -> None:
    folder = written(tmp_path, desk="", rest=fallback)
    with pytest.raises(BadAgents, match=r"rest.yaml:4: 'fallback_number' is a number of your own") as caught:
        load_agents(folder, ("+91 12345 67899",))
    assert "12345" not in str(caught.value)


def test_a_persons_number_is_taken(tmp_path: Path) -> None:
    folder = written(tmp_path, desk="+91 98765 43210", rest="")
    assert load_agents(folder, ("+91 12345 67899", "")).by_name["desk"].fallback_number


# --- what libphonenumber gets wrong -----------------------------------------------------------------------------------


def test_libphonenumber_takes_for_a_number_what_is_none() -> None:
    """It reads letters as keys, drops what follows the digits, and forgives two plus signs: so we look first."""
    for text in ("1-800-FLOWERS", "+91 12345 6789O", "++911234567890", "+911234567890;ext=5"):
        assert phonenumbers.parse(text, "IN").country_code == 91
        assert international(text) == ""


def test_libphonenumber_does_not_know_every_series_so_nothing_is_refused_for_it() -> None:
    unknown = f"{P}912212345678"  # has India's length
    assert not phonenumbers.is_valid_number(phonenumbers.parse(unknown))
    assert is_possible(unknown)
    assert dialled(unknown) == unknown
    assert number_key("912212345678") == number_key(unknown) == number_key("02212345678")


def test_libphonenumber_takes_the_service_series_for_mobile_phones() -> None:
    """India's 160 is for service calls; nothing here asks for the kind of a number."""
    service = phonenumbers.parse(f"{P}911601234567")
    assert phonenumbers.number_type(service) == phonenumbers.PhoneNumberType.MOBILE


def test_a_toll_free_number_of_the_united_states_without_its_plus_is_taken_for_indias() -> None:
    assert number_key("18001234567") == number_key(f"{P}9118001234567") != number_key(f"{P}18001234567")
