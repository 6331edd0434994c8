"""
A test of a connection, as named checks: address, TLS, credentials, scope, one sample record.

Each says what was found and, when it failed, what a person can do. After a failure the later ones are skipped: they
would only fail for the same reason.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from urllib.parse import SplitResult, urlsplit

from crossdock.core.errors import AddressRefused, HubError, SystemUnavailable
from crossdock.http.deadline import Deadline
from crossdock.http.policy import conditions_of
from crossdock.http.ssrf_guard import AddressRules, resolved
from crossdock.http.transport import Tls, connect
from crossdock.integrations.manifests import Kind
from crossdock.integrations.model import Check, Connection, Outcome, Probe

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
    conditions = conditions_of(connection)
    return run(kind.probe(connection), addresses=conditions.addresses, tls=conditions.tls)


def run(probe: Probe, *, addresses: AddressRules | None = None, tls: Tls | None = None) -> tuple[Check, ...]:
    """Every check of *probe*, in order, under the rules by which it is called itself."""
    url = urlsplit(probe.url)
    questions: dict[str, Callable[[], str]] = {
        "address": lambda: _address(url, addresses or AddressRules()),
        "tls": lambda: _tls(url, addresses or AddressRules(), tls or Tls()),
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
            yield Check(name=name, outcome=Outcome.SKIPPED, duration_ms=0, message="an earlier check failed")
            continue
        began = time.monotonic()
        outcome, hint = Outcome.OK, None
        try:
            message = ask()
        except Skipped as error:
            outcome, message = Outcome.SKIPPED, str(error)
        except HubError as error:
            failed, outcome, message = True, Outcome.FAILED, str(error)
            hint = _hint(name, error)
        duration_ms = round((time.monotonic() - began) * 1000)
        yield Check(name=name, outcome=outcome, duration_ms=duration_ms, message=message, hint=hint)


def _hint(name: str, error: HubError) -> str:
    match error:
        case AddressRefused(network=str(network)):
            return f'If that network is meant, set allowed_networks to ["{network}"]; else look at the URL'
        case AddressRefused():
            return "Write the URL with https"
        case _ if _is_passing(error):
            return _BUSY
    return HINTS[name]


def _is_passing(error: HubError) -> bool:
    return isinstance(error, SystemUnavailable) and "answered HTTP" in str(error)


def _address(url: SplitResult, rules: AddressRules) -> str:
    host, port = _host(url), _port(url)
    with _connected(url, rules):
        return f"{host} answers on port {port}"


def _tls(url: SplitResult, rules: AddressRules, tls: Tls) -> str:
    host = _host(url)
    if url.scheme != "https":
        raise Skipped("plain http: there is no certificate to look at")
    context = tls.context(host)
    try:
        with _connected(url, rules) as plain, context.wrap_socket(plain, server_hostname=host) as secure:
            return f"{secure.version()}, certified for {host}"
    except OSError as error:
        said = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else type(error).__name__
        raise SystemUnavailable(host, f"TLS failed: {said}") from error


def _connected(url: SplitResult, rules: AddressRules) -> socket.socket:
    """
    A connection to the host, at an address that was judged: not a name that is resolved a second time.

    Raises:
        AddressRefused: the name leads where *rules* do not allow.
        SystemUnavailable: there is no such name, or nobody answers.

    """
    host, port = _host(url), _port(url)
    with Deadline(_TIMEOUT_S):
        try:
            addresses = resolved("the host", host, port, rules, encrypted=url.scheme == "https")
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
    return url.port or (443 if url.scheme == "https" else 80)
