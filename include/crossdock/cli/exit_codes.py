"""The exit codes of ./hub."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from typer import TyperException

from crossdock.client.errors import DagPaused
from crossdock.client.hub import HubRefused
from crossdock.client.patience import LostSight
from crossdock.core.errors import BadRequest, HeldForApproval, IntegrationPaused


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    #: Typer's own code, and ours for requests that are wrong whatever the hub has. What is not there is FAILED: the
    #: command was right.
    WRONG_USE = 2
    #: Done, but something is in quarantine or still open.
    PARTIAL = 3
    #: A person has to decide before it can continue.
    PERSON_NEEDED = 4


#: State of a run, as the API gives it → the exit code of the command that waited for it.
_OF_STATE = {"done": Exit.DONE, "partial": Exit.PARTIAL, "held": Exit.PERSON_NEEDED}


def exit_of(run: Mapping[str, Any]) -> Exit:
    """
    Choose the exit code for a *run* that has ended. Fewer records than named keys: the source does not have some of them.

    A key with several records can hide one with none. Masked keys look all the same, so that their number counts.
    """
    ended = _OF_STATE.get(run["state"], Exit.FAILED)
    if ended is Exit.DONE and run["counts"]["read"] < len(run["keys"]):
        return Exit.PARTIAL if run["counts"]["read"] else Exit.FAILED
    return ended


def exit_of_error(error: Exception) -> Exit:
    match error:
        case BadRequest():
            return Exit.WRONG_USE
        case HubRefused() if error.is_wrong_use:
            return Exit.WRONG_USE
        case HeldForApproval() | IntegrationPaused() | DagPaused():
            return Exit.PERSON_NEEDED
        case LostSight():
            # What was watched goes on: nobody knows yet how it ends.
            return Exit.PARTIAL
        case TyperException():
            return Exit(error.exit_code)
    return Exit.FAILED
