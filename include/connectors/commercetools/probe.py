"""What a test of a commercetools connection asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import requests

from include.connectors.commercetools.client import Commercetools
from include.connectors.http import HttpClient
from include.connectors.oauth import ClientCredentials
from include.model.calls import Limits
from include.model.errors import BadRequest, SystemRefused
from include.model.integration import Connection
from include.model.reading import Axis, Range

#: Somebody waits: one attempt, and not for long.
_QUICK = Limits(timeout_s=8.0, connect_timeout_s=4.0, attempts=1)
#: What the syncs read.
_RESOURCES = ("inventory", "product-projections", "orders")


class CommercetoolsProbe:
    """
    One project, asked what a sync will ask.

    Raises:
        BadRequest: the connection has no host, project, id or secret.

    """

    def __init__(self, connection: Connection) -> None:
        extra: Mapping[str, Any] = connection.extra
        needed = {
            "host": connection.host,
            "login": connection.login,
            "password": connection.password,
            "extra.project": extra.get("project"),
        }
        missing = [name for name, value in needed.items() if not value]
        if missing:
            raise BadRequest(f"The connection {connection.connection_id!r} has no {', '.join(missing)}")
        self.url = str(connection.host)
        project = str(extra["project"])
        auth_url = str(extra.get("auth_url") or self.url)
        ca_file = extra.get("ca_file")
        self._auth = ClientCredentials(
            HttpClient(Commercetools.name, auth_url, limits=_QUICK, ca_file=ca_file),
            str(extra.get("token_path") or "/oauth/token"),
            client_id=str(connection.login),
            secret=str(connection.password),
            scope=str(extra.get("scope") or f"view_products:{project}"),
        )
        self._source = Commercetools(self.url, project, auth=self._auth, limits=_QUICK, ca_file=ca_file)
        self._scope_refusal: SystemRefused | None = None
        self._records = 0

    def credentials(self) -> str:
        try:
            self._auth(requests.Request("GET", self.url).prepare())
        except SystemRefused as refused:
            if "scope" not in refused.said.lower():
                raise
            # The platform knows us and will not give us what we ask for: that is the next question.
            self._scope_refusal = refused
            return "the platform knows the client"
        return "the platform gave a token"

    def scope(self) -> str:
        if self._scope_refusal is not None:
            raise self._scope_refusal
        for resource in _RESOURCES:
            found = self._source.survey(resource, None)
            if resource == _RESOURCES[0]:
                self._records = found.records
        return f"may read {', '.join(_RESOURCES)}"

    def sample(self) -> str:
        page = self._source.page(_RESOURCES[0], Range(range_no=0, axis=Axis.ID), None, limit=1)
        records = msgspec.json.decode(page.body)["results"]
        if not records:
            return f"the project has no {_RESOURCES[0]} yet"
        return f"read one of {self._records:,} {_RESOURCES[0]} records: {len(records[0])} fields"
