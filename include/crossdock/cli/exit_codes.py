"""The exit codes of ./hub."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from typer import TyperException

from crossdock.client.errors import DagPaused
from crossdock.client.hub import HubRefused
from crossdock.core.errors import BadRequest, HeldForApproval, IntegrationPaused, NotFound

if TYPE_CHECKING:
    from crossdock.sync.model import RunState


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    #: Typer's own code, and ours for requests that contradict themselves.
    WRONG_USE = 2
    #: Done, but something is in quarantine or still open.
    PARTIAL = 3
    #: A person has to decide before it can continue.
    PERSON_NEEDED = 4


def exit_of(state: RunState) -> Exit:
    from crossdock.sync.model import RunState  # noqa: PLC0415  most commands do without a sync's modules

    return {
        RunState.DONE: Exit.DONE,
        RunState.PARTIAL: Exit.PARTIAL,
        RunState.HELD: Exit.PERSON_NEEDED,
        RunState.FAILED: Exit.FAILED,
        RunState.RUNNING: Exit.FAILED,
    }[state]


def exit_of_error(error: Exception) -> Exit:
    match error:
        case BadRequest() | NotFound():
            return Exit.WRONG_USE
        case HubRefused() if error.is_wrong_use:
            return Exit.WRONG_USE
        case HeldForApproval() | IntegrationPaused() | DagPaused():
            return Exit.PERSON_NEEDED
        case TyperException():
            return Exit(error.exit_code)
    return Exit.FAILED
