"""
Send mails: at most one for each business key and kind, ever, whichever mailer takes it.

The row of a mail is committed before the first call. The next mailer is asked only if the one before certainly did not
accept the mail. While nobody knows, nobody sends it again: the attempt log says what may be, and a person or the mail
system resolves it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from crossdock.commerce.mail import repository
from crossdock.commerce.mail.addresses import ascii_address
from crossdock.commerce.mail.model import Claim, Mail, MailRecord, MailState, effect_key
from crossdock.core.errors import Conflict, HubError, IntegrationPaused, NotFound, Transient
from crossdock.core.failpoints import failpoint
from crossdock.db.database import Store, StoreUnavailable, Work
from crossdock.integrations import repository as integrations
from crossdock.integrations.actions import service as actions
from crossdock.integrations.actions.model import Done, Ended, Failed, InputInvalid, Refused, Unknown
from crossdock.integrations.actions.ports import OpenClient
from crossdock.integrations.json_schema import errors_in
from crossdock.integrations.manifests import capability_contract, manifests
from crossdock.integrations.model import FieldError

#: Called in the transaction that records a mail as sent, for what belongs to it; also for one that was sent before.
OnSent = Callable[[Work, MailRecord], None]

CAPABILITY, ACTION = "mailer", "send_mail"
_CONTRACT = "crossdock.commerce.mail:mailer.json"
#: Longer than any call of a mailer takes, with its retries.
_CLAIM_LIFE = timedelta(minutes=15)


class NoMailer(Conflict):
    """No integration can send mails."""

    def __init__(self) -> None:
        super().__init__("No integration sends mails. Add one, such as SMTP, or name one that is there in HUB_MAILERS")


def mailers(store: Store, preferred: Sequence[str] = ()) -> list[str]:
    """
    List the integrations that send mails, in the order in which they are asked: the *preferred* ones, or all by their ID.

    Raises:
        NotFound: one of *preferred* is not there, or sends no mails.

    """
    with store.question() as work:
        kinds = {found.integration_id: found.kind for found in integrations.list_all(work)}
    able = sorted(name for name, kind in kinds.items() if kind in manifests() and _sends(kind))
    if wrong := [name for name in preferred if name not in able]:
        raise NotFound(
            f"{wrong[0]!r} is not an integration that sends mails. Those that do: {', '.join(able) or 'none'}"
        )
    return list(preferred) or able


def send(
    store: Store,
    open_client: OpenClient,
    mail: Mail,
    *,
    by: Sequence[str],
    actor: str,
    on_sent: OnSent = lambda _work, _record: None,
) -> MailRecord:
    """
    Send *mail*, unless one of its kind was sent for its business key; return what is known of it.

    What is sent is what the first call has written, also where a later one brings another text. May be called again at any
    time: a mail that is unknown is resolved where that can be done, and never sent twice.

    Args:
        store: The hub's database, without an open transaction.
        open_client: Opens the mailers' clients.
        mail: The mail.
        by: The integrations that are asked, in this order.
        actor: Who sends it, for the audit trail.
        on_sent: Runs in the transaction that records it as sent.

    Raises:
        NoMailer: *by* is empty.
        InputInvalid: the mail is not one that the contract of mailers allows.
        BadRequest: an address is not one that mail can be sent to.
        Transient: another process is sending it now.
        StoreUnavailable: the hub's database failed. Sending again is safe.

    """
    if not by:
        raise NoMailer
    _refuse_invalid(mail)
    with store.transaction() as work:
        repository.add(work, mail)
        claimed, known = _claimed(work, mail.business_key, mail.kind, on_sent, by=by)
    return _send_claimed(store, open_client, claimed, known, on_sent, by=by, actor=actor)


def resume(
    store: Store,
    open_client: OpenClient,
    mail_id: int,
    *,
    by: Sequence[str],
    actor: str,
    on_sent: OnSent = lambda _work, _record: None,
) -> MailRecord:
    """
    Go on with a mail that is not sent, with what was written for it; return what is known of it then.

    One whose outcome is unknown is not sent again before its attempt is resolved: then it is sent, or has been.

    Raises:
        NotFound: no mail has that ID.
        NoMailer, Transient, StoreUnavailable: as `send`.

    """
    if not by:
        raise NoMailer
    with store.transaction() as work:
        mail = repository.get(work, mail_id)
        claimed, known = _claimed(work, mail.business_key, mail.kind, on_sent, by=by)
    return _send_claimed(store, open_client, claimed, known, on_sent, by=by, actor=actor)


def _claimed(
    work: Work, business_key: str, kind: str, on_sent: OnSent, *, by: Sequence[str]
) -> tuple[Claim | None, MailRecord]:
    """Claim a mail that is written, and note which mailer is asked first; return also what is known of it."""
    claimed = repository.claim(work, business_key, kind, life=_CLAIM_LIFE)
    if claimed is not None:
        repository.ask(work, claimed, _order(claimed, by)[0], life=_CLAIM_LIFE)
    known = repository.find(work, business_key, kind)
    assert known is not None  # noqa: S101  it was written, or a conflict found it
    if known.state is MailState.SENT:
        on_sent(work, known)
    return claimed, known


def _send_claimed(
    store: Store,
    open_client: OpenClient,
    claimed: Claim | None,
    known: MailRecord,
    on_sent: OnSent,
    *,
    by: Sequence[str],
    actor: str,
) -> MailRecord:
    if claimed is None:
        # One that was refused long ago is final: what it said is no longer kept.
        if known.state not in (MailState.SENT, MailState.REFUSED):
            raise Transient(f"Another process is sending the mail {known.mail_id} now")
        return known
    failpoint("mail.claimed")
    key = effect_key(known.business_key, known.kind)
    return _ask_in_turn(store, open_client, claimed, key, on_sent, by=_order(claimed, by), actor=actor)


def _order(claimed: Claim, by: Sequence[str]) -> list[str]:
    """Put the mailer first that may have the mail already; after an interruption, ask no other."""
    if claimed.first is None:
        return list(by)
    return [claimed.first, *(name for name in by if name != claimed.first and not claimed.pinned)]


def _ask_in_turn(
    store: Store,
    open_client: OpenClient,
    claimed: Claim,
    key: str,
    on_sent: OnSent,
    *,
    by: Sequence[str],
    actor: str,
) -> MailRecord:
    """Ask one mailer after the other, until one accepts the mail or may have; record and return what came of it."""
    ended: Ended = Failed("no mailer was asked")
    asked, reasons = None, list[str]()
    for number, name in enumerate(by):
        # The first one was noted with the claim.
        if number and not _noted(store, claimed, name):
            return _known(store, claimed)
        failpoint("mail.asked")
        ended, asked = _ask(store, open_client, name, claimed, key, actor=actor), name
        reasons += [] if isinstance(ended, Done) else [f"{name}: {ended.message}"]
        if isinstance(ended, Done | Unknown) or not ended.try_other:
            break
    failpoint("mail.answered")
    reason = _without_address("; ".join(reasons), claimed) or None
    return _recorded(store, claimed, ended, on_sent, mailer=asked, reason=reason)


def _noted(store: Store, claimed: Claim, mailer: str) -> bool:
    """Note that *mailer* is asked next; false if another process has taken the claim over."""
    with store.transaction() as work:
        return repository.ask(work, claimed, mailer, life=_CLAIM_LIFE)


def _known(store: Store, claimed: Claim) -> MailRecord:
    with store.question() as work:
        return repository.get(work, claimed.mail_id)


def _recorded(
    store: Store, claimed: Claim, ended: Ended, on_sent: OnSent, *, mailer: str | None, reason: str | None
) -> MailRecord:
    output = ended.output if isinstance(ended, Done) else None
    provider_id = str(output["id"]) if output else None
    with store.transaction() as work:
        repository.end(work, claimed, _state_of(ended), mailer=mailer, provider_id=provider_id, reason=reason)
        record = repository.get(work, claimed.mail_id)
        if record.state is MailState.SENT:
            on_sent(work, record)
    return record


def _ask(store: Store, open_client: OpenClient, name: str, claimed: Claim, key: str, *, actor: str) -> Ended:
    """
    Ask one mailer.

    What keeps the hub from calling it (it is paused, removed, its connection is not valid) is no outcome of a mail that it
    may have had before: that stays unknown.
    """
    try:
        return actions.perform(store, open_client, name, ACTION, claimed.message, key=key, actor=actor)
    except StoreUnavailable:
        raise
    except Conflict as error:
        # The key was used for something else: whoever used it may have sent a mail.
        return Unknown(str(error))
    except HubError as error:
        if name == claimed.first:
            return Unknown(str(error))
        return Failed(str(error)) if isinstance(error, IntegrationPaused) else Refused(str(error), try_other=True)


def _state_of(ended: Ended) -> MailState:
    match ended:
        case Done():
            return MailState.SENT
        case Refused():
            return MailState.REFUSED
        case Failed():
            return MailState.FAILED
        case Unknown():
            return MailState.UNKNOWN


def _without_address(reason: str, claimed: Claim) -> str:
    """Hide the recipient: mail servers repeat the address that they refuse."""
    address = claimed.message["to"]["address"]
    for written in (address, ascii_address(address)):
        reason = reason.replace(written, "[recipient]")
    return reason


def _refuse_invalid(mail: Mail) -> None:
    """Refuse what no mailer takes before its row is written."""
    schema = capability_contract(_CONTRACT)["actions"][ACTION]["input"]
    errors: list[FieldError] = list(errors_in(schema, mail.as_input(), "/input"))
    if errors:
        raise InputInvalid(ACTION, errors)
    for mailbox in (mail.sender, mail.to):
        ascii_address(mailbox.address)


def _sends(kind: str) -> bool:
    return CAPABILITY in manifests()[kind].provides
