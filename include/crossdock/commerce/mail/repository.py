"""The table of mails."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import psycopg
from psycopg.rows import kwargs_row
from psycopg.types.json import Jsonb

from crossdock.commerce.mail.events import MailFact
from crossdock.commerce.mail.model import Claim, Mail, MailRecord, MailState
from crossdock.core.decoding import prepare
from crossdock.core.errors import NotFound
from crossdock.db.database import Work

prepare(MailRecord, Claim)

#: A process that was killed leaves its row in `sending`. It reads as unknown once its call would have ended.
_COLUMNS = b"""mail_id, business_key, kind, recipient, mailer, provider_id, reason, created_at, changed_at,
       CASE WHEN state = 'sending' AND claimed_until < clock_timestamp() THEN 'unknown' ELSE state END AS state"""

#: The first that writes a mail decides what is in it.
_ADD = b"""
INSERT INTO mail (business_key, kind, state, recipient, message)
VALUES (%(business_key)s, %(kind)s, 'open', %(recipient)s, %(message)s)
ON CONFLICT (business_key, kind) DO NOTHING
"""

_LOCK = b"""
SELECT mail_id, state, claimed_until < clock_timestamp() AS ran_out, message IS NULL AS is_forgotten FROM mail
 WHERE business_key = %(business_key)s AND kind = %(kind)s FOR UPDATE
"""

#: One process at a time asks mailers. Who finds a claim that ran out takes it over, and pins the mailer that was asked: the
#: process before may be asleep just before its call, and a second mailer would be a second mail.
_CLAIM = b"""
UPDATE mail
   SET state = 'sending', claim = claim + 1, claimed_until = clock_timestamp() + %(life)s, changed_at = clock_timestamp(),
       pinned = pinned OR state = 'sending' AND mailer IS NOT NULL,
       mailer = CASE WHEN pinned OR state IN ('sending', 'unknown') THEN mailer END
 WHERE mail_id = %(mail_id)s
RETURNING mail_id, claim AS number, message, pinned, mailer AS first
"""

#: Before each call: whose claim was taken over must not ask the next mailer.
_ASK = b"""
UPDATE mail SET mailer = %(mailer)s, claimed_until = clock_timestamp() + %(life)s, changed_at = clock_timestamp()
 WHERE mail_id = %(mail_id)s AND claim = %(number)s AND state = 'sending'
"""

#: Sent outweighs whatever another claim has found: the mail is out.
_END = b"""
UPDATE mail
   SET state = %(state)s, provider_id = %(provider_id)s, reason = %(reason)s, changed_at = clock_timestamp(),
       mailer = CASE WHEN %(state)s = 'sent' THEN %(mailer)s ELSE mailer END,
       message = CASE WHEN %(state)s <> 'sent' THEN message END
 WHERE mail_id = %(mail_id)s AND state <> 'sent' AND (claim = %(number)s OR %(state)s = 'sent')
"""

#: Whatever a mailer says of a mail, it had accepted it. It counts if that mailer was asked last, and of the mail that it named
#: then. A problem replaces what the mailers before had against the mail; what changes nothing writes nothing.
_REPORT = b"""
UPDATE mail
   SET state = 'sent', message = NULL, provider_id = coalesce(provider_id, %(provider_id)s), reason = %(problem)s,
       changed_at = clock_timestamp()
 WHERE business_key = %(business_key)s AND kind = %(kind)s AND mailer = %(mailer)s
   AND (provider_id IS NULL OR %(provider_id)s::text IS NULL OR provider_id = %(provider_id)s)
   AND (state <> 'sent' OR %(problem)s::text IS NOT NULL AND reason IS DISTINCT FROM %(problem)s)
