"""
Test a connection by named checks: address, TLS, credentials, scope, one sample record.

Each check reports what it found and, if it failed, what a person can do. After a failure the later checks are skipped,
because they would fail for the same reason.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from urllib.parse import SplitResult, urlsplit

from crossdock.core.errors import AddressRefused, HubError, SourceInvalid, SystemRefused, SystemUnavailable
from crossdock.http.config import client_config_of
from crossdock.http.connection import Connection
from crossdock.http.deadline import Deadline
from crossdock.http.ssrf_guard import AllowedNetworks, resolve_allowed
from crossdock.http.transport import Tls, connect
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Check, CheckOutcome, ConnectionTest

_TIMEOUT_S = 5.0
_PORTS = {"https": 443, "http": 80, "smtp": 587, "smtps": 465}

#: What a person can do about a failure, by what is to blame: what the checks are named after.
HINTS = {
    "address": "Check the base URL: host name, port, and whether a firewall blocks the hub",
    "tls": "Check the host's certificate: name, expiry and issuer (set ca_file for your own certificate authority)",
    "credentials": "Enter the ID and the secret again; check that they are not revoked and belong to this project",
    "scope": "Grant the credentials access to what the syncs read: the system's reply names the missing scope",
    "sample": "Check that the system returns records as its documentation says",
}
_BUSY = "The system was busy or down; test again when it is available"
_NO_ANSWER = "The system was not reached or did not answer whole; check the network between, and whether it runs"
_NOT_FOUND = "Check what follows the host: the path and the project of the base URL"
_REFUSED = "The system refused the request; its reply says why"


#: The checks that fail without a response of the system.
_OF_THE_NETWORK = frozenset({"address", "tls"})
_BY_STATUS = {401: HINTS["credentials"], 403: HINTS["scope"], 404: _NOT_FOUND, 410: _NOT_FOUND}


class Skipped(HubError):
    """The check does not apply."""


def check_connection(manifest: Manifest, connection: Connection) -> tuple[Check, ...]:
    """
    Run every check of *connection*, in order.

    Raises:
        BadRequest: the connection lacks a value without which no check can run.

    """
    config = client_config_of(connection)
    return run_checks(manifest.connection_test(connection), allowed=config.allowed_networks, tls=config.tls)


def run_checks(
    test: ConnectionTest, *, allowed: AllowedNetworks | None = None, tls: Tls | None = None
) -> tuple[Check, ...]:
    """Run every check of *test*, in order, with the SSRF guard and TLS settings that its calls use."""
    url = urlsplit(test.url)
    checks: dict[str, Callable[[], str]] = {
        "address": lambda: _address(url, allowed or AllowedNetworks()),
        # A system without HTTP encrypts in its own way.
        "tls": getattr(test, "tls", lambda: _tls(url, allowed or AllowedNetworks(), tls or Tls())),
        "credentials": test.credentials,
        "scope": test.scope,
        "sample": test.sample,
    }
    return tuple(_run_in_order(checks))


def all_passed(checks: tuple[Check, ...]) -> bool:
    return all(check.outcome is not CheckOutcome.FAILED for check in checks)


def _run_in_order(checks: dict[str, Callable[[], str]]) -> Iterator[Check]:
    failed = False
    for name, check in checks.items():
        if failed:
            yield Check(name=name, outcome=CheckOutcome.SKIPPED, duration_ms=0, message="an earlier check failed")
            continue
        began = time.monotonic()
        outcome, hint = CheckOutcome.OK, None
        try:
            message = check()
        except Skipped as error:
            outcome, message = CheckOutcome.SKIPPED, str(error)
        except HubError as error:
            failed, outcome, message = True, CheckOutcome.FAILED, str(error)
            hint = _hint(name, error)
        duration_ms = round((time.monotonic() - began) * 1000)
        yield Check(name=name, outcome=outcome, duration_ms=duration_ms, message=message, hint=hint)


def _hint(name: str, error: HubError) -> str:
    """Say what to do by what happened, whichever check *name* met it: a check asks more than one thing."""
    match error:
        case AddressRefused(network=str(network)):
            hint = f'If this network is intended, set allowed_networks to ["{network}"]; otherwise check the URL'
        case AddressRefused():
            hint = "Use https in the URL"
        case SystemUnavailable(status=None):
            hint = HINTS[name] if name in _OF_THE_NETWORK else _NO_ANSWER
        case SystemUnavailable():
            hint = _BUSY
        case SourceInvalid():
            hint = HINTS["sample"]
        # A token, or its scope, is refused with 400, too (RFC 6749 5.2).
        case SystemRefused(status=400) if name in {"credentials", "scope"}:
            hint = HINTS[name]
        case SystemRefused(status=status):
            hint = _BY_STATUS.get(status, _REFUSED)
        case _:
            hint = HINTS[name]
    return hint


def _address(url: SplitResult, allowed: AllowedNetworks) -> str:
    host, port = _host(url), _port(url)
    with _connect(url, allowed):
        return f"{host} answers on port {port}"


def _tls(url: SplitResult, allowed: AllowedNetworks, tls: Tls) -> str:
    host = _host(url)
    if url.scheme != "https":
        raise Skipped("plain http: there is no certificate to check")
    context = tls.context(host)
    try:
        with _connect(url, allowed) as plain, context.wrap_socket(plain, server_hostname=host) as secure:
            return f"{secure.version()}, certified for {host}"
    except OSError as error:
        reason = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else type(error).__name__
        raise SystemUnavailable(host, f"TLS failed: {reason}") from error


def _connect(url: SplitResult, allowed: AllowedNetworks) -> socket.socket:
    """
    Connect to the host at a checked address: the name is not resolved a second time.

    Raises:
        AddressRefused: the name resolves to an address that is not allowed.
        SystemUnavailable: the name does not exist, or no address answers.

    """
    host, port = _host(url), _port(url)
    with Deadline(_TIMEOUT_S):
        try:
            addresses = resolve_allowed("the host", host, port, allowed, encrypted=url.scheme != "http")
        except OSError as error:
            raise SystemUnavailable(host, f"the name does not resolve: {error.strerror or error}") from error
    try:
        return connect(addresses, port, _TIMEOUT_S)
    except OSError as error:
        raise SystemUnavailable(
            host, f"port {port} does not answer: {error.strerror or type(error).__name__}"
        ) from error


def _host(url: SplitResult) -> str:
    return url.hostname or ""


def _port(url: SplitResult) -> int:
    return url.port or _PORTS[url.scheme]
