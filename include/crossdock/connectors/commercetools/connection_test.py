"""The connection test of commercetools."""

from __future__ import annotations

import msgspec

from crossdock.connectors.commercetools.client import Commercetools
from crossdock.core.errors import SystemRefused
from crossdock.http.connection import Connection
from crossdock.http.model import Limits
from crossdock.sync.source import Axis, Range

#: A person is waiting: one attempt with short timeouts.
_QUICK = Limits(timeout_s=8.0, connect_timeout_s=4.0, attempts=1)
#: The resources that the syncs read.
_RESOURCES = ("inventory", "product-projections", "orders")


class CommercetoolsConnectionTest:
    """
    Test one project with the requests that a sync makes.

    Raises:
        BadRequest: the connection has no host, project, ID or secret.

    """

    def __init__(self, connection: Connection) -> None:
        self._source = Commercetools.of(connection, limits=_QUICK)
        self.url = connection.url
        self._scope_refusal: SystemRefused | None = None
        self._records = 0

    def credentials(self) -> str:
        try:
            self._source.sign_in()
        except SystemRefused as refused:
            if "scope" not in refused.message.lower():
                raise
            # The platform accepts the client but refuses the scope: the check `scope` reports it.
            self._scope_refusal = refused
            return "the platform accepts the client"
        return "the platform issued a token"

    def scope(self) -> str:
        if self._scope_refusal is not None:
            raise self._scope_refusal
        for resource in _RESOURCES:
            found = self._source.describe(resource, None)
            if resource == _RESOURCES[0]:
                self._records = found.records
        return f"may read {', '.join(_RESOURCES)}"

    def sample(self) -> str:
        page = self._source.page(_RESOURCES[0], Range(range_no=0, axis=Axis.ID), None, limit=1)
        records = msgspec.json.decode(page.body)["results"]
        if not records:
            return f"the project has no {_RESOURCES[0]} yet"
        return f"read one of {self._records:,} {_RESOURCES[0]} records: {len(records[0])} fields"
