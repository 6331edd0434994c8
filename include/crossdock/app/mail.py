"""Mails as an installation has configured them: who sends, over which integrations, from which template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from email.utils import parseaddr
from typing import Any

from crossdock.commerce.mail import service, templates
from crossdock.commerce.mail.model import Mail, Mailbox, MailRecord
from crossdock.commerce.mail.service import OnSent
from crossdock.core.errors import Conflict
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.integrations.actions.ports import OpenClient


def sender() -> Mailbox:
    """
    Read who sends the hub's mails.

    Raises:
        Conflict: HUB_MAIL_FROM is not set, or has no address.

    """
    name, address = parseaddr(settings().mail_from)
    if not address:
        raise Conflict("Set HUB_MAIL_FROM to who sends the hub's mails, such as: The Shop <orders@shop.example>")
    return Mailbox(address, name or None)


def mailers(store: Store) -> list[str]:
    """
    List the integrations that send mails, in the order in which they are asked.

    Raises:
        NotFound: HUB_MAILERS names one that is not there, or sends no mails.

    """
    return service.mailers(store, settings().mailer_ids)


def send(
    store: Store,
    open_client: OpenClient,
    kind: str,
    business_key: str,
    *,
    to: Mailbox,
    values: Mapping[str, Any],
    actor: str,
    by: Sequence[str] | None = None,
    on_sent: OnSent = lambda _work, _record: None,
) -> MailRecord:
    """
    Send the mail of a *kind* for *business_key*, written from its template with *values*; at most one, ever.

    Args:
        store: The hub's database, without an open transaction.
        open_client: Opens the mailers' clients.
        kind: The kind, which names the templates.
        business_key: What the mail is about: an order's ID.
        to: The recipient.
        values: What the templates use.
        actor: Who sends it, for the audit trail.
        by: The integrations that are asked; None for the configured ones.
        on_sent: As of `service.send`.

    Raises:
        NotFound: there are no templates of the kind, or no integration of a name in *by* sends mails.
        Conflict: nothing says who sends, or no integration sends mails.
        BadRequest, InputInvalid: a value or an address is not valid.
        Transient: another process is sending it now.

    """
    content = templates.render(kind, values)
    mail = Mail(business_key=business_key, kind=kind, sender=sender(), to=to, content=content)
    order = mailers(store) if by is None else service.mailers(store, by)
    return service.send(store, open_client, mail, by=order, actor=actor, on_sent=on_sent)
