"""A small client of Airflow's REST API, for the commands of a local stack."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from crossdock.client.errors import AirflowRefused, AirflowUnreachable, DagPaused, StackError

if TYPE_CHECKING:
    import requests

_TIMEOUT_S = 120.0
_SAID_AT_MOST = 500


class AirflowApi:
    """
    Airflow at one address, as one person. Gets its token when first needed, and another when it has expired.

    Every method raises AirflowRefused for an answer from 400 on (with Airflow's own words) and AirflowUnreachable
    when there is none.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url.rstrip("/")
        self._user = user
        self._password = password
        self._token: str | None = None

    def get(self, path: str, **params: object) -> Any:
        """The decoded answer of GET /api/v2<path>."""
        return self._call("GET", path, params=params)

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        return self._call("POST", path, json=body)

    def patch(self, path: str, body: Mapping[str, object]) -> Any:
        return self._call("PATCH", path, json=body)

    def put(self, path: str, body: Mapping[str, object]) -> Any:
        return self._call("PUT", path, json=body)

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path)

    def health(self) -> dict[str, Any]:
        """The answer of /monitor/health, which asks for no token."""
        answer: dict[str, Any] = self._read(self._send("GET", "/api/v2/monitor/health", timeout=30.0))
        return answer

    def put_connection(self, connection: Mapping[str, object]) -> None:
        """Give the connection these values, or make it. Its other fields stay."""
        self._change_or_make("/connections", str(connection["connection_id"]), connection, connection)

    def put_pool(self, pool: Mapping[str, object]) -> None:
        """Give the pool {"name", "slots", "description"} these values, or make it."""
        whole = {"include_deferred": False, **pool}
        # The body of a change calls the name "pool", that of a new one "name".
        change = {("pool" if key == "name" else key): value for key, value in whole.items()}
        self._change_or_make("/pools", str(pool["name"]), change, whole)

    def put_variable(self, variable: Mapping[str, object]) -> None:
        """Give the variable {"key", "value"} this value, or make it."""
        self._change_or_make("/variables", str(variable["key"]), variable, variable)

    def wait_for_dag(self, dag_id: str, *, timeout_s: float = 300.0) -> None:
        """Return once Airflow has read the DAG: the dag-processor needs a few seconds after a start."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.get(_dag(dag_id))
            except AirflowRefused as refused:
                if refused.status != HTTPStatus.NOT_FOUND:
                    raise
                if time.monotonic() > deadline:
                    raise StackError(
                        f"Airflow has not read the DAG {dag_id} in {timeout_s:.0f} s. Try: ./hub doctor (import errors)"
                    ) from refused
                time.sleep(0.5)
            else:
                return

    def refuse_paused(self, dag_id: str) -> None:
        """
        Raises:
            DagPaused: a run of the DAG would wait until somebody lets it go on.

        """
        if self.get(_dag(dag_id))["is_paused"]:
            raise DagPaused(dag_id, self.url)

    def unpause(self, dag_id: str) -> None:
        self.patch(_dag(dag_id), {"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, object] | None = None, *, run_id: str | None = None) -> str:
        """
        Start a run now; its id.

        Args:
            dag_id: Which DAG.
            conf: Checked by the DAG's own params; a bad one is refused with HTTP 400.
            run_id: Ours to choose; a second run of the same id is refused with HTTP 409.

        """
        body: dict[str, object] = {"logical_date": None, "conf": dict(conf or {})}
        if run_id is not None:
            body["dag_run_id"] = run_id
        return str(self.post(f"{_dag(dag_id)}/dagRuns", body)["dag_run_id"])

    def dag_run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        run: dict[str, Any] = self.get(_run(dag_id, run_id))
        return run

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The run's tasks, at most 100."""
        found: list[dict[str, Any]] = self.get(f"{_run(dag_id, run_id)}/taskInstances", limit=100)["task_instances"]
        return found

    def clear(
        self, dag_id: str, run_id: str, *, task_ids: Sequence[str] | None = None, only_failed: bool = True
    ) -> list[str]:
        """Let tasks of a run be tried again; the ids of those cleared. By default what failed, and what waited for it."""
        body: dict[str, object] = {"dry_run": False, "dag_run_id": run_id, "only_failed": only_failed}
        if task_ids is not None:
            body["task_ids"] = list(task_ids)
        cleared = self.post(f"{_dag(dag_id)}/clearTaskInstances", body)["task_instances"]
        return [str(each["task_id"]) for each in cleared]

    def signed(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Whatever the server answers to *path* with our token: for what else lives in it beside Airflow's API."""
        if self._token is None:
            self._token = self._new_token()
        answer = self._send(method, path, token=self._token, **arguments)
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            self._token = self._new_token()
            answer = self._send(method, path, token=self._token, **arguments)
        return answer

    @cached_property
    def _session(self) -> requests.Session:
        import requests  # noqa: PLC0415  a sixth of a second, which `./hub status` of a stopped stack need not pay

        session = requests.Session()
        session.trust_env = False  # no proxy stands between us and 127.0.0.1
        return session

    def _change_or_make(self, path: str, name: str, change: Mapping[str, object], whole: Mapping[str, object]) -> None:
        # In this order: Airflow logs a stack trace for a name that is taken, and nothing for one that is missing.
        try:
            self.patch(f"{path}/{quote(name, safe='')}", change)
        except AirflowRefused as refused:
            if refused.status != HTTPStatus.NOT_FOUND:
                raise
            self.post(path, whole)

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        return self._read(self.signed(method, f"/api/v2{path}", **arguments))

    def _new_token(self) -> str:
        answer = self._send("POST", "/auth/token", json={"username": self._user, "password": self._password})
        return str(self._read(answer)["access_token"])

    def _send(self, method: str, path: str, *, token: str | None = None, **arguments: Any) -> requests.Response:
        from requests import RequestException  # noqa: PLC0415

        headers = {**arguments.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        arguments.setdefault("timeout", _TIMEOUT_S)
        try:
            return self._session.request(method, f"{self.url}{path}", headers=headers, **arguments)
        except RequestException as error:
            raise AirflowUnreachable(f"{method} {self.url}{path}", type(error).__name__) from error

    def _read(self, answer: requests.Response) -> Any:
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            request = f"{answer.request.method} {answer.request.path_url}"
            raise AirflowRefused(request, answer.status_code, _words(answer))
        return answer.json() if answer.content else None


def _words(answer: requests.Response) -> str:
    """What Airflow said, short: its `detail` where it is JSON."""
    try:
        said = answer.json()
    except ValueError:
        return answer.text[:_SAID_AT_MOST]
    return str(said.get("detail", said) if isinstance(said, dict) else said)[:_SAID_AT_MOST]


def _dag(dag_id: str) -> str:
    return f"/dags/{quote(dag_id, safe='')}"


def _run(dag_id: str, run_id: str) -> str:
    return f"{_dag(dag_id)}/dagRuns/{quote(run_id, safe='')}"
