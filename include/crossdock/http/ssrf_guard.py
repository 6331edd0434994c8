"""
Where a connection may lead: names resolved once, every address judged, and only a judged one connected to.

A connection is written by people, and names are answered by whoever owns their zone: both can point a worker at the
cloud's metadata service, at our own database or at the neighbour's printer. Checking a name first and letting a
library resolve it again to connect is no check: the second answer may be another (DNS rebinding).
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
#: As `socket.getaddrinfo`; tests put their own in its place.
Resolver = Callable[..., Sequence[tuple[Any, ...]]]

#: What clouds tell a machine about itself, credentials included. Not opened by `allow_private`, only by name.
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

#: Not for everybody, though some versions of `ipaddress` say so.
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

#: IPv6 that a gateway turns into the IPv4 address in its last four bytes (RFC 6052).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRules(msgspec.Struct, frozen=True, kw_only=True):
    """Which addresses besides public ones a connection may lead to; plain http goes to those only."""

    #: All private and loopback networks, but not metadata services.
    allow_private: bool = False
    allowed_networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, extra: Mapping[str, Any]) -> AddressRules:
        """
        What a connection's extra allows: `allow_private` (true) and `allowed_networks` (`["10.1.0.0/16"]`).

        Raises:
            BadRequest: one of them is none.

        """
        allow_private, networks = extra.get("allow_private", False), extra.get("allowed_networks", [])
        if not isinstance(allow_private, bool) or not isinstance(networks, list):
            raise BadRequest(
                'The extra of a connection takes "allow_private": true and "allowed_networks": ["10.1.0.0/16"]'
            )
        try:
            return cls(allow_private=allow_private, allowed_networks=tuple(map(ipaddress.ip_network, networks)))
        except (ValueError, TypeError) as error:
            raise BadRequest(f"allowed_networks in the extra of a connection: {error}") from error

    @classmethod
    def of_host(cls, host: str) -> AddressRules:
        """Public addresses, or the loopback address that *host* itself is: who writes it into code means it."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return cls()
        return cls(allowed_networks=(ipaddress.ip_network(address),)) if address.is_loopback else cls()

    def allows(self, address: Address) -> bool:
        """Whether *address* is allowed although it is not public."""
        faces = _faces(address)
        if any(
            face in network for face in faces for network in self.allowed_networks if face.version == network.version
        ):
            return True
        return self.allow_private and all(
            face.is_private and face not in _METADATA and _is_plain(face) for face in faces
        )


def resolved(
    system: str, host: str, port: int, rules: AddressRules, *, encrypted: bool, resolve: Resolver | None = None
) -> list[str]:
    """
    The addresses of *host*, all of them judged, in the order to try them.

    Raises:
        AddressRefused: one of them is not public and not allowed, or the call would not be encrypted.
        OSError: there is no such name, or nobody answered in time.

    """
    addresses = [_address(answer[4][0]) for answer in _in_time(resolve or socket.getaddrinfo, host, port)]
    if not addresses:
        raise OSError(f"the name {host} has no address")
    for address in addresses:
        _judge(system, host, address, rules, encrypted=encrypted)
    return list(dict.fromkeys(map(str, addresses)))


def is_public(address: Address) -> bool:
    """Whether everybody may be at *address*, whichever way it is written."""
    return all(
        face.is_global
        and not (face.is_multicast or face.is_reserved or face.is_unspecified or face.is_link_local)
        and face not in _METADATA
        and not any(face in network for network in _NOT_PUBLIC if network.version == face.version)
        for face in _faces(address)
    )


def _judge(system: str, host: str, address: Address, rules: AddressRules, *, encrypted: bool) -> None:
    if rules.allows(address):
        return
    if not is_public(address):
        network = str(ipaddress.ip_network(address))
        raise AddressRefused(
            f"{system}: {host} leads to {address}, which is not a public address. If that is meant, allow it in the "
            f'extra of the connection: "allowed_networks": ["{network}"]',
            network=network,
        )
    if not encrypted:
        raise AddressRefused(
            f"{system}: {host} is called by plain http, which shows the credentials to everybody on the way. Use https"
        )


def _faces(address: Address) -> list[Address]:
    """
    *address* in the forms that a packet to it may take.

    Of an IPv6 address that stands for an IPv4 one only that counts; of a tunnel's, both ends do.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    nat64 = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
    if stands_for := address.ipv4_mapped or nat64:
        return [stands_for]
    ends = [address.sixtofour] if address.sixtofour else address.teredo or ()
    return [address, *ends]


def _is_plain(face: Address) -> bool:
    """Whether it is a place, and not a group, nobody's, or the network's own."""
    return not (face.is_multicast or face.is_unspecified or face.is_link_local)


def _address(text: str) -> Address:
    return ipaddress.ip_address(text.partition("%")[0])


def _in_time(resolve: Resolver, host: str, port: int) -> Iterable[tuple[Any, ...]]:
    """What *resolve* answers; it knows no time-out, so it works in a thread that may be left behind."""
    if _is_literal(host):
        return resolve(host, port, type=socket.SOCK_STREAM)
    deadline = current_deadline()
    answers: queue.SimpleQueue[Sequence[tuple[Any, ...]] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(resolve(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            answers.put(error)
        except UnicodeError:  # a label that is too long, or empty
            answers.put(OSError("no name that could be looked up"))

    threading.Thread(target=ask, name="resolver", daemon=True).start()
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
