"""Where a connection may lead, with a resolver that lies."""

from __future__ import annotations

import ipaddress
import socket
import threading
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crossdock.core.errors import AddressRefused, BadRequest, SystemUnavailable
from crossdock.http.client import HttpClient
from crossdock.http.config import ClientConfig
from crossdock.http.deadline import Deadline
from crossdock.http.ssrf_guard import AllowedNetworks, is_public, resolve_allowed
from tests.http.raw_server import ONE_SECOND, RawServer, answer, body_of
from tests.tls import Tls

NOT_PUBLIC = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",  # noqa: S104  nothing listens there; it is refused
    "10.0.0.7",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "198.18.0.1",
    "192.0.2.1",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.7",
    "::ffff:a9fe:a9fe",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    # 203.0.113.1: its neighbours one network further down are public.
    "64:ff9b::cb00:7101",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
#: Not opened by `allow_private`: no private network's machine has them.
NEVER_PRIVATE = [
    "169.254.169.254",
    "::ffff:a9fe:a9fe",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "224.0.0.1",
    "0.0.0.0",  # noqa: S104  nothing listens there; it is refused
]
ANYWHERE_PRIVATE = AllowedNetworks(allow_private=True)


class Names:
    """A resolver that answers the first question with the first of *answers*, and so on; the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        addresses = self._answers[min(len(self.asked), len(self._answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


def resolved(*addresses: str, rules: AllowedNetworks | None = None, encrypted: bool = True) -> list[str]:
    return resolve_allowed(
        "acme", "shop.example", 443, rules or AllowedNetworks(), encrypted=encrypted, resolve=Names([*addresses])
    )


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    """In every notation; each of these has been used to reach a cloud's metadata service."""
    with pytest.raises(AddressRefused, match=r"shop\.example resolves to .*not a public address.*allowed_networks"):
        resolved(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_not(address: str) -> None:
    assert resolved(address) == [str(ipaddress.ip_address(address))]


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    """Which one is connected to is chance."""
    with pytest.raises(AddressRefused):
        resolved("1.1.1.1", "10.0.0.7")


def test_a_name_without_an_address_is_an_error_that_names_it() -> None:
    """Nothing was checked, so there is nothing that may be connected to."""
    with pytest.raises(OSError, match=r"the name shop\.test has no address"):
        resolve_allowed("acme", "shop.test", 443, AllowedNetworks(), encrypted=True, resolve=lambda *_, **__: [])


@pytest.mark.parametrize("address", ["10.0.0.7", "127.0.0.1", "::1", "fc00::1", "::ffff:10.0.0.7"])
def test_private_networks_can_be_allowed(address: str) -> None:
    assert resolved(address, rules=ANYWHERE_PRIVATE)


@pytest.mark.parametrize("address", NEVER_PRIVATE)
def test_metadata_is_not_allowed_along_with_private_networks(address: str) -> None:
    """Permission for a private network is not permission for the machine's credentials."""
    with pytest.raises(AddressRefused):
        resolved(address, rules=ANYWHERE_PRIVATE)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.23",
        "fe80::a9fe:a9fe",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
    ],
)
def test_metadata_is_allowed_by_its_one_address_alone(address: str) -> None:
    """`0.0.0.0/0` means any host of the company, and not what hands out the machine's own credentials."""
    wide = AllowedNetworks.from_extra({"allowed_networks": ["0.0.0.0/0", "::/0", "169.254.0.0/16", "168.63.129.16/31"]})
    own = AllowedNetworks.from_extra({"allowed_networks": [str(ipaddress.ip_network(address))]})

    assert not wide.allows(ipaddress.ip_address(address))
    assert own.allows(ipaddress.ip_address(address))
    assert wide.allows(ipaddress.ip_address("127.0.0.1"))


def test_a_network_that_is_named_is_allowed_and_no_other() -> None:
    rules = AllowedNetworks.from_extra({"allowed_networks": ["10.1.0.0/16", "fd12::/16"]})

    assert resolved("10.1.2.3", "fd12::1", "::ffff:10.1.0.9", rules=rules)
    with pytest.raises(AddressRefused):
        resolved("10.2.0.1", rules=rules)


def test_plain_http_goes_to_allowed_addresses_only() -> None:
    """To anywhere else it shows the token to everybody on the way."""
    with pytest.raises(AddressRefused, match="plain http"):
        resolved("1.1.1.1", encrypted=False)

    assert resolved("10.0.0.7", rules=ANYWHERE_PRIVATE, encrypted=False)


