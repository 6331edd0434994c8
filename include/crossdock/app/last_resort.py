"""The channel that needs nothing of the hub: it comes from a setting, not from the registry or Airflow's connections."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from crossdock.core.errors import BadRequest
from crossdock.http.connection import Connection
from crossdock.integrations.manifests import manifests
from crossdock.maintenance.alerting.model import AlertMessage
from crossdock.maintenance.alerting.ports import AlertChannel

_NAME = "last_resort"
#: Scheme → the kind of integration that sends.
_KINDS = {"https": "signed_webhook", "http": "signed_webhook", "smtp": "smtp_relay", "smtps": "smtp_relay"}
_EXPECTED = "Expected https://whsec_…@host/path or smtps://user:password@host:465?to=ops@shop.example"


def last_resort(url: str) -> Callable[[AlertMessage], None] | None:
    """
    Open the last resort that *url* describes, and return what sends over it; None for an empty one.

    Raises:
        BadRequest: it is not valid; the message does not repeat it, because it has a secret.

    """
    if not url:
        return None
    connection, recipients = parsed(url)
    channel: AlertChannel = manifests()[connection.conn_type].provided("alert_channel").of(_NAME, connection, None)
    if channel.takes_recipients and not recipients:
        raise BadRequest(f"HUB_ALERT_LAST_RESORT names nobody to send to. {_EXPECTED}")
    for recipient in recipients:
        channel.check_recipient(recipient)
    return lambda message: channel.send(message, recipients)


def parsed(url: str) -> tuple[Connection, list[str]]:
    """
    Read *url* as a connection, and the recipients in it.

    Raises:
        BadRequest: as `last_resort`.

    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise BadRequest(f"HUB_ALERT_LAST_RESORT is not a URL. {_EXPECTED}") from None
    if parts.scheme not in _KINDS or not host:
        raise BadRequest(f"HUB_ALERT_LAST_RESORT is not a URL of a signed webhook or a mail server. {_EXPECTED}")
    login, password = (unquote(part) if part else None for part in (parts.username, parts.password))
    is_mail = _KINDS[parts.scheme] == "smtp_relay"
    if not is_mail and not login:
        # A secret with a slash that is not encoded ends the host, too.
        raise BadRequest(
            "HUB_ALERT_LAST_RESORT has no secret before its host. "
            f"In a URL, the / of a secret is %2F and its + is %2B. {_EXPECTED}"
        )
    query = parse_qs(parts.query) if is_mail else {}
    address = f"[{host}]" if ":" in host else host
    place = f"{parts.scheme}://{address}" + (f":{port}" if port else "") + ("" if is_mail else _path(parts))
    connection = Connection(
        connection_id=_NAME,
        conn_type=_KINDS[parts.scheme],
        host=place,
        login=login if is_mail else None,
        password=password if is_mail else login,
        # Whoever sets it operates the machine: a host of the private network is as good as any.
        extra={"allow_private": True, "allow_plain": parts.scheme == "smtp"},
    )
    return connection, query.get("to", [])


def _path(parts: SplitResult) -> str:
    return parts.path + (f"?{parts.query}" if parts.query else "")
