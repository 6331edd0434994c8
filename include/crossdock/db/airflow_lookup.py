"""Find a connection of Airflow, and tell one that does not exist from one that cannot be read now."""

from __future__ import annotations

from typing import Any

from crossdock.core.errors import HubUnavailable


class ConnectionUnreadable(HubUnavailable):
    """Airflow, or what keeps its secrets, does not answer: whether there is such a connection is not known."""

    def __init__(self, connection_id: str, cause: str) -> None:
        super().__init__(
            f"Airflow's connection {connection_id!r} cannot be read now: {cause}. Check Airflow's api-server and database, and "
            "the secrets backend"
        )


def find(connection_id: str) -> Any | None:
    """
    Find the connection as Airflow has it; None if there is none.

    Airflow says "not defined" also where its api-server, its database, the supervisor of a task or a secrets backend does
    not answer. So each place where it could be is asked first; once, since one that is frozen takes half a minute to fail.

    Raises:
        ConnectionUnreadable: none of these places has it, and one does not answer, or refuses the task.

    """
    from airflow.sdk import BaseHook  # noqa: PLC0415  seconds to import
    from airflow.sdk.exceptions import AirflowNotFoundException  # noqa: PLC0415

    is_there = _is_there(connection_id)
    try:
        return BaseHook.get_connection(connection_id)
    except AirflowNotFoundException:
        if is_there:
            raise ConnectionUnreadable(connection_id, "it could be read a moment ago") from None
        return None
    except Exception as error:  # Of any backend; a task that Airflow has given up is denied everything.
        raise ConnectionUnreadable(connection_id, type(error).__name__) from error


def _is_there(connection_id: str) -> bool:
    """Ask each place in Airflow's order; one that fails counts only if no later one has it."""
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded  # noqa: PLC0415

    failure: Exception | None = None
    for backend in ensure_secrets_backend_loaded():
        try:
            if _has(backend, connection_id):
                return True
        except Exception as error:  # noqa: BLE001  of any backend
            failure = failure or error
    if failure is not None:
        raise ConnectionUnreadable(connection_id, type(failure).__name__) from failure
    return False


def _has(backend: Any, connection_id: str) -> bool:
    from airflow.sdk.execution_time.secrets import ExecutionAPISecretsBackend  # noqa: PLC0415

    if isinstance(backend, ExecutionAPISecretsBackend):
        return _supervisor_has(connection_id)
    return backend.get_connection(conn_id=connection_id) is not None


def _supervisor_has(connection_id: str) -> bool:
    """
    Ask the task's supervisor, which asks the api-server; Airflow's own backend hides what it answers.

    The api-server says "not found" also while Airflow's database is away: https://github.com/apache/airflow/pull/71307. So
    after that answer it is asked for a number that only the database knows, of any DAG: one that the DAG processor answers, too,
    since it never answers a question that it does not know. The caller then looks for the connection again, so a database that
    came back just now hides none.

    Raises:
        AirflowRuntimeError: nobody knows.

    """
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType  # noqa: PLC0415
    from airflow.sdk.execution_time.comms import GetConnection, GetTICount  # noqa: PLC0415

    failure = _refusal_of(GetConnection(conn_id=connection_id))
    if failure is None:
        return True
    if failure.error is ErrorType.CONNECTION_NOT_FOUND:
        failure = _refusal_of(GetTICount(dag_id="any"))
    if failure is not None:
        raise AirflowRuntimeError(failure)
    return False


def _refusal_of(question: Any) -> Any | None:
    """Ask the task's supervisor, and return the error that it answers with; None for any other answer."""
    from airflow.sdk.exceptions import AirflowRuntimeError  # noqa: PLC0415
    from airflow.sdk.execution_time.comms import ErrorResponse  # noqa: PLC0415
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS  # noqa: PLC0415

    try:
        answer = SUPERVISOR_COMMS.send(question)
    except AirflowRuntimeError as error:
        return error.error
    return answer if isinstance(answer, ErrorResponse) else None