@pytest.mark.parametrize(
    "extra",
    [
        {"allow_private": "yes"},
        {"allowed_networks": "10.0.0.0/8"},
        {"allowed_networks": ["10.0.0.1/8"]},
        {"allowed_networks": [None]},
    ],
)
def test_an_invalid_extra_is_refused(extra: dict[str, Any]) -> None:
    """Silently allowing nothing, or all, would be found out at night."""
    with pytest.raises(BadRequest, match="extra of a connection"):
        AllowedNetworks.from_extra(extra)


@given(st.ip_addresses())
def test_nothing_that_is_private_by_the_book_is_public(address: Any) -> None:
    """What stands for an IPv4 address counts as that one, and is left out here."""
    assume(address not in ipaddress.ip_network("::ffff:0:0/96" if address.version == 6 else "255.255.255.255/32"))
    assume(address.version == 4 or address not in ipaddress.ip_network("64:ff9b::/96"))
    by_the_book = address.is_private or address.is_link_local or address.is_multicast or address.is_reserved

    assert not (by_the_book and is_public(address))


def test_a_name_is_resolved_once_and_only_the_checked_address_is_connected_to() -> None:
    """DNS rebinding: the first answer is harmless, the second, had there been a question, is not."""
    with RawServer(answer(b"[1]")) as server, RawServer(answer(b"[2]")) as inside:
        port = int(server.host.rpartition(":")[2])
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        rules = AllowedNetworks.from_extra({"allowed_networks": ["127.0.0.1/32"]})
        client = HttpClient(
            "acme",
            f"http://shop.example:{port}",
            config=ClientConfig(limits=ONE_SECOND, allowed_networks=rules, resolve=names),
        )

        assert body_of(client) == b"[1]"
        assert names.asked == ["shop.example"]
        with pytest.raises(AddressRefused, match=r"127\.0\.0\.2"):
            body_of(client)

        assert f"Host: shop.example:{port}" in server.requests[0]
        assert (len(server.requests), inside.requests) == (1, [])


def test_the_certificate_is_that_of_the_name_and_not_of_the_address(tls_of_another_host: Tls) -> None:
    """Connecting to an address must not turn off the check of the name, nor change the name sent to the server (SNI)."""
    names_sent: list[str | None] = []
    tls_of_another_host.context.sni_callback = lambda _socket, name, _context: names_sent.append(name)
    rules = AllowedNetworks(allow_private=True)

    with RawServer(answer(b"[1]"), tls=tls_of_another_host.context) as server:
        port = int(server.host.rpartition(":")[2])
        config = ClientConfig(limits=ONE_SECOND, allowed_networks=rules, resolve=Names(["127.0.0.1"]))
        client = HttpClient(
            "acme", f"https://elsewhere.example:{port}", config=config, ca_file=tls_of_another_host.ca_file
        )
        assert body_of(client) == b"[1]"
        other = HttpClient("acme", f"https://shop.example:{port}", config=config, ca_file=tls_of_another_host.ca_file)
        with pytest.raises(SystemUnavailable, match="certificate verify failed"):
            body_of(other)

    assert names_sent == ["elsewhere.example", "shop.example"]


def test_a_resolver_that_hangs_does_not_hold_the_call() -> None:
    """The system's resolver knows no time-out that we could set."""
    let_go = threading.Event()

    def hang(*_: Any, **__: Any) -> list[Any]:
        let_go.wait(6_000)
        return []

    try:
        # Else it ends with this test's own time.
        with Deadline(0.3), pytest.raises(TimeoutError):
            resolve_allowed("acme", "shop.example", 443, AllowedNetworks(), encrypted=True, resolve=hang)
    finally:
        let_go.set()


def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    """A name with several addresses is up while one of them is."""
    with RawServer(answer(b"[1]")) as server:
        port = int(server.host.rpartition(":")[2])
        config = ClientConfig(
            limits=ONE_SECOND,
            allowed_networks=AllowedNetworks(allow_private=True),
            resolve=Names(["127.0.0.9", "127.0.0.1"]),
        )

        assert body_of(HttpClient("acme", f"http://shop.example:{port}", config=config)) == b"[1]"


def test_an_address_in_code_may_be_loopback_and_a_name_may_not() -> None:
    """A literal 127.0.0.1 is intended; a name depends on the owner of its zone."""
    config = ClientConfig(limits=ONE_SECOND, resolve=Names(["127.0.0.1"]))
    with RawServer(answer(b"[1]")) as server:
        assert body_of(HttpClient("acme", server.url, config=ClientConfig(limits=ONE_SECOND))) == b"[1]"
        with pytest.raises(AddressRefused):
            body_of(HttpClient("acme", server.url.replace("127.0.0.1", "localhost"), config=config))
