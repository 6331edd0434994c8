"""Mails that the hub sends: list them, send one as a test, and go on with one that is not sent."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from fastapi import Query, Response
from pydantic import BaseModel, Field

from crossdock.api.access import guard
from crossdock.api.actions import Clients
from crossdock.api.dependencies import OpenStore
from crossdock.api.idempotency import KEYED, Keep, OneEffect
from crossdock.api.pagination import Limit, cursor_like
from crossdock.api.problems import Problem, ProblemDocument, documented
from crossdock.api.routing import Router
from crossdock.api.selection import Id, Strict, not_there
from crossdock.app import mail
from crossdock.app.personal_data import masked, reveal
from crossdock.commerce.mail import repository, service
from crossdock.commerce.mail.model import Mailbox, MailRecord, MailState
from crossdock.core.roles import Caller, Role
from crossdock.integrations.model import INTEGRATION_ID

router = Router(tags=["mails"])

_NONE = not_there("mail")
_PERSONAL = frozenset({"recipient"})
_RETRY_IN_S = 5
_NOT_SENT: dict[int | str, dict[str, Any]] = {
    502: {"model": ProblemDocument, "description": "It is unknown whether the mail was accepted. Resolve its attempt."},
    503: {"model": ProblemDocument, "description": "No mailer has accepted the mail. Send the request again later."},
}


class MailDocument(BaseModel):
    mail_id: int
    business_key: str = Field(description="What the mail is about. There is at most one mail of a kind for it.")
    kind: str
    state: MailState = Field(description="sent: a mailer has accepted it. unknown: one may have; no other is asked.")
    recipient: str | None = Field(description="Masked, except for operators in the route of one mail.")
    mailer: str | None = Field(description="The integration that was asked last.")
    provider_id: str | None = Field(description="The mail system's own ID of the mail.")
    reason: str | None = Field(
        description="Why it is not sent, or what its mailer says became of it: bounced, dropped."
    )
    created_at: datetime
    changed_at: datetime


class MailsPage(BaseModel):
    mails: list[MailDocument]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last.")


class TestMailRequest(Strict):
    """Where a test mail goes, and over which integration."""

    integration: str = Field(pattern=INTEGRATION_ID)
    to: str = Field(min_length=3, max_length=254, description="The address of the recipient.")


@router.get("/mails", summary="List mails, newest first", dependencies=[guard(Role.VIEWER)])
def list_mails(
    store: OpenStore,
    state: MailState | None = None,
    kind: Annotated[str | None, Query(pattern=r"^[a-z][a-z0-9_]{1,62}$")] = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,18}$")] = None,
    limit: Limit = 100,
) -> MailsPage:
    with store.transaction() as work:
        before = int(cursor) if cursor else None
        found = repository.page(work, state=state, kind=kind, before=before, limit=limit + 1)
    page = found[:limit]
    return MailsPage(
        mails=[_masked(record) for record in page],
        next_cursor=str(page[-1].mail_id) if len(found) > limit else None,
    )


@router.get("/mails/{mail_id}", summary="Get a mail", responses=_NONE)
def show_mail(store: OpenStore, caller: Annotated[Caller, guard(Role.VIEWER)], mail_id: Id) -> MailDocument:
    """Who may see personal data sees the recipient, and the audit trail has it."""
    with store.transaction() as work:
        record = repository.get(work, mail_id)
    shown = msgspec.structs.asdict(record)
    return MailDocument(**shown) if reveal(store, caller, f"mail/{mail_id}", shown, _PERSONAL) else _masked(record)


@router.post(
    "/mails/{mail_id}/resume",
    summary="Go on with a mail that is not sent",
    response_model=MailDocument,
    responses=_NONE | KEYED | _NOT_SENT,
)
def resume_mail(
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.OPERATOR)],
    clients: Clients,
    request: OneEffect,
    mail_id: Id,
) -> Response:
    """Send what was written for it. A mail that is unknown is not sent again before its attempt is resolved."""

    def effect(keep: Keep) -> None:
        order = mail.mailers(store)
        _require_sent(
            service.resume(
                store,
                clients,
                mail_id,
                by=order,
                actor=caller.actor,
                on_sent=lambda work, sent: keep(work, _masked(sent)),
            )
        )

    return request.once_outside(effect)


@router.post(
    "/test-mails",
    summary="Send a test mail",
    response_model=MailDocument,
    responses=documented(404) | KEYED | _NOT_SENT,
)
def send_test_mail(
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.OPERATOR)],
    clients: Clients,
    request: OneEffect,
    body: TestMailRequest,
) -> Response:
    """Send one mail over one integration, and over no other."""

    def effect(keep: Keep) -> None:
        _require_sent(
            mail.send(
                store,
                clients,
                "test",
                request.effect_key,
                to=Mailbox(body.to),
                values={"integration": body.integration},
                actor=caller.actor,
                by=[body.integration],
                on_sent=lambda work, sent: keep(work, _masked(sent)),
            )
        )

    return request.once_outside(effect)


def _require_sent(record: MailRecord) -> None:
    """
    Refuse to answer with a success for a mail that was not accepted.

    Raises:
        Problem: it was refused, no mailer has accepted it, or it is unknown whether one has.

    """
    what = f"Mail {record.mail_id}: {record.reason}"
    match record.state:
        case MailState.SENT:
            return
        case MailState.REFUSED:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "refused-by-system", what)
        case MailState.UNKNOWN:
            raise Problem(HTTPStatus.BAD_GATEWAY, "outcome-unknown", what)
        case _:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", what, headers={"Retry-After": str(_RETRY_IN_S)}
            )


def _masked(record: MailRecord) -> MailDocument:
    return MailDocument(**masked(msgspec.structs.asdict(record), _PERSONAL))
