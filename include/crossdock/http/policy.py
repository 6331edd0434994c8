"""The conditions under which a system is called, and what its Airflow connection says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from crossdock.core.errors import BadRequest
from crossdock.http.model import CallPolicy, Limits, Safeguards
from crossdock.http.response import Answer
from crossdock.http.retries import RetryBudget
from crossdock.http.ssrf_guard import AddressRules, Resolver
from crossdock.http.transport import Tls
from crossdock.integrations.model import Connection

#: A path and its query → an answer from elsewhere, for when the breaker is open.
Fallback = Callable[[str, Mapping[str, Any]], Answer]

#: Given the policy of a connection: what its workers share. Called once, inside a task.
Share = Callable[[CallPolicy], Safeguards]


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """How a system is called: how long, whither, trusting whom, sharing what."""

    limits: Limits = Limits()
    tls: Tls = Tls()
    #: None for public addresses, and the loopback address that the base URL itself names.
    addresses: AddressRules | None = None
    safeguards: Safeguards = Safeguards()
    #: Shared by the clients of one integration in this process; None for a budget of the client's own.
    budget: RetryBudget | None = None
    #: Calls at once.
    in_flight: int = 8
    #: How names are resolved; None for the system's way. Tests have their own.
    resolve: Resolver | None = None

    def for_tokens(self) -> Conditions:
        """
        Those of the host that gives the tokens: one attempt, and no turn or breaker of its own.

        A token is fetched within a call that is tried again as a whole, and retries must not multiply; its failure is
        that call's, for which the breaker counts it.
        """
        once = msgspec.structs.replace(self.limits, attempts=1)
        return msgspec.structs.replace(self, limits=once, safeguards=Safeguards(), budget=None)


def conditions_of(
    connection: Connection, share: Share | None = None, *, declared: CallPolicy | None = None
) -> Conditions:
    """
    Under which conditions the host of *connection* is called.

    Its extra may hold `calls` (as `CallPolicy`: `{"rate": {"calls": 300, "per_s": 60}, "limits": {"timeout_s": 10}}`),
    `allow_private`, `allowed_networks`, and `ca_file`, `cert_file`, `key_file`, `key_password`.

    Args:
        connection: Whose host.
        share: Gives what the workers share; None where nothing is, as in a test of the connection.
        declared: What holds where the extra says nothing else.

    Raises:
        BadRequest: the extra says something that is none of these; the message says where.

    """
    policy = policy_of(connection, declared)
    return Conditions(
        limits=policy.limits,
        tls=_tls(connection.extra),
        addresses=AddressRules.of(connection.extra),
        safeguards=share(policy) if share else Safeguards(),
        budget=RetryBudget(share=policy.retry_share, reserve=policy.retry_reserve),
        in_flight=policy.in_flight,
    )


def policy_of(connection: Connection, declared: CallPolicy | None = None) -> CallPolicy:
    """
    What `calls` in the extra says, over *declared*.

    Raises:
        BadRequest: it is no policy; the message says where.

    """
    known = msgspec.to_builtins(declared or CallPolicy())
    try:
        return msgspec.convert(_over(known, connection.extra.get("calls", {})), CallPolicy)
    except (msgspec.ValidationError, ValueError) as error:
        raise BadRequest(f"calls in the extra of the connection {connection.connection_id!r}: {error}") from error


def _over(known: Any, said: Any) -> Any:
    """*said*, and where it says nothing *known*; object by object."""
    if not (isinstance(known, dict) and isinstance(said, dict)):
        return said
    return {**known, **{name: _over(known.get(name), value) for name, value in said.items()}}


def _tls(extra: Mapping[str, Any]) -> Tls:
    names = ("ca_file", "cert_file", "key_file", "key_password")
    return Tls(**{name: str(extra[name]) for name in names if extra.get(name)})
