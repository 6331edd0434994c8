"""The connection test of commercetools."""

from __future__ import annotations

import msgspec

from crossdock.connectors.commercetools.client import KIND, Commercetools
from crossdock.core.errors import SystemRefused
from crossdock.http.connection import Connection
from crossdock.http.model import Limits
from crossdock.integrations.manifests import manifests
from crossdock.sync.source import Axis, Range

#: A person is waiting: one attempt with short timeouts.
_QUICK = Limits(timeout_s=8.0, connect_timeout_s=4.0, attempts=1)


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
        resources = self._resources()
        for resource in resources:
            found = self._source.describe(resource, None)
            if resource == resources[0]:
                self._records = found.records or 0
        return f"may read {', '.join(resources)}"

    def sample(self) -> str:
        pages = [
            self._source.page(resource, Range(range_no=0, axis=Axis.ID), None, limit=1)
            for resource in self._resources()
        ]
        first, records = self._resources()[0], msgspec.json.decode(pages[0].body)["results"]
        if not records:
            return f"the project has no {first} yet"
        return f"read one of {self._records:,} {first} records: {len(records[0])} fields"

    @staticmethod
    def _resources() -> list[str]:
        """List the resources that the syncs read."""
        return [stream.resource for stream in manifests()[KIND].streams]
