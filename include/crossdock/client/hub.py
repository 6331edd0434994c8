"""A small client of the hub's REST API: the commands use the public API."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from crossdock.client.airflow import AirflowApi
from crossdock.core.errors import Conflict, HubError, NotFound
from crossdock.core.hints import Hint, HintId


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
        kind = str(self.problem.get("type", "")).rpartition(":")[2]
        return kind in {"bad-request", "settings-invalid", "unprocessable"}


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

    def __init__(self, airflow: AirflowApi) -> None:
        self._airflow = airflow

    def get(self, path: str, **query: object) -> HubAnswer:
        return self._call("GET", path, params=query)

    def post(self, path: str, body: Any, *, if_match: str | None = None) -> HubAnswer:
        return self._call("POST", path, json=body, if_match=if_match)

    def patch(self, path: str, body: Any, *, if_match: str | None) -> HubAnswer:
        return self._call("PATCH", path, json=body, if_match=if_match)

    def delete(self, path: str, *, if_match: str | None) -> HubAnswer:
        return self._call("DELETE", path, if_match=if_match)

    def _call(self, method: str, path: str, *, if_match: str | None = None, **arguments: Any) -> HubAnswer:
        headers = {"If-Match": if_match} if if_match else {}
        # A connection test waits for another system, several times.
        answer = self._airflow.signed(method, f"/hub/v1{path}", headers=headers, timeout=90.0, **arguments)
        if answer.status_code < HTTPStatus.BAD_REQUEST:
            return HubAnswer(answer.json() if answer.content else None, answer.headers.get("ETag"))
        raise refusal(answer)


def refusal(answer: Any) -> HubError:
    """Turn a response with a status from 400 on into an error."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {
            "title": answer.reason,
            "detail": f"The hub's API answered HTTP {answer.status_code} without a reason",
        }
    match answer.status_code:
        case HTTPStatus.NOT_FOUND:
            return NotFound(str(problem.get("detail")), hint=_hint(problem))
        case HTTPStatus.CONFLICT:
            return Conflict(str(problem.get("detail")), hint=_hint(problem))
    return HubRefused(problem)


def _hint(problem: dict[str, Any]) -> Hint | None:
    """Read the hint of *problem*; None for one that only a newer hub knows."""
    found: Any = problem.get("hint")
    try:
        return Hint(HintId(found["id"]), str(found["subject"]))
    except (KeyError, TypeError, ValueError):
        return None
