"""Webhooks of other systems: the sender's signature is the guard, and the answer follows when the delivery is stored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from crossdock.api.access import Guard
from crossdock.api.airflow_lookups import Remembered, existing
from crossdock.api.bulkhead import WEBHOOKS, Busy, RequestWork, work_of
from crossdock.api.dependencies import OpenStore
from crossdock.api.problems import Problem, ProblemDocument
from crossdock.api.routing import RawRoute
from crossdock.app.on_webhook_received import webhook_of
from crossdock.app.streams import datasets_of
from crossdock.core.errors import NotFound
from crossdock.core.log import logger
from crossdock.core.roles import Caller, Role
from crossdock.db.database import Store
from crossdock.events.webhooks_in import service as webhook_service
from crossdock.events.webhooks_in.meaning import Understood
from crossdock.events.webhooks_in.permission import ASKING, asks_for_permission, permission
from crossdock.events.webhooks_in.rules import NotConfigured, WebhookRefused
from crossdock.events.webhooks_in.schemes.model import Signed
from crossdock.events.webhooks_in.service import LARGEST_BYTES, Receiver
from crossdock.workflows.declared import webhooks as workflow_webhooks

log = logger(__name__)

router = APIRouter(prefix="/webhooks", tags=["webhooks"], route_class=RawRoute)

#: A key that was removed from its connection stays valid for this long; a look-up costs a request to Airflow.
_REMEMBERED_S = 15.0
#: A key that is not known may be a new one of its connection, which is looked up at most so often. A person who adds a key to
#: the connection and then has the sender sign with it takes longer.
_LOOKED_UP_AGAIN_S = 0.25
#: Deliveries that wait for that at once, of all senders. Each keeps its thread, and forged ones must leave some to the others.
_MOST_LOOK_UPS = WEBHOOKS.threads // 2
#: Nobody can remove a key while Airflow's database is away. It may be away for this process alone, so that it is not for ever.
_STALE_S = 3600.0
_RETRY_IN_S = 2.0


#: Of a list, an answer names so many faults.
_MOST_FAULTS = 20
_WHAT = "it has the keys of webhooks"
Integration = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{1,62}$")]


#: A sender has no token of Airflow's.
NO_TOKEN: dict[str, Any] = {"security": []}


class SignedBySender(Guard):
    """Checks no role: `receive` verifies the signature before anything is stored."""

    def __init__(self) -> None:
        super().__init__()

    async def __call__(self, request: Request) -> Caller:
        asked = request.path_params
        sender = asked.get("integration") or workflow_webhooks.sender_of(asked.get("webhook", ""))
        return Caller(f"webhook:{sender}", frozenset[Role]())


class DeliveryDocument(BaseModel):
    """The answer to a webhook. A repeat of the delivery gets the same."""

    delivery_id: str = Field(description="The delivery is stored, once, however often it comes.")
    taken: int = Field(description="How many records it names, and events it is.")
    ignored: int = Field(description="How many of its messages mean nothing here; they are kept, and counted.")
    faults: list[str] = Field(description="Of several messages: what some of them lack. They are kept as ignored.")


class Receivers:
    """The receivers that are known; their secrets stay in memory for seconds, or for as long as Airflow's database is away."""

    def __init__(self, find: Callable[[str], Receiver] | None = None) -> None:
        self._known = Remembered(
            _WHAT, find or partial(existing, _WHAT, _find), fresh_s=_REMEMBERED_S, stale_s=_STALE_S
        )
        self._looking_up = 0

    async def of(self, integration: str) -> Receiver:
        """
        Find the receiver of *integration*.

        Raises:
            NotFound: it has none.
            AirflowUnavailable: Airflow's database is away, and the receiver was not used lately.

        """
        return await self._known.of(integration)

    async def newer(self, integration: str) -> Receiver:
        """
        Find the receiver as it is now, or was a moment ago. Raises as `of`.

        Raises:
            Busy: too many wait for it.

        """
        if self._looking_up >= _MOST_LOOK_UPS:
            raise Busy("The hub is looking up the keys of other webhooks", retry_in_s=_RETRY_IN_S)
        self._looking_up += 1
        try:
            return await self._known.of(integration, fresh_s=_LOOKED_UP_AGAIN_S)
        finally:
            self._looking_up -= 1


