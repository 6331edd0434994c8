"""Watch what goes on in a server that may restart meanwhile: whoever only watches waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from crossdock.client.errors import AirflowRefused, AirflowUnreachable, StackError
from crossdock.client.hub import HubRefused, HubUnavailable
from crossdock.core.errors import HubError

T = TypeVar("T")

#: A restart takes less than a minute, also on a busy machine.
PATIENCE_S = 300.0


class LostSight(StackError):
    """What was watched goes on, and nobody can be asked how it ended."""

    def __init__(self, what: str, away_s: float, cause: HubError, again: str) -> None:
        super().__init__(
            f"{what} goes on without this command: the api-server has not answered for {away_s:.0f} s ({cause}). "
            f"To see how it ended: {again}"
        )


class Patience:
    """
    How long a command that watches outlasts a server that does not answer.

    Args:
        what: What is watched, to begin a sentence with.
        again: The command by which a person sees how it ended.
        show: Called with a sentence while the server is waited for.
        patience_s: The longest that it may be away.

    """

    def __init__(
        self, what: str, again: str, *, show: Callable[[str], None] = lambda _: None, patience_s: float = PATIENCE_S
    ) -> None:
        self._what, self._again, self._show, self._patience_s = what, again, show, patience_s
        self._away_since: float | None = None

    def look(self, find: Callable[[], T]) -> T | None:
        """
        Return what *find* does; None where the server is away, so that the caller looks again.

        Raises:
            LostSight: it has been away for too long.

        """
        try:
            found = find()
        except (AirflowRefused, AirflowUnreachable, HubRefused) as error:
            if not _is_away(error):
                raise
            now = time.monotonic()
            self._away_since = self._away_since or now
            if now - self._away_since >= self._patience_s:
                raise LostSight(self._what, now - self._away_since, error, self._again) from error
            self._show("The api-server does not answer; waiting for it")
            return None
        self._away_since = None
        return found


def _is_away(error: HubError) -> bool:
    """Check whether *error* is of a server that starts, stops or has none behind its proxy."""
    match error:
        case AirflowUnreachable() | HubUnavailable():
            return True
        case AirflowRefused():
            return error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        case HubRefused():
            return int(error.problem.get("status") or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR
    return False
