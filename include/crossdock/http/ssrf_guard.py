"""
SSRF guard: resolve a host's name once, check every address, and connect only to a checked address.

People write connections, and a name resolves to whatever the owner of its zone says: both can point a worker at the
cloud's metadata service, at our own database or at any host of the internal network. Checking a name and letting a
library resolve it again is not enough: the second answer may differ (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from crossdock.core.errors import AddressRefused, BadRequest
from crossdock.http.deadline import current_deadline

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: Like `socket.getaddrinfo`; tests pass their own.
Resolver = Callable[..., Sequence[tuple[Any, ...]]]

#: Metadata services of clouds, which hand out credentials. `allow_private` does not include them.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "169.254.169.253",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
        ),
    )
)

#: Not public, although some versions of `ipaddress` call them global.
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "100.64.0.0/10",
            "192.0.0.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "240.0.0.0/4",
            "64:ff9b:1::/48",
            "100::/64",
            "2001::/23",
            "2001:db8::/32",
            "3fff::/20",
            "5f00::/16",
            "fec0::/10",
        ),
    )
)

#: IPv6 addresses that a gateway translates to the IPv4 address in their last four bytes (RFC 6052).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AllowedNetworks(msgspec.Struct, frozen=True, kw_only=True):
    """Non-public addresses that a connection may call. Plain http is allowed for these only."""

    #: All private and loopback networks, but not metadata services.
    allow_private: bool = False
    networks: tuple[Network, ...] = ()

    @classmethod
    def from_extra(cls, extra: Mapping[str, Any]) -> AllowedNetworks:
        """
        Read `allow_private` (true) and `allowed_networks` (`["10.1.0.0/16"]`) from a connection's extra.

        Raises:
            BadRequest: one of them is not valid.

        """
        allow_private, networks = extra.get("allow_private", False), extra.get("allowed_networks", [])
        if not isinstance(allow_private, bool) or not isinstance(networks, list):
            raise BadRequest(
                'Invalid extra of a connection: expected "allow_private": true and "allowed_networks": ["10.1.0.0/16"]'
            )
        try:
            return cls(allow_private=allow_private, networks=tuple(map(ipaddress.ip_network, networks)))
        except (ValueError, TypeError) as error:
            raise BadRequest(f"allowed_networks in the extra of a connection: {error}") from error

    @classmethod
    def for_host(cls, host: str) -> AllowedNetworks:
        """Allow a *host* that is a loopback address, because code that names it means it. Others must be public."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return cls()
        return cls(networks=(ipaddress.ip_network(address),)) if address.is_loopback else cls()

    def allows(self, address: Address) -> bool:
        """
        Check whether *address* is allowed although it is not public.

        A metadata service is allowed by a network of its one address alone: 0.0.0.0/0 does not mean it. Every link-local
        address may be one: 169.254.0.23 and fe80::a9fe:a9fe are.
        """
        forms = _effective_addresses(address)
        containing = [
            network
            for form in forms
            for network in self.networks
            if form.version == network.version and form in network
        ]
        if any(form in _METADATA or form.is_link_local for form in forms):
            return any(network.num_addresses == 1 for network in containing)
        if containing:
            return True
        return self.allow_private and all(form.is_private and _is_unicast(form) for form in forms)


def resolve_allowed(
    system: str, host: str, port: int, allowed: AllowedNetworks, *, encrypted: bool, resolve: Resolver | None = None
) -> list[str]:
    """
    Resolve *host*, check all its addresses, and return them in the order to try.

    Raises:
        AddressRefused: one of them is neither public nor allowed, or is public and the call would not be encrypted.
        OSError: the name does not exist, or the resolver did not answer in time.

    """
    addresses = [_address(answer[4][0]) for answer in _resolve_in_time(resolve or socket.getaddrinfo, host, port)]
    if not addresses:
        raise OSError(f"the name {host} has no address")
    for address in addresses:
        _refuse_forbidden(system, host, address, allowed, encrypted=encrypted)
    return list(dict.fromkeys(map(str, addresses)))


def is_public(address: Address) -> bool:
    """Check whether *address* is public in every form that a packet to it may take."""
    return all(
        form.is_global
        and not (form.is_multicast or form.is_reserved or form.is_unspecified or form.is_link_local)
        and form not in _METADATA
        and not any(form in network for network in _NOT_PUBLIC if network.version == form.version)
        for form in _effective_addresses(address)
    )


def _refuse_forbidden(system: str, host: str, address: Address, allowed: AllowedNetworks, *, encrypted: bool) -> None:
    if allowed.allows(address):
        return
    if not is_public(address):
        network = str(ipaddress.ip_network(address))
        raise AddressRefused(
            f"{system}: {host} resolves to {address}, which is not a public address. If this is intended, set "
            f'allowed_networks to ["{network}"]: a setting of the integration, or in the extra of its connection in Airflow',
            network=network,
        )
    if not encrypted:
        raise AddressRefused(f"{system}: {host} is called over plain http, which exposes the credentials. Use https")


def _effective_addresses(address: Address) -> list[Address]:
    """
    List *address* in the forms that a packet to it may take.

    For an IPv6 address that stands for an IPv4 one, only the IPv4 address counts; for a tunnel, both ends do.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    nat64 = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
    if stands_for := address.ipv4_mapped or nat64:
        return [stands_for]
    ends = [address.sixtofour] if address.sixtofour else address.teredo or ()
    return [address, *ends]


def _is_unicast(form: Address) -> bool:
    """Check that it is a unicast address: not multicast, unspecified or link-local."""
    return not (form.is_multicast or form.is_unspecified or form.is_link_local)


def _address(text: str) -> Address:
    return ipaddress.ip_address(text.partition("%")[0])


def _resolve_in_time(resolve: Resolver, host: str, port: int) -> Iterable[tuple[Any, ...]]:
    """Resolve within the deadline. A resolver has no timeout, so it runs in a thread that may be abandoned."""
    if _is_literal(host):
        return resolve(host, port, type=socket.SOCK_STREAM)
    deadline = current_deadline()
    answers: queue.SimpleQueue[Sequence[tuple[Any, ...]] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(resolve(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            answers.put(error)
        except UnicodeError:  # a label that is too long, or empty
            answers.put(OSError("the name is not valid"))

    threading.Thread(target=look_up, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.left_s if deadline else None)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def _is_literal(host: str) -> bool:
    try:
        _address(host)
    except ValueError:
        return False
    return True
