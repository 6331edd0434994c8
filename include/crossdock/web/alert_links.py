"""The signed links of an alert's messages: GET shows what would be done, and only its POST does it. Nobody signs in."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.responses import HTMLResponse

from crossdock.api.access import Guard
from crossdock.api.dependencies import MOST_EXACT, OpenStore, Problem, Router
from crossdock.app.airflow.signing_keys import signing_keys
from crossdock.core.roles import Caller, Role
from crossdock.maintenance.alerting import service
from crossdock.maintenance.alerting.deeds import PURPOSE, WORDS, Deed, LinkRefused, SignedDeed, refuse_unsigned
from crossdock.maintenance.alerting.kinds import kind_of
from crossdock.maintenance.alerting.routes import ROUTE_NAME
from crossdock.observability import alerts
from crossdock.web.alerts import HOURS, hours_of
from crossdock.web.forms import Form, SignedPosted
from crossdock.web.page import show

router = Router()

#: Of a mute whose person writes no reason: it has one word to type less at night.
_REASON = "muted from a message"


class SignedByHub(Guard):
    """Checks no role: the link's signature permits its one deed, and the route checks it before anything else."""

    def __init__(self) -> None:
        super().__init__()

    async def __call__(self, request: Request) -> Caller:  # noqa: ARG002  as each guard
        return Caller("alert-link", frozenset[Role]())


_SIGNED = Depends(SignedByHub())


@router.get("/alert-link", dependencies=[_SIGNED])
def confirm(
    request: Request,
    store: OpenStore,
    deed: Deed,
    alert: Annotated[int, Query(ge=1, le=MOST_EXACT)],
    route: Annotated[str, Query(pattern=ROUTE_NAME)],
    until: Annotated[int, Query(ge=1, le=MOST_EXACT)],
    signature: Annotated[str, Query(pattern=r"^[0-9a-f]{64}$")],
) -> HTMLResponse:
    """Show the alert, and ask. A program that follows links in mails changes nothing here."""
    signed = SignedDeed(deed, alert, route, until)
    _refuse_unsigned(signed, signature)
    return _page(request, store, signed, signature, done="")


@router.post("/alert-link", dependencies=[_SIGNED])
def act(request: Request, store: OpenStore, form: SignedPosted) -> HTMLResponse:
    """Do what the link permits, in the name of its route."""
    signed = _signed_of(form)
    _refuse_unsigned(signed, form.text("signature"))
    actor = f"alert-route:{signed.route}"
    if signed.deed is Deed.ACKNOWLEDGE:
        service.acknowledge(store, signed.alert_id, until=None, actor=actor)
        done = "Acknowledged: it is not sent again before it closes"
    else:
        hours = hours_of(form)
        service.mute_like(store, signed.alert_id, hours=hours, reason=_REASON, actor=actor)
        done = f"Muted for {hours} h: nothing of its kind about this subject is sent before then"
    return _page(request, store, signed, "", done=done)


def _page(request: Request, store: OpenStore, signed: SignedDeed, signature: str, *, done: str) -> HTMLResponse:
    with store.transaction() as work:
        found = alerts.get(work, signed.alert_id)
    return show(
        request,
        None,
        "alert_link.html",
        alert=found,
        severity=kind_of(found.kind).severity,
        signed=signed,
        signature=signature,
        words=WORDS[signed.deed],
        hours=HOURS,
        done=done,
    )


def _signed_of(form: Form) -> SignedDeed:
    deed = form.text("deed")
    if deed not in set(Deed):
        raise Problem(
            HTTPStatus.BAD_REQUEST, "bad-request", "The form names no deed. Open the link of the message again"
        )
    return SignedDeed(Deed(deed), form.number("alert"), form.text("route"), form.number("until"))


def _refuse_unsigned(signed: SignedDeed, signature: str) -> None:
    try:
        refuse_unsigned(signed, signature, signing_keys(PURPOSE), datetime.now(UTC))
    except LinkRefused as error:
        raise Problem(HTTPStatus.FORBIDDEN, "link-refused", str(error)) from error
