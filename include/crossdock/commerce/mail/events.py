"""What a mail system says became of a mail that it had accepted."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from crossdock.events.event_type import EventType


class MailFactKind(StrEnum):
    """What happened. Each says that the mailer had accepted the mail; none says that somebody read it."""

    ACCEPTED = "accepted"
    #: The recipient's server took it not yet; the mailer tries again.
    DEFERRED = "deferred"
    #: The recipient's server has accepted it. It may still bounce.
    DELIVERED = "delivered"
    #: The recipient's server refused it for good.
    BOUNCED = "bounced"
    #: The mailer did not try: an earlier mail to the recipient bounced, or was unwanted.
    DROPPED = "dropped"
    REPORTED_AS_SPAM = "reported_as_spam"

    @property
    def is_problem(self) -> bool:
        """Whether the recipient does not have the mail, or does not want it."""
        return self in (MailFactKind.BOUNCED, MailFactKind.DROPPED, MailFactKind.REPORTED_AS_SPAM)


class MailFact(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a mail system said about one mail. The recipient's address is not in it."""

    #: The integration that said it.
    mailer: str
    #: Which mail: there is one of its kind for a business key.
    business_key: str
    kind: str
    happened: MailFactKind
    occurred_at: datetime
    #: The mail system's own ID of the mail, as the answer to its acceptance has it; None if it does not say it.
    provider_id: str | None = None
    #: The mail system's own word for the reason of a problem, without addresses.
    code: str | None = None


MAIL_REPORTED = EventType("crossdock.mail.reported", MailFact, key="business_key")
