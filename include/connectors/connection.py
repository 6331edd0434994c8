"""An Airflow connection as what the one client needs: where, as whom, under which conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from include.connectors.addresses import AddressRules
from include.connectors.conditions import Conditions
from include.connectors.retries import RetryBudget
from include.connectors.transport import Tls
from include.model.calls import CallPolicy, Safeguards
from include.model.errors import BadRequest

#: Given the policy of a connection: what its workers share. Called once, inside a task.
Share = Callable[[CallPolicy], Safeguards]


@dataclass(frozen=True, kw_only=True)
class Connection:
    """
    An Airflow connection of type `http`.

    Its extra may hold, besides what a connector asks for:
    `calls` (as `CallPolicy`: `{"rate": {"calls": 300, "per_s": 60}, "limits": {"timeout_s": 10}}`),
    `allow_private`, `allowed_networks`, and `ca_file`, `cert_file`, `key_file`, `key_password`.
    """

    conn_id: str
    #: With scheme and port, without a trailing slash; empty where there is none.
    url: str
    login: str
    password: str = field(repr=False)
    extra: dict[str, Any] = field(repr=False)

    @classmethod
    def read(cls, conn_id: str) -> Connection:
        """The connection as Airflow has it. Call it inside a task."""
        from airflow.providers.http.hooks.http import HttpHook  # noqa: PLC0415  seconds to import

        found = HttpHook.get_connection(conn_id)
        host, port = str(found.host or "").rstrip("/"), found.port
        if host and "://" not in host:  # as a connection in the form of a URI has it
            host = f"{found.schema or 'https'}://{host}"
        return cls(
            conn_id=conn_id,
            url=f"{host}:{port}" if host and port else host,
            login=str(found.login or ""),
            password=str(found.password or ""),
            extra=found.extra_dejson,
        )

    def require(self, **fields: Any) -> None:
        """
        Raises:
            BadRequest: some of *fields* are empty; all of them are named.

        """
        if missing := [name.replace("__", ".") for name, value in fields.items() if not value]:
            raise BadRequest(
                f"The Airflow connection {self.conn_id!r} has no {', '.join(missing)}: set it under Admin → Connections"
            )

    def text(self, name: str, default: str = "") -> str:
        """What the extra holds under *name*."""
        return str(self.extra.get(name) or default)

    def policy(self) -> CallPolicy:
        """
        Raises:
            BadRequest: `calls` in the extra is no policy; the message says where.

        """
        try:
            return msgspec.convert(self.extra.get("calls", {}), CallPolicy)
        except (msgspec.ValidationError, ValueError) as error:
            raise BadRequest(f"calls in the extra of the connection {self.conn_id!r}: {error}") from error

    def conditions(self, share: Share | None = None) -> Conditions:
        """Under which conditions its host is called; *share* gives what the workers share."""
        policy = self.policy()
        return Conditions(
            limits=policy.limits,
            tls=_tls(self.extra),
            addresses=AddressRules.of(self.extra),
            safeguards=share(policy) if share else Safeguards(),
            budget=RetryBudget(share=policy.retry_share, reserve=policy.retry_reserve),
            in_flight=policy.in_flight,
        )


def _tls(extra: Mapping[str, Any]) -> Tls:
    names = ("ca_file", "cert_file", "key_file", "key_password")
    return Tls(**{name: str(extra[name]) for name in names if extra.get(name)})
