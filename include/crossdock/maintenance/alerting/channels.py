"""Open the channel of an integration, from the registry and its connection alone."""

from __future__ import annotations

from collections.abc import Callable

from crossdock.core.errors import BadRequest, NotFound
from crossdock.db.database import Store
from crossdock.http.connection import Connection
from crossdock.integrations.manifests import manifests
from crossdock.integrations.registered import find_active, refuse_moved
from crossdock.maintenance.alerting.ports import AlertChannel
from crossdock.maintenance.alerting.routes import Route

CAPABILITY = "alert_channel"

#: The ID of an Airflow connection → the connection.
ReadConnection = Callable[[str], Connection]
#: The ID of an integration → its channel.
OpenChannel = Callable[[str], AlertChannel]


def open_channel(store: Store, read_connection: ReadConnection, integration: str) -> AlertChannel:
    """
    Open the channel of *integration*. It shares no rate limit and no circuit breaker: the sender has its own order and waits.

    Raises:
        NotFound: there is no such integration, or it has no connection.
        IntegrationPaused: somebody paused it.
        BadRequest: it sends no alerts, or its connection lacks a value, or would send its credentials elsewhere than they
            were given for.

    """
    found = find_active(store, integration)
    if found is None:
        raise NotFound(f"There is no integration {integration!r} that could send alerts")
    manifest = manifests().get(found.kind)
    if manifest is None or CAPABILITY not in manifest.provides:
        able = ", ".join(kind for kind, each in manifests().items() if CAPABILITY in each.provides)
        raise BadRequest(
            f"{integration} is of the kind {found.kind}, which sends no alerts. Kinds that do: {able or 'none'}"
        )
    connection = read_connection(found.connection_id)
    refuse_moved(found, manifest, connection)
    channel: AlertChannel = manifest.provided(CAPABILITY).of(integration, connection, None)
    return channel


def check_route(route: Route, channel: AlertChannel) -> None:
    """
    Check that *channel* can send to the recipients of *route*.

    Raises:
        BadRequest: a recipient is missing, not valid, or of no use.

    """
    if channel.takes_recipients and not route.recipients:
        raise BadRequest(
            f"The route {route.name} has no recipients, and {route.integration} sends to addresses. Name one"
        )
    if route.recipients and not channel.takes_recipients:
        raise BadRequest(
            f"The route {route.name} has recipients, but the connection of {route.integration} says where its messages go. "
            "Leave them out"
        )
    for recipient in route.recipients:
        channel.check_recipient(recipient)
