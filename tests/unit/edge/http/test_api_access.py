"""Who may use the REST API: pages, proxies and strangers may not, programs of this machine may."""

import pytest

from edge.http.api_access import Asked, body_refusal, is_loopback_name, refusal

pytestmark = pytest.mark.fast

TOKEN = "a-token-of-32-characters-or-so-ok"


def asked(*more: tuple[str, str], peer: str = "127.0.0.1", host: str = "127.0.0.1:8000", version: str = "1.1") -> Asked:
    return Asked(peer, version, (("host", host), *more))


def code(request: Asked, token: str = "") -> tuple[int, str]:
    refused = refusal(request, token)
    return (refused.status, refused.code) if refused else (200, "")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8000", "127.8.9.10:1", "localhost", "LocalHost:8000", "[::1]", "[::1]:8000",
     "[::ffff:127.0.0.1]:80"],
)  # fmt: skip
def test_names_of_loopback_are_served(host: str) -> None:
    assert code(asked(host=host)) == (200, "")


@pytest.mark.parametrize(
    "host",
    ["", "evil.example.com", "evil.example.com:8000", "localhost.evil.example.com", "127.0.0.1.nip.io", "0.0.0.0:8000",
     "voice", "foo.localhost", "127.1", "2130706433", "0x7f000001", "127.0.0.1@evil.example.com", "[::]:8000",
     "127.0.0.1:8000, evil.example.com", "10.0.0.1", "[::ffff:10.0.0.1]", "localhost:80:80", "127.0.0.1:port"],
)  # fmt: skip
def test_every_other_host_is_refused(host: str) -> None:
    assert code(asked(host=host)) == (403, "loopback_only")
    assert not is_loopback_name(host)


def test_no_host_or_two_hosts_are_refused() -> None:
    assert code(Asked("127.0.0.1", "1.1", ())) == (403, "loopback_only")
    assert code(asked(("host", "127.0.0.1"))) == (403, "loopback_only")


@pytest.mark.parametrize("peer", ["", "10.0.0.1", "192.168.1.7", "::ffff:10.0.0.1", "2001:db8::1", "nobody"])
def test_other_machines_are_refused(peer: str) -> None:
    assert code(asked(peer=peer)) == (403, "loopback_only")


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_served(peer: str) -> None:
    assert code(asked(peer=peer)) == (200, "")


@pytest.mark.parametrize(
    "name",
    ["forwarded", "forwarded-for", "x-forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
     "x-forwarded-port", "x-forwarded-server", "x-forwarded-prefix", "x-real-ip", "x-client-ip", "x-cluster-client-ip",
     "x-original-forwarded-for", "x-originating-ip", "x-remote-ip", "x-proxyuser-ip", "x-envoy-external-address",
     "x-amzn-trace-id", "x-azure-clientip", "x_forwarded_for", "via", "cf-connecting-ip", "cf-ray", "cf-ipcountry",
     "cdn-loop", "true-client-ip", "client-ip", "fastly-client-ip", "fly-client-ip", "akamai-origin-hop",
     "incap-client-ip", "tailscale-user-login", "wl-proxy-client-ip", "proxy-connection", "remote-addr"],
)  # fmt: skip
def test_what_a_proxy_passed_on_is_refused(name: str) -> None:
    assert code(asked((name, ""))) == (403, "loopback_only")
    assert code(asked((name, "127.0.0.1"))) == (403, "loopback_only")


def test_plain_proxies_speak_an_older_http() -> None:
    assert code(asked(version="1.0")) == (403, "loopback_only")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((), 200),
        ((("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:8000")), 200),
        ((("sec-fetch-site", "none"),), 200),
        ((("sec-fetch-site", "same-site"), ("origin", "http://localhost:8000")), 200),
        ((("sec-fetch-site", "cross-site"),), 403),
        ((("sec-fetch-site", "Cross-Site"),), 403),
        ((("sec-fetch-site", ""),), 403),
        ((("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")), 403),
        ((("origin", "https://evil.example.com"),), 403),
        ((("origin", "null"),), 403),
        ((("origin", ""),), 403),
        ((("origin", "http://127.0.0.1.evil.example.com"),), 403),
        ((("origin", "http://evil.example.com@127.0.0.1"),), 403),
        ((("origin", "chrome-extension://abcdef"),), 403),
        ((("origin", "http://["),), 403),
        ((("x-requested-with", "XMLHttpRequest"),), 200),
    ],
)
def test_pages_of_other_sites_are_refused(headers: tuple[tuple[str, str], ...], status: int) -> None:
    assert code(asked(*headers))[0] == status


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer   {TOKEN} ", 200),
        (TOKEN, 401),
        (f"Basic {TOKEN}", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        ("Bearer \u00ff", 401),
    ],
)
def test_with_a_token_everybody_who_has_it_is_served_and_nobody_else(given: str, status: int) -> None:
    for request in (asked(("authorization", given)), asked(("authorization", given), ("via", "x"), peer="10.0.0.1")):
        assert code(request, TOKEN)[0] == status
    assert code(asked(), TOKEN) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("types", "right"),
    [
        (("application/json",), True),
        (("Application/JSON; charset=utf-8",), True),
        ((), False),
        (("text/plain",), False),
        (("text/plain; application/json",), False),
        (("application/x-www-form-urlencoded",), False),
        (("multipart/form-data; boundary=application/json",), False),
        (("application/jsonx",), False),
        (("application/json", "text/plain"), False),
    ],
)
def test_a_body_must_be_called_json(types: tuple[str, ...], right: bool) -> None:
    assert (body_refusal(asked(*(("content-type", one) for one in types))) is None) is right