"""

_FIND = b"SELECT " + _COLUMNS + b" FROM mail WHERE business_key = %(business_key)s AND kind = %(kind)s"

_GET = b"SELECT " + _COLUMNS + b" FROM mail WHERE mail_id = %(mail_id)s"

#: Newest first, by the order in which they were written.
_PAGE = (
    b"SELECT * FROM (SELECT "
    + _COLUMNS
    + b""" FROM mail WHERE %(before)s::bigint IS NULL OR mail_id < %(before)s::bigint) AS found
 WHERE (%(state)s::text IS NULL OR state = %(state)s) AND (%(kind)s::text IS NULL OR kind = %(kind)s)
 ORDER BY mail_id DESC LIMIT %(limit)s"""
)


def add(work: Work, mail: Mail) -> None:
    """Write *mail*, unless there is one of its kind for its business key."""
    values = {
        "business_key": mail.business_key,
        "kind": mail.kind,
        "recipient": mail.to.address,
        "message": Jsonb(mail.as_input()),
    }
    work.execute(_ADD, values)


def claim(work: Work, business_key: str, kind: str, *, life: timedelta) -> Claim | None:
    """Claim the mail of a kind for a business key for this process; None if nothing is kept to send, or another process is at it."""
    found = work.execute(_LOCK, {"business_key": business_key, "kind": kind}).fetchone()
    if found is None:
        return None
    mail_id, state, ran_out, is_forgotten = found
    if is_forgotten or (state == MailState.SENDING and not ran_out):
        return None
    values = {"mail_id": mail_id, "life": life}
    return work.cursor(row_factory=kwargs_row(_claim)).execute(_CLAIM, values).fetchone()


def ask(work: Work, claimed: Claim, mailer: str, *, life: timedelta) -> bool:
    """Note that *mailer* is asked next; false if another process has taken the claim over."""
    values = {"mail_id": claimed.mail_id, "number": claimed.number, "mailer": mailer, "life": life}
    return work.execute(_ASK, values).rowcount == 1


def end(
    work: Work,
    claimed: Claim,
    state: MailState,
    *,
    mailer: str | None,
    provider_id: str | None = None,
    reason: str | None = None,
) -> None:
    """Record what became of a mail, unless another process has taken the claim over and this says nothing final."""
    values: Mapping[str, Any] = {
        "mail_id": claimed.mail_id,
        "number": claimed.number,
        "state": state,
        "mailer": mailer,
        "provider_id": provider_id,
        "reason": reason,
    }
    work.execute(_END, values)


def report(work: Work, fact: MailFact) -> bool:
    """Record what a mailer says about a mail; false if that is nothing new, or the mail is not one that it was asked for last."""
    values = {
        "business_key": fact.business_key,
        "kind": fact.kind,
        "mailer": fact.mailer,
        "provider_id": fact.provider_id,
        "problem": _problem(fact) if fact.happened.is_problem else None,
    }
    return work.execute(_REPORT, values).rowcount == 1


def find(work: Work, business_key: str, kind: str) -> MailRecord | None:
    """Find the mail of a kind for a business key; None if there is none."""
    return _mails(work).execute(_FIND, {"business_key": business_key, "kind": kind}).fetchone()


def get(work: Work, mail_id: int) -> MailRecord:
    """
    Read the mail.

    Raises:
        NotFound: no mail has that ID.

    """
    found = _mails(work).execute(_GET, {"mail_id": mail_id}).fetchone()
    if found is None:
        raise NotFound(f"There is no mail {mail_id}")
    return found


def page(
    work: Work,
    *,
    state: MailState | None = None,
    kind: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[MailRecord]:
    """List mails, newest first: at most *limit* that were written before the mail *before*."""
    values = {"state": state, "kind": kind, "before": before, "limit": limit}
    return _mails(work).execute(_PAGE, values).fetchall()


def _problem(fact: MailFact) -> str:
    what = fact.happened.replace("_", " ")
    return f"{fact.mailer}: {what} ({fact.code})" if fact.code else f"{fact.mailer}: {what}"


def _mails(work: Work) -> psycopg.Cursor[MailRecord]:
    """Open a cursor whose rows are mails: each column is the field of its name."""
    return work.cursor(row_factory=kwargs_row(_mail))


def _mail(**fields: Any) -> MailRecord:
    return msgspec.convert(fields, MailRecord)


def _claim(**fields: Any) -> Claim:
    return msgspec.convert(fields, Claim)
