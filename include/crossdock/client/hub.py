"""A small client of the hub's REST API: the commands use the public API."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AirflowUnreachable
from crossdock.core.errors import Conflict, HubError, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.core.pages import LARGEST_PAGE

#: A connection test waits for another system, several times.
_TIMEOUT_S = 90.0
#: Waits before a request that got no answer, or 503, is sent again with the same key.
_WAITS_S = (0.5, 1.0, 2.0)
#: While the first request with this key is still running: how often to ask again, and for how long.
_STILL_RUNNING_WAIT_S = 1.0
_STILL_RUNNING_TIMES = 120


#: The kinds of problems that no repetition of the same request solves.
_WRONG_USE = {"bad-request", "input-invalid", "settings-invalid", "unprocessable", "idempotency-key-reused"}

#: The kinds of problems after which the same key has nothing to find out.
_DID_NOTHING = _WRONG_USE | {"refused-by-system"}


class HubRefused(HubError):
    """The hub's API refused the request; `problem` is its explanation (RFC 9457)."""

    def __init__(self, problem: dict[str, Any]) -> None:
        self.problem = problem
        super().__init__(
            str(problem.get("detail") or problem.get("title") or "the hub's API refused"), hint=_hint(problem)
        )

    @property
    def is_wrong_use(self) -> bool:
        """Whether the same request would be refused again."""
        return _kind(self.problem) in _WRONG_USE

    @property
    def did_nothing(self) -> bool:
        """Whether this is the hub's word that nothing was done. 503 is none: it may follow a request that got no answer."""
        return _kind(self.problem) in _DID_NOTHING


class HubUnavailable(HubRefused):
    """The hub answered 503: it did nothing, and may do it later."""


class StillRunning(Conflict):
    """The first request with this idempotency key is still running."""


class Listing(list[dict[str, Any]]):
    """Items of a list, as the API gives them."""

    #: Whether the hub has more of them than were asked for.
    has_more: bool = False


@dataclass(frozen=True)
class HubAnswer:
    document: Any
    #: The version of the document, to send with a change (If-Match).
    etag: str | None


class HubApi:
    """
    A client for one hub, signed in as one user.

    Every method raises HubRefused for a status from 400 on (NotFound for 404, Conflict for 409), and
    AirflowUnreachable when there is no response.
    """

    def __init__(self, airflow: AirflowApi, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._airflow, self._timeout_s = airflow, timeout_s

    def get(self, path: str, **query: object) -> HubAnswer:
        return self._call("GET", path, params=query)

    def pages(self, path: str, field: str, *, limit: int | None = None, **query: object) -> Listing:
        """Read the list *field* of as many pages as have *limit* items; None for all."""
        found = Listing()
        cursor: str | None = None
        while limit is None or len(found) < limit:
            size = LARGEST_PAGE if limit is None else min(LARGEST_PAGE, limit - len(found))
            page = self.get(path, limit=size, cursor=cursor, **query).document
            found += page[field]
            cursor = page["next_cursor"]
            found.has_more = cursor is not None
            if cursor is None:
                break
        return found

    def post(
        self,
        path: str,
        body: Any,
        *,
        if_match: str | None = None,
        timeout_s: float | None = None,
        key: str | None = None,
    ) -> HubAnswer:
        """
        Send a request that has one effect, however often it has to be sent.

        Each call has an idempotency key of its own, unless *key* is that of an earlier call to repeat. Without an answer,
        and on 503, the request is sent again with the same key: an effect that it had already is not repeated, and its
        answer comes again.
        """
        sent_key = key or str(uuid.uuid4())
        return _until_answered(
            lambda: self._call(
                "POST",
                path,
                json=body,
                if_match=if_match,
                headers={"Idempotency-Key": sent_key},
                timeout=timeout_s or self._timeout_s,
            )
        )

    def patch(self, path: str, body: Any, *, if_match: str | None = None) -> HubAnswer:
        return self._call("PATCH", path, json=body, if_match=if_match)

    def put(self, path: str, body: Any, *, if_match: str | None = None) -> HubAnswer:
        return self._call("PUT", path, json=body, if_match=if_match)

    def delete(self, path: str, *, if_match: str | None) -> HubAnswer:
        return self._call("DELETE", path, if_match=if_match)

    def _call(self, method: str, path: str, *, if_match: str | None = None, **arguments: Any) -> HubAnswer:
        headers = {**arguments.pop("headers", {}), **({"If-Match": if_match} if if_match else {})}
        arguments.setdefault("timeout", self._timeout_s)
        answer = self._airflow.signed(method, f"/hub/v1{path}", headers=headers, **arguments)
        if answer.status_code < HTTPStatus.BAD_REQUEST:
            return HubAnswer(answer.json() if answer.content else None, answer.headers.get("ETag"))
        raise refusal(answer)


def _until_answered(send: Callable[[], HubAnswer]) -> HubAnswer:
    waits = iter(_WAITS_S)
    running = iter(range(_STILL_RUNNING_TIMES))
    while True:
        try:
            return send()
        except (AirflowUnreachable, HubUnavailable):
            wait_s = next(waits, None)
            if wait_s is None:
                raise
        except StillRunning:
            if next(running, None) is None:
                raise
            wait_s = _STILL_RUNNING_WAIT_S
        time.sleep(wait_s)


def refusal(answer: Any) -> HubError:
    """Turn a response with a status from 400 on into an error."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {
            "title": answer.reason,
            "status": answer.status_code,
            "detail": f"The hub's API answered HTTP {answer.status_code} without a reason",
        }
    match answer.status_code:
        case HTTPStatus.NOT_FOUND:
            return NotFound(str(problem.get("detail")), hint=_hint(problem))
        case HTTPStatus.CONFLICT if _kind(problem) == "still-running":
            return StillRunning(str(problem.get("detail")))
        case HTTPStatus.CONFLICT:
            return Conflict(str(problem.get("detail")), hint=_hint(problem))
        case HTTPStatus.SERVICE_UNAVAILABLE:
            return HubUnavailable(problem)
    return HubRefused(problem)


def _kind(problem: dict[str, Any]) -> str:
    return str(problem.get("type", "")).rpartition(":")[2]


def _hint(problem: dict[str, Any]) -> Hint | None:
    """Read the hint of *problem*; None for one that only a newer hub knows."""
    found: Any = problem.get("hint")
    try:
        return Hint(HintId(found["id"]), str(found["subject"]))
    except (KeyError, TypeError, ValueError):
        return None
