"""Addresses: where a listener is reached, who a peer is, and one server's URLs for HTTP and for WebSockets."""

from __future__ import annotations

import pytest

from common.process.addresses import http_url, near_address, near_url, peer_ip, socket_url

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("host", "address", "url"),
    [
        ("0.0.0.0", "127.0.0.1", "http://127.0.0.1:8000"),
        ("", "127.0.0.1", "http://127.0.0.1:8000"),
        ("127.0.0.1", "127.0.0.1", "http://127.0.0.1:8000"),
        ("127.0.0.2", "127.0.0.2", "http://127.0.0.2:8000"),
        ("::", "::1", "http://[::1]:8000"),
        ("::1", "::1", "http://[::1]:8000"),
        ("[::1]", "::1", "http://[::1]:8000"),
        ("localhost", "localhost", "http://localhost:8000"),
    ],
)
def test_a_listener_is_reached_where_it_listens(host: str, address: str, url: str) -> None:
    assert near_address(host) == address and near_url(host, 8000) == url


@pytest.mark.parametrize(
    ("address", "ip"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("::1", "::1"),
        ("2001:db8::7", "2001:db8::7"),
        ("localhost", "None"),
        ("", "None"),
    ],
)
def test_a_peer_of_a_dual_stack_socket_is_known_by_its_ipv4_address(address: str, ip: str) -> None:
    assert str(peer_ip(address)) == ip


@pytest.mark.parametrize(
    ("url", "http", "socket"),
    [
        ("wss://api.example.com/", "https://api.example.com", "wss://api.example.com"),
        ("https://api.example.com", "https://api.example.com", "wss://api.example.com"),
        ("http://127.0.0.1:80/x/", "http://127.0.0.1:80/x", "ws://127.0.0.1:80/x"),
        ("ws://[::1]:80/x?a=b", "http://[::1]:80/x?a=b", "ws://[::1]:80/x?a=b"),
        ("HTTPS://api.example.com", "https://api.example.com", "wss://api.example.com"),
    ],
)
def test_one_server_is_reached_by_http_and_by_websocket(url: str, http: str, socket: str) -> None:
    assert http_url(url) == http and socket_url(url) == socket