def _find(integration: str) -> Receiver:
    if (webhook := workflow_webhooks.webhook_in(integration)) is not None:
        return webhook_service.receiver_for(integration, workflow_webhooks.meaning_of(webhook))
    return webhook_service.receiver_of(integration, datasets_of=datasets_of, webhook_of=webhook_of)


_receivers = Receivers()


async def receivers() -> Receivers:
    """Return the receivers of this process."""
    return _receivers


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The same for Slack and Paddle, which take no other success, or what a handshake asks for."},
    204: {"description": "The same for Twilio, which would show any other answer to people."},
    401: {
        "model": ProblemDocument,
        "description": "Not signed by the sender, too old, or in the future; it says why.",
    },
    404: {"model": ProblemDocument, "description": "No webhooks are configured for that integration."},
    408: {"model": ProblemDocument, "description": "The body did not arrive within 10 s."},
    413: {"model": ProblemDocument, "description": "Larger than 1 MiB."},
}


@router.post(
    "/workflows/{webhook}",
    summary="Start a workflow by its webhook",
    status_code=HTTPStatus.ACCEPTED,
    dependencies=[Depends(SignedBySender())],
    openapi_extra=NO_TOKEN,
    responses={
        **_ANSWERS,
        404: {
            "model": ProblemDocument,
            "description": "It has no key, or no workflow that is deployed has the webhook.",
        },
    },
    response_model=DeliveryDocument,
)
async def start_workflow(
    request: Request,
    webhook: Integration,
    known: Annotated[Receivers, Depends(receivers)],
    store: OpenStore,
) -> Response:
    """
    Receive a delivery, signed as the connection `workflows_<webhook>_webhook` says: Standard Webhooks, unless it says otherwise.

    As any other webhook, it is stored once, however often it comes, and answered when it is on disk. It starts one execution.
    """
    known_to_start = partial(workflow_webhooks.refuse_unknown, store, webhook)
    return await _received(request, workflow_webhooks.sender_of(webhook), known, store, known_to_start)


@router.post(
    "/{integration}",
    summary="Receive a webhook",
    status_code=HTTPStatus.ACCEPTED,
    dependencies=[Depends(SignedBySender())],
    openapi_extra=NO_TOKEN,
    responses=_ANSWERS,
    response_model=DeliveryDocument,
)
async def receive_delivery(
    request: Request,
    integration: Integration,
    known: Annotated[Receivers, Depends(receivers)],
    store: OpenStore,
) -> Response:
    """
    Receive a delivery, signed as the connection of the integration says.

    The answer follows when the delivery is on disk. Idempotent: a repeated delivery gets the same answer and has no
    second effect. A message whose type means nothing here is stored as `crossdock.webhook.ignored`.
    """
    return await _received(request, integration, known, store)


async def _received(
    request: Request,
    sender: str,
    known: Receivers,
    store: Store,
    refuse_unknown: Callable[[], None] = lambda: None,
) -> Response:
    """Prove who sent a delivery, store it, and answer. *refuse_unknown* is called when it is proved."""
    came = webhook_service.Request(_headers(request), await _body(request), _query(request))
    work, at = work_of(request), datetime.now(UTC)
    receiver = await known.of(sender)
    try:
        signed = await work.run(partial(webhook_service.prove, receiver, came, at))
    except WebhookRefused as error:
        receiver, signed = await _proved_anew(work, known, store, receiver, came, at, error)

    def take() -> Understood:
        refuse_unknown()
        return webhook_service.take(store, receiver, came, signed, at)

    return _answer(await work.run(take))


_PERMITTED: dict[int | str, dict[str, Any]] = {
    200: {"description": "Permitted, by `WebHook-Allowed-Origin` and `WebHook-Allowed-Rate`."},
    401: {"model": ProblemDocument, "description": "The token in the URL is not right; it says why."},
    405: {
        "model": ProblemDocument,
        "description": "Nobody who asks is expected here: see `WebHook-Request-Origin`.",
    },
}


