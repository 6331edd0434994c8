"""The configuration of a system's HTTP client, read from its Airflow connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from crossdock.core.decoding import prepare
from crossdock.core.errors import BadRequest
from crossdock.http.connection import Connection
from crossdock.http.model import CallPolicy, Limits, Safeguards
from crossdock.http.response import HttpResponse
from crossdock.http.retries import RetryBudget
from crossdock.http.ssrf_guard import AllowedNetworks, Resolver
from crossdock.http.transport import Tls

prepare(CallPolicy)

#: Path and query → a response from another source, while the circuit breaker is open.
Fallback = Callable[[str, Mapping[str, Any]], HttpResponse]

#: The policy of a connection → the safeguards that its workers share. Called once, inside a task.
SafeguardsFactory = Callable[[CallPolicy], Safeguards]


class ClientConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The rules for calling one system: time limits, TLS, allowed networks, shared safeguards."""

    limits: Limits = Limits()
    tls: Tls = Tls()
    #: None allows public addresses, and the loopback address that the base URL itself names.
    allowed_networks: AllowedNetworks | None = None
    safeguards: Safeguards = Safeguards()
    #: Shared by the clients of one integration in this process; None gives the client a budget of its own.
    budget: RetryBudget | None = None
    #: Maximum number of concurrent calls.
    in_flight: int = 8
    #: How names are resolved; None uses the operating system's resolver. Tests pass their own.
    resolve: Resolver | None = None

    def for_token_requests(self) -> ClientConfig:
        """
        Derive the configuration for the token endpoint: one attempt, no rate limit and no circuit breaker.

        A token is fetched within a call that is retried as a whole, and retries must not multiply. A failed token
        request fails that call, and the breaker counts it there.
        """
        once = msgspec.structs.replace(self.limits, attempts=1)
        return msgspec.structs.replace(self, limits=once, safeguards=Safeguards(), budget=None)


def client_config_of(
    connection: Connection, share: SafeguardsFactory | None = None, *, declared: CallPolicy | None = None
) -> ClientConfig:
    """
    Read from *connection* how its host is called.

    Its extra may contain `calls` (a `CallPolicy`: `{"rate": {"calls": 300, "per_s": 60}, "limits": {"timeout_s": 9}}`),
    `allow_private`, `allowed_networks`, and `ca_file`, `cert_file`, `key_file`, `key_password`.

    Args:
        connection: The system's Airflow connection.
        share: Makes the safeguards that the workers share; None shares nothing, as in a connection test.
        declared: The policy for everything that the extra does not set.

    Raises:
        BadRequest: the extra contains an invalid value; the message says where.

    """
    policy = policy_of(connection, declared)
    return ClientConfig(
        limits=policy.limits,
        tls=_tls(connection.extra),
        allowed_networks=AllowedNetworks.from_extra(connection.extra),
        safeguards=share(policy) if share else Safeguards(),
        budget=RetryBudget(share=policy.retry_share, reserve=policy.retry_reserve),
        in_flight=policy.in_flight,
    )


def policy_of(connection: Connection, declared: CallPolicy | None = None) -> CallPolicy:
    """
    Merge `calls` of the extra over *declared*.

    Raises:
        BadRequest: `calls` is not a valid policy; the message says where.

    """
    known = msgspec.to_builtins(declared or CallPolicy())
    try:
        return msgspec.convert(_merged(known, connection.extra.get("calls", {})), CallPolicy)
    except (msgspec.ValidationError, ValueError) as error:
        raise BadRequest(f"calls in the extra of the connection {connection.connection_id!r}: {error}") from error


def _merged(known: Any, given: Any) -> Any:
    """Merge *given* over *known*, object by object."""
    if not (isinstance(known, dict) and isinstance(given, dict)):
        return given
    return {**known, **{name: _merged(known.get(name), value) for name, value in given.items()}}


def _tls(extra: Mapping[str, Any]) -> Tls:
    names = ("ca_file", "cert_file", "key_file", "key_password")
    return Tls(**{name: str(extra[name]) for name in names if extra.get(name)})
