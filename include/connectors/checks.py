"""
A test of a connection, as named checks: address, TLS, credentials, scope, one sample record.

Each says what was found and, when it failed, what a person can do. After a failure the later ones are skipped: they
would only fail for the same reason.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from urllib.parse import SplitResult, urlsplit

from include.connectors.kinds import Kind
from include.model.errors import HubError, SystemRefused, SystemUnavailable
from include.model.integration import Check, Connection, Outcome, Probe

_TIMEOUT_S = 5.0

#: What a person can do about a failure, by the check.
HINTS = {
    "address": "Look at the base URL: its name, its port, and whether a firewall lets the hub through",
    "tls": "Look at the certificate of the host: its name, its end, and who signed it (ca_file for an authority of your own)",
    "credentials": "Give the id and the secret again; look whether they were revoked, or belong to another project",
    "scope": "Let the credentials see what the syncs read: the system names the missing scope",
    "sample": "Look whether the system answers with records as its documentation says",
}
_BUSY = "The system was busy or down; test again when it is up"


class Skipped(HubError):
    """The question does not arise."""


def of_connection(kind: Kind, connection: Connection) -> tuple[Check, ...]:
    """
    Every check of *connection*, in order.

    Raises:
        BadRequest: it lacks what is needed to ask at all.

    """
    networks = tuple(map(str, connection.extra.get("allowed_networks") or ()))
    return run(kind.probe(connection), allowed_networks=networks, ca_file=connection.extra.get("ca_file"))


def run(probe: Probe, *, allowed_networks: tuple[str, ...] = (), ca_file: str | None = None) -> tuple[Check, ...]:
    """Every check of *probe*, in order."""
    url = urlsplit(probe.url)
    questions: dict[str, Callable[[], str]] = {
        "address": lambda: _address(url, allowed_networks),
        "tls": lambda: _tls(url, ca_file),
        "credentials": probe.credentials,
        "scope": probe.scope,
        "sample": probe.sample,
    }
    return tuple(_asked(questions))


def passed(checks: tuple[Check, ...]) -> bool:
    return all(check.outcome is not Outcome.FAILED for check in checks)


def _asked(questions: dict[str, Callable[[], str]]) -> Iterator[Check]:
    failed = False
    for name, ask in questions.items():
        if failed:
            yield Check(name=name, outcome=Outcome.SKIPPED, duration_ms=0, said="an earlier check failed")
            continue
        began = time.monotonic()
        outcome, hint = Outcome.OK, None
        try:
            said = ask()
        except Skipped as error:
            outcome, said = Outcome.SKIPPED, str(error)
        except HubError as error:
            failed, outcome, said = True, Outcome.FAILED, str(error)
            hint = _BUSY if _is_passing(error) else HINTS[name]
        duration_ms = round((time.monotonic() - began) * 1000)
        yield Check(name=name, outcome=outcome, duration_ms=duration_ms, said=said, hint=hint)


def _is_passing(error: HubError) -> bool:
    return isinstance(error, SystemUnavailable) and "answered HTTP" in str(error)


def _address(url: SplitResult, allowed_networks: tuple[str, ...]) -> str:
    host, port = url.hostname or "", _port(url)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise SystemUnavailable(host, f"the name does not resolve: {error.strerror or error}") from error
    addresses = {str(each[4][0]).partition("%")[0] for each in found}
    for address in addresses:
        _refuse_private(host, address, allowed_networks)
    try:
        socket.create_connection((min(addresses), port), timeout=_TIMEOUT_S).close()
    except OSError as error:
        raise SystemUnavailable(host, f"port {port} does not answer: {error.strerror or error}") from error
    return f"{host} answers on port {port}"


def _refuse_private(host: str, text: str, allowed_networks: tuple[str, ...]) -> None:
    """An address of our own network is no system of a retailer's, unless somebody says that it is."""
    address = ipaddress.ip_address(text)
    if address.is_global or any(address in ipaddress.ip_network(network, strict=False) for network in allowed_networks):
        return
    if address.is_loopback and text == host:
        return  # written as it is, it is meant: a sandbox beside the hub
    raise SystemRefused(
        host, 0, f"it leads to {text}, which is not a public address; if that is meant, name it in allowed_networks"
    )


def _tls(url: SplitResult, ca_file: str | None) -> str:
    host = url.hostname or ""
    if url.scheme != "https":
        raise Skipped("plain http: there is no certificate to look at")
    try:
        with (
            socket.create_connection((host, _port(url)), timeout=_TIMEOUT_S) as plain,
            ssl.create_default_context(cafile=ca_file).wrap_socket(plain, server_hostname=host) as secure,
        ):
            return f"{secure.version()}, certified for {host}"
    except OSError as error:
        said = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else type(error).__name__
        raise SystemUnavailable(host, f"TLS failed: {said}") from error


def _port(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)