@router.options(
    "/workflows/{webhook}",
    summary="Permit a sender of CloudEvents to start a workflow",
    dependencies=[Depends(SignedBySender())],
    openapi_extra=NO_TOKEN,
    response_class=Response,
    responses=_PERMITTED,
)
async def permit_start(
    request: Request, webhook: Integration, known: Annotated[Receivers, Depends(receivers)]
) -> Response:
    """Answer what Azure Event Grid asks before it delivers, as for the webhooks of an integration."""
    return await _permitted(request, workflow_webhooks.sender_of(webhook), known)


@router.options(
    "/{integration}",
    summary="Permit a sender of CloudEvents to deliver",
    dependencies=[Depends(SignedBySender())],
    openapi_extra=NO_TOKEN,
    response_class=Response,
    responses=_PERMITTED,
)
async def permit_delivery(
    request: Request, integration: Integration, known: Annotated[Receivers, Depends(receivers)]
) -> Response:
    """
    Answer the question that Azure Event Grid asks before it delivers CloudEvents (`WebHook-Request-Origin`).

    It needs no signature and stores nothing: each delivery is verified.
    """
    return await _permitted(request, integration, known)


async def _permitted(request: Request, sender: str, known: Receivers) -> Response:
    headers = _headers(request)
    if not asks_for_permission(headers):
        raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED)
    receiver = await _receiver_to_ask(known, sender)
    try:
        granted = permission(receiver.rules, receiver.keys, headers, _query(request))
    except WebhookRefused as refused:
        raise _unauthorised(refused) from None
    return Response(headers=dict(granted))


async def _receiver_to_ask(known: Receivers, sender: str) -> Receiver:
    """
    Find the receiver whose sender asks, as its connection is now: it may have been written a moment ago.

    Raises:
        HTTPException: 405, as if there were no such method: there is none.

    """
    try:
        for find in (known.of, known.newer):
            receiver = await find(sender)
            if receiver.rules.scheme in ASKING:
                return receiver
    except NotFound:
        pass
    raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED)


async def _proved_anew(
    work: RequestWork,
    known: Receivers,
    store: Store,
    receiver: Receiver,
    came: webhook_service.Request,
    at: datetime,
    refused: WebhookRefused,
) -> tuple[Receiver, Signed]:
    """Try the keys that the connection has now: the sender may have begun to use one that was added a moment ago."""
    newer = await known.newer(receiver.integration)
    if (newer.rules, newer.keys) != (receiver.rules, receiver.keys):
        try:
            return newer, await work.run(partial(webhook_service.prove, newer, came, at))
        except WebhookRefused as error:
            refused = error
    await work.run(partial(webhook_service.refuse, store, newer, came, refused))
    log.warning("A webhook of %s was refused: %s", receiver.integration, refused)
    raise _unauthorised(refused) from None


def _unauthorised(refused: WebhookRefused) -> Problem:
    why = "the hub's connection is not complete" if isinstance(refused, NotConfigured) else str(refused)
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "unauthorised",
        f"Invalid webhook signature: {why}",
        headers={"WWW-Authenticate": "Signature"},
    )


def _answer(understood: Understood) -> Response:
    if understood.status == HTTPStatus.NO_CONTENT:
        return Response(status_code=understood.status)
    if understood.answer is not None:
        return JSONResponse(dict(understood.answer), understood.status)
    document = DeliveryDocument(
        delivery_id=understood.delivery_id,
        taken=understood.taken,
        ignored=understood.ignored,
        faults=list(understood.faults[:_MOST_FAULTS]),
    )
    return JSONResponse(document.model_dump(), understood.status)


def _query(request: Request) -> str:
    """Read the query as it came. Starlette would make a whole URL, and fail where the host is none."""
    query: bytes = request.scope["query_string"]
    return query.decode("latin-1")


def _headers(request: Request) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]


async def _body(request: Request) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > LARGEST_BYTES:
        raise _too_large()
    body = await request.body()
    if len(body) > LARGEST_BYTES:
        raise _too_large()
    return body


def _too_large() -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too-large",
        f"The body is too large: at most {LARGEST_BYTES:,} bytes are allowed",
        headers={"Connection": "close"},
    )
