"""Integrations: a card for each with its health, and one with its calls, its circuit breaker and what it did lately."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore, Router
from crossdock.app.integrations import on_resumed
from crossdock.core.roles import Caller, Role
from crossdock.http import call_metrics
from crossdock.integrations import repository, service
from crossdock.integrations.model import INTEGRATION_ID
from crossdock.integrations.repository import System
from crossdock.sync.quarantine import repository as quarantine
from crossdock.web.forms import Posted
from crossdock.web.page import go_to, show
from crossdock.web.webhook_facts import SIGNING, webhook_facts

router = Router()

IntegrationId = Annotated[str, Path(pattern=INTEGRATION_ID)]
Viewer = Annotated[Caller, guard(Role.VIEWER)]
Operator = Annotated[Caller, guard(Role.OPERATOR)]
#: What a form did → what its page says then.
_DONE = {
    "added": "It passed its test, and is connected. Its DAGs appear in Airflow within a second or two",
    "changed": "The change is stored",
    "rotated": "The new credentials passed the test, and have replaced the old ones",
}


@router.get("/integrations")
def list_integrations(request: Request, store: OpenStore, caller: Viewer) -> HTMLResponse:
    with store.transaction() as work:
        systems = repository.systems(work)
        usages = call_metrics.usage_of_integrations(work, [system.integration_id for system in systems])
        causes = quarantine.causes(work, values=0)
    rejected: dict[str, int] = {}
    for cause in causes:
        integration = cause.stream.partition(".")[0]
        rejected[integration] = rejected.get(integration, 0) + cause.items
    return show(
        request, caller, "integrations.html", systems=systems, usages=usages, rejected=rejected, state_of=state_of
    )


@router.get("/integrations/{integration_id}")
def integration(
    request: Request,
    store: OpenStore,
    caller: Viewer,
    integration_id: IntegrationId,
    done: Annotated[Literal["added", "changed", "rotated"] | None, Query()] = None,
) -> HTMLResponse:
    with store.transaction() as work:
        found = repository.get(work, integration_id)
        activity = repository.activity(work, integration_id)
        health = call_metrics.health(work, integration_id)
    return show(
        request,
        caller,
        "integration.html",
        found=found,
        activity=activity,
        health=health,
        webhooks=webhook_facts(integration_id),
        signing=SIGNING,
        may_test=not caller.roles.isdisjoint({Role.DEVELOPER, Role.OPERATOR}),
        done=_DONE[done] if done else "",
    )


@router.post("/integrations/{integration_id}/pause")
def pause(
    request: Request,
    store: OpenStore,
    caller: Operator,
    integration_id: IntegrationId,
    form: Posted,  # noqa: ARG001  its token is checked
) -> RedirectResponse:
    service.pause(store, integration_id, actor=caller.actor)
    return go_to(request, "integrations", integration_id)


@router.post("/integrations/{integration_id}/resume")
def resume(
    request: Request,
    store: OpenStore,
    caller: Operator,
    integration_id: IntegrationId,
    form: Posted,  # noqa: ARG001  its token is checked
) -> RedirectResponse:
    service.resume(store, integration_id, on_resumed=on_resumed, actor=caller.actor)
    return go_to(request, "integrations", integration_id)


def state_of(system: System) -> str:
    """Say what a person wants to know of a system first: whether it may be called, then whether it answers."""
    if system.state != "active":
        return str(system.state)
    if system.breaker.phase != "closed":
        return "breaker_open" if system.breaker.phase == "open" else "half_open"
    if system.tested_at is None:
        return "not_tested"
    return "answers" if system.test_passed else "test_failed"
