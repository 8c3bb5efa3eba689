"""Which addresses a tool may reach: whatever spelling, family or disguise leads inside is refused."""

import pytest

from workers.tools.addresses import literal_refusal, refusal

pytestmark = pytest.mark.fast

INSIDE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "168.63.129.16", "100.100.100.200", "192.0.0.192", "198.18.0.1",
    "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
    "2001:0:0:0:0:0:80ff:fffe", "fec0::1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_refused(address: str):
    assert refusal("api.example.com", address, ())


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34"])
def test_a_public_address_is_allowed(address: str):
    assert refusal("api.example.com", address, ()) == ""


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "017700000001", "127.1", "0x7f.0.0.1", "a.0x1", "1.2.3", "", ".", "127.0.0.1."]
)
def test_an_odd_spelling_of_an_address_is_refused_before_it_is_resolved(host: str):
    assert literal_refusal(host, ())


@pytest.mark.parametrize(
    "host", ["api.example.com", "API.example.com.", "93.184.216.34", "xn--bcher-kva.example", "x1"]
)
def test_a_name_is_left_to_the_resolver(host: str):
    assert literal_refusal(host, ()) == ""


def test_a_named_private_host_is_allowed_and_its_neighbour_is_not():
    assert refusal("crm.internal", "10.1.2.3", ("crm.internal",)) == ""
    assert refusal("CRM.internal.", "10.1.2.3", ("crm.internal",)) == ""
    assert refusal("10.1.2.3", "10.1.2.3", ("10.1.2.3",)) == ""
    assert refusal("any.example.com", "10.1.2.3", ("10.1.2.3",)) == "", "the address itself was named"
    assert refusal("other.internal", "10.1.2.4", ("crm.internal", "10.1.2.3"))


def test_a_named_host_does_not_open_the_metadata_service():
    """Its name may be made to point anywhere; only who writes the address itself means it."""
    assert refusal("crm.internal", "169.254.169.254", ("crm.internal",))
    assert refusal("crm.internal", "168.63.129.16", ("crm.internal",))
    assert refusal("169.254.169.254", "169.254.169.254", ("169.254.169.254",)) == ""
