"""What to do about an error, for people who read a task's log in Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from crossdock.core.errors import HubError
from crossdock.core.hints import Hint, HintId

_PHRASES = {
    HintId.LIST_DEAD_LETTERS: "Look at the dead letters",
    HintId.LIST_QUARANTINE: "Look at the quarantine",
    HintId.LIST_EVENTS: "Look at the latest events",
    HintId.LIST_EVENT_TYPES: "Compare the event with the JSON Schema of its type",
    HintId.LIST_REPLAYS: "Look at the replays",
    HintId.LIST_RUNS: "Look at the recent runs",
    HintId.LIST_INTEGRATIONS: "Look at the integrations",
    HintId.SHOW_DELIVERY: "Look at the progress of each subscriber",
    HintId.MIGRATE: "Run the hub's migrations: start the stack again, or run `prepare` in the deployment",
    HintId.SHOW_RUN: "Look at the run {subject}",
    HintId.SHOW_INTEGRATION: "Look at the integration {subject}",
    HintId.CONNECT_DECLARED: "Connect the integration {subject}",
    HintId.ROTATE_CREDENTIALS: "Enter the credentials of the integration {subject} again",
    HintId.CHANGE_SETTINGS: "Change the settings of the integration {subject}",
    HintId.RESUME_INTEGRATION: "Resume the integration {subject}",
    HintId.ALLOW_SHRINK: "If the source really shrank, trigger sync_{subject} with Full and Allow shrink",
}


def phrase(hint: Hint) -> str:
    return _PHRASES[hint.id].format(subject=hint.subject)


def with_hint(error: HubError) -> str:
    """The error's text, followed by what to do."""
    return f"{error}. {phrase(error.hint)}" if error.hint else str(error)


@contextmanager
def noted_hints() -> Iterator[None]:
    """Add the hint of an error as its note, so that a task's log shows it below the stack trace."""
    try:
        yield
    except HubError as error:
        if error.hint:
            error.add_note(phrase(error.hint))
        raise
