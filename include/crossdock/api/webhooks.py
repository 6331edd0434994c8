"""Webhooks of other systems: the sender's signature is the guard, and the answer follows when the delivery is stored."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, Field

from crossdock.api.access import Caller, Guard, Role
from crossdock.api.airflow_lookups import Remembered, existing
from crossdock.api.bulkhead import work_of
from crossdock.api.dependencies import OpenStore
from crossdock.api.problems import Problem, ProblemDocument
from crossdock.api.routing import RawRoute
from crossdock.app.on_webhook_received import webhook_of
from crossdock.app.streams import datasets_of
from crossdock.core.log import logger
from crossdock.events.webhooks_in import service as webhook_service
from crossdock.events.webhooks_in.service import LARGEST_BYTES, Receiver
from crossdock.events.webhooks_in.signatures import WebhookRefused

log = logger(__name__)

router = APIRouter(prefix="/webhooks", tags=["webhooks"], route_class=RawRoute)

#: A key that was removed from its connection stays valid for this long; a look-up costs a request to Airflow.
_REMEMBERED_S = 15.0
#: Nobody can remove a key while Airflow's database is away. It may be away for this process alone, so that it is not for ever.
_STALE_S = 3600.0


_WHAT = "it has the keys of webhooks"


class SignedBySender(Guard):
    """Checks no role: `receive` verifies the signature before anything is stored."""

    def __init__(self) -> None:
        super().__init__()

    async def __call__(self, request: Request) -> Caller:
        return Caller(f"webhook:{request.path_params.get('integration', '')}", frozenset[Role]())


class DeliveryDocument(BaseModel):
    """The answer to a webhook."""

    delivery_id: str = Field(description="The delivery is stored, once, however often it comes.")


class Receivers:
    """The receivers that are known; their secrets stay in memory for seconds, or for as long as Airflow's database is away."""

    def __init__(self, find: Callable[[str], Receiver] | None = None) -> None:
        self._known = Remembered(
            _WHAT, find or partial(existing, _WHAT, _find), fresh_s=_REMEMBERED_S, stale_s=_STALE_S
        )

    async def of(self, integration: str) -> Receiver:
        """
        Find the receiver of *integration*.

        Raises:
            NotFound: it has none.
            AirflowUnavailable: Airflow's database is away, and the receiver was not used lately.

        """
        return await self._known.of(integration)


def _find(integration: str) -> Receiver:
    return webhook_service.receiver_of(integration, datasets_of=datasets_of, webhook_of=webhook_of)


_receivers = Receivers()


async def receivers() -> Receivers:
    """Return the receivers of this process."""
    return _receivers


@router.post(
    "/{integration}",
    summary="Receive a webhook",
    status_code=HTTPStatus.ACCEPTED,
    dependencies=[Depends(SignedBySender())],
    responses={
        401: {"model": ProblemDocument, "description": "Not signed by the sender, too old, or in the future."},
        404: {"model": ProblemDocument, "description": "No webhooks are configured for that integration."},
        408: {"model": ProblemDocument, "description": "The body did not arrive within 10 s."},
        413: {"model": ProblemDocument, "description": "Larger than 1 MiB."},
    },
)
async def receive_delivery(
    request: Request,
    integration: Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{1,62}$")],
    known: Annotated[Receivers, Depends(receivers)],
    store: OpenStore,
) -> DeliveryDocument:
    """
    Receive a delivery, signed by Standard Webhooks, by Stripe's or Adyen's scheme or by plain HMAC, as the connection says.

    The answer follows when the delivery is on disk. Idempotent: a repeated delivery gets the same answer and has no
    second effect. One whose type of message means nothing here is stored as `crossdock.webhook.ignored`.
    """
    body = await _body(request)
    try:
        receiver = await known.of(integration)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        return DeliveryDocument(
            delivery_id=await work_of(request).run(partial(webhook_service.receive, store, receiver, headers, body))
        )
    except WebhookRefused as error:
        log.warning("A webhook of %s was refused: %s", integration, error)
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "unauthorised",
            "Invalid webhook signature",
            headers={"WWW-Authenticate": "Signature"},
        ) from None


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
