"""The connection test of HubSpot."""

from __future__ import annotations

from crossdock.connectors.hubspot.client import CONTACTS, HubSpot, batch_of
from crossdock.connectors.hubspot.customers import CUSTOMERS
from crossdock.core.errors import SystemRefused
from crossdock.http.connection import Connection
from crossdock.http.model import Limits
from crossdock.http.response import HttpResponse
from crossdock.sync.source import Axis, Range

#: A person is waiting: one attempt with short timeouts.
_QUICK = Limits(timeout_s=8.0, connect_timeout_s=4.0, attempts=1)
_PROPERTIES = "/crm/v3/properties/contacts"
#: A key that no customer has.
_NOBODY = "nobody@crossdock.invalid"


class HubSpotConnectionTest:
    """
    Test one account with the requests that syncs and actions make.

    Raises:
        BadRequest: the connection has no host or token.

    """

    def __init__(self, connection: Connection) -> None:
        self._crm = HubSpot.of(connection, limits=_QUICK)
        self.url = connection.url

    def credentials(self) -> str:
        try:
            self._crm.http.get(CONTACTS, {"limit": 1}, lambda _: None)
        except SystemRefused as refused:
            if refused.status == 401:  # noqa: PLR2004  unauthorised
                raise
            # The account accepts the token, which may not read contacts: the check `scope` reports it.
        return "the account accepts the token"

    def scope(self) -> str:
        found = self._crm.describe(CUSTOMERS.resource, None)
        self._find_by_key()
        checked = [f"may read contacts, and find one by {self._crm.key_property}"]
        if name := self._crm.standing.property:
            self._crm.http.get(f"{_PROPERTIES}/{name}", {}, _require_values)
            checked.append(f"{name} says who may order")
        return f"{'; '.join(checked)} ({found.records:,} contacts)"

    def sample(self) -> str:
        page = self._crm.page(CUSTOMERS.resource, Range(range_no=0, axis=Axis.ID), None, limit=1)
        return "read one contact" if page.records else "the account has no contacts yet"

    def _find_by_key(self) -> None:
        """Find nobody: the vendor refuses a property whose values are not unique."""
        document = batch_of([_NOBODY], self._crm.key_property, ["email"])
        self._crm.http.post_json(f"{CONTACTS}/batch/read", document, lambda _: None)


def _require_values(response: HttpResponse) -> None:
    if b'"name"' not in response.body:
        raise response.invalid("does not describe a property")
