"""Replays: their progress, who began them, and how to stop one."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from crossdock.api.access import guard
from crossdock.api.dependencies import MOST_EXACT, OpenStore, Router
from crossdock.core.roles import Caller, Role
from crossdock.events.replay import repository, service
from crossdock.web.forms import Posted
from crossdock.web.page import go_to, show

router = Router()

ReplayId = Annotated[int, Path(ge=1, le=MOST_EXACT)]
_NEWEST = 50


@router.get("/replays")
def replays(request: Request, store: OpenStore, caller: Annotated[Caller, guard(Role.VIEWER)]) -> HTMLResponse:
    with store.transaction() as work:
        found = repository.newest(work, limit=_NEWEST)
    return show(request, caller, "replays.html", replays=found)


@router.get("/replays/{replay_id}")
def replay(
    request: Request, store: OpenStore, caller: Annotated[Caller, guard(Role.VIEWER)], replay_id: ReplayId
) -> HTMLResponse:
    with store.transaction() as work:
        found = repository.get(work, replay_id)
    return show(request, caller, "replay.html", replay=found)


@router.post("/replays/{replay_id}/stop")
def stop(
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.OPERATOR)],
    request: Request,
    replay_id: ReplayId,
    form: Posted,  # noqa: ARG001  its token is checked
) -> RedirectResponse:
    service.stop(store, replay_id, actor=caller.actor)
    return go_to(request, "replays", replay_id)
