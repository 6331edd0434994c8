"""A small client of Airflow's REST API, for the commands of a local stack."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from crossdock.client import proof
from crossdock.client.errors import (
    AirflowRefused,
    AirflowUnreachable,
    DagPaused,
    LoginExpired,
    LoginRefused,
    StackError,
)
from crossdock.core.errors import BadRequest
from crossdock.core.paths import path_of

if TYPE_CHECKING:
    import requests

_MESSAGE_CHARACTERS = 500
#: Airflow's `maximum_page_limit`.
_PAGE = 100


class AirflowApi:
    """
    A client for one Airflow, signed in as one user. It gets its token when first needed, and a new one after expiry.

    Every method raises AirflowRefused for a status from 400 on (with Airflow's own message), and AirflowUnreachable
    when there is no response. A client with a token and no password raises LoginExpired when the token is refused.
    """

    #: Of a request, unless the caller names another.
    TIMEOUT_S: ClassVar[float] = 120.0

    def __init__(
        self,
        url: str,
        user: str,
        password: str | None,
        *,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
        stack_key: str | None = None,
    ) -> None:
        """
        Configure a client; nothing is sent yet.

        Args:
            url: The address of the api-server.
            user: Whose name the calls have.
            password: None where there is a token instead.
            token: One that was obtained before.
            timeout_s: How long a request may take.
            stack_key: Of a local stack: its server has to prove that it knows this key before it gets the password.

        """
        self.url = url.rstrip("/")
        self._user = user
        self._password = password
        self._token = token
        self._timeout_s = timeout_s
        self._stack_key = stack_key

    def get(self, path: str, **params: object) -> Any:
        """Decode the response to GET /api/v2<path>."""
        return self._call("GET", path, params=params)

    def every(self, path: str, field: str, **params: object) -> list[dict[str, Any]]:
        """Read the whole list *field* at *path*, page by page: Airflow answers with 100 items at most."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.get(path, limit=_PAGE, offset=len(found), **params)
            found += page[field]
            if not page[field] or len(found) >= page["total_entries"]:
                return found

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        return self._call("POST", path, json=body)

    def patch(self, path: str, body: Mapping[str, object]) -> Any:
        return self._call("PATCH", path, json=body)

    def put(self, path: str, body: Mapping[str, object]) -> Any:
        return self._call("PUT", path, json=body)

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path)

    def health(self) -> dict[str, Any]:
        """Read /monitor/health, which needs no token."""
        answer: dict[str, Any] = self._read(
            self._send("GET", "/api/v2/monitor/health", timeout=min(30.0, self._timeout_s))
        )
        return answer

    def has(self, path: str) -> bool:
        """Check whether the object at *path* exists."""
        try:
            self.get(path)
        except AirflowRefused as refused:
            if refused.status != HTTPStatus.NOT_FOUND:
                raise
            return False
        return True

    def put_connection(self, connection: Mapping[str, object]) -> None:
        """Create or update the connection; an update keeps its other fields."""
        self._update_or_create("/connections", str(connection["connection_id"]), connection, connection)

    def put_pool(self, pool: Mapping[str, object]) -> None:
        """Create or update the pool {"name", "slots", "description"}."""
        whole = {"include_deferred": False, **pool}
        # An update calls the name "pool", a creation calls it "name".
        change = {("pool" if key == "name" else key): value for key, value in whole.items()}
        self._update_or_create("/pools", str(pool["name"]), change, whole)

    def put_variable(self, variable: Mapping[str, object]) -> None:
        """Create or update the variable {"key", "value"}."""
        self._update_or_create("/variables", str(variable["key"]), variable, variable)

    def wait_for_dag(self, dag_id: str, *, timeout_s: float = 300.0) -> None:
        """
        Wait until Airflow has read the DAG: the dag-processor needs a few seconds after a start.

        A stale DAG, of an integration that was removed and is added again, does not count.

        Raises:
            StackError: it was not read within *timeout_s*.

        """
        deadline = time.monotonic() + timeout_s
        while not self._is_read(dag_id):
            if time.monotonic() > deadline:
                raise StackError(
                    f"Airflow has not read the DAG {dag_id} after {timeout_s:.0f} s. Import errors: ./hub doctor"
                )
            time.sleep(0.5)

    def _is_read(self, dag_id: str) -> bool:
        try:
            return not self.get(_dag(dag_id))["is_stale"]
        except AirflowRefused as refused:
            if refused.status != HTTPStatus.NOT_FOUND:
                raise
            return False

    def refuse_paused(self, dag_id: str) -> None:
        """
        Refuse a paused DAG: its run would stay queued until somebody unpauses the DAG.

        Raises:
            DagPaused: the DAG is paused.

        """
        if self.get(_dag(dag_id))["is_paused"]:
            raise DagPaused(dag_id, self.url)

    def unpause(self, dag_id: str) -> None:
        self.patch(_dag(dag_id), {"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, object] | None = None, *, run_id: str | None = None) -> str:
        """
        Start a run now and return its id.

        Args:
            dag_id: The DAG.
            conf: Checked against the DAG's params; an invalid one is refused with HTTP 400.
            run_id: Chosen by the caller; a second run with the same id is refused with HTTP 409.

        """
        body: dict[str, object] = {"logical_date": None, "conf": dict(conf or {})}
        if run_id is not None:
            body["dag_run_id"] = run_id
        return str(self.post(f"{_dag(dag_id)}/dagRuns", body)["dag_run_id"])

    def dag_run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        run: dict[str, Any] = self.get(_run(dag_id, run_id))
        return run

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """List the run's tasks, at most 100."""
        found: list[dict[str, Any]] = self.get(f"{_run(dag_id, run_id)}/taskInstances", limit=100)["task_instances"]
        return found

    def clear(
        self, dag_id: str, run_id: str, *, task_ids: Sequence[str] | None = None, only_failed: bool = True
    ) -> list[str]:
        """Clear tasks so that they run again, by default the failed ones alone; return the IDs."""
        body: dict[str, object] = {"dry_run": False, "dag_run_id": run_id, "only_failed": only_failed}
        if task_ids is not None:
            body["task_ids"] = list(task_ids)
        cleared = self.post(f"{_dag(dag_id)}/clearTaskInstances", body)["task_instances"]
        return [str(task["task_id"]) for task in cleared]

    def new_token(self) -> str:
        """
        Get a token for the user, valid until Airflow's own time limit.

        Raises:
            LoginExpired: This client has no password.
            LoginRefused: Airflow does not know this user with this password.
            StrangerAnswers: The server is not that of the local stack. It got no password.

        """
        if self._password is None:
            raise LoginExpired(self.url)
        if self._stack_key is not None:
            self._refuse_stranger(self._stack_key)
        answer = self._send("POST", "/auth/token", json={"username": self._user, "password": self._password})
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            raise LoginRefused(self.url, self._user)
        return str(self._read(answer)["access_token"])

    def signed(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send a request with our token to any path of the server, which also serves the hub's API."""
        if self._token is None:
            self._token = self.new_token()
        answer = self._send(method, path, token=self._token, **arguments)
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            self._token = self.new_token()
            answer = self._send(method, path, token=self._token, **arguments)
        return answer

    def _refuse_stranger(self, key: str) -> None:
        try:
            proof.refuse_stranger(self.url, proof.OF_API, key, timeout_s=self._timeout_s)
        except OSError as error:
            raise AirflowUnreachable(f"GET {self.url}{proof.OF_API}", type(error).__name__) from error

    @cached_property
    def _session(self) -> requests.Session:
        import requests  # noqa: PLC0415  takes 0.17 s, which `./hub status` of a stopped stack need not spend

        session = requests.Session()
        session.trust_env = False  # 127.0.0.1 is reached without a proxy
        return session

    def _update_or_create(
        self, path: str, name: str, change: Mapping[str, object], whole: Mapping[str, object]
    ) -> None:
        # Update first: Airflow logs a stack trace for a name that exists, and nothing for one that is missing.
        try:
            self.patch(f"{path}{path_of(name)}", change)
        except AirflowRefused as refused:
            if refused.status != HTTPStatus.NOT_FOUND:
                raise
            self.post(path, whole)

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        return self._read(self.signed(method, f"/api/v2{path}", **arguments))

    def _send(self, method: str, path: str, *, token: str | None = None, **arguments: Any) -> requests.Response:
        from requests.exceptions import InvalidHeader, InvalidJSONError, RequestException  # noqa: PLC0415

        headers = {**arguments.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        arguments.setdefault("timeout", self._timeout_s)
        try:
            return self._session.request(method, f"{self.url}{path}", headers=headers, **arguments)
        except (InvalidHeader, InvalidJSONError) as error:
            raise BadRequest(f"Cannot write the request {method} {path}: {error}") from error
        except RequestException as error:
            raise AirflowUnreachable(f"{method} {self.url}{path}", type(error).__name__) from error

    def _read(self, answer: requests.Response) -> Any:
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            request = f"{answer.request.method} {answer.request.path_url}"
            raise AirflowRefused(request, answer.status_code, _message(answer))
        return answer.json() if answer.content else None


def _message(answer: requests.Response) -> str:
    """Shorten Airflow's message: its `detail` where the body is JSON."""
    try:
        body = answer.json()
    except ValueError:
        return answer.text[:_MESSAGE_CHARACTERS]
    return str(body.get("detail", body) if isinstance(body, dict) else body)[:_MESSAGE_CHARACTERS]


def _dag(dag_id: str) -> str:
    return path_of("dags", dag_id)


def _run(dag_id: str, run_id: str) -> str:
    return path_of("dags", dag_id, "dagRuns", run_id)
