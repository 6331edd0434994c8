"""A connection that cannot be read now is not one that does not exist."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from socket import socketpair
from typing import Any

import msgspec
import pytest
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import CommsDecoder
from airflow.secrets.environment_variables import EnvironmentVariablesBackend

from crossdock.core.errors import HubUnavailable, NotFound
from crossdock.db import airflow_lookup
from crossdock.db.airflow_lookup import ConnectionUnreadable
from crossdock.db.database import Store, StoreUnavailable
from crossdock.integrations import airflow_connection

Supervise = Callable[..., None]


@pytest.fixture
def supervise(monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervise]:
    """
    Give this process a supervisor that answers each question for a connection with an error; with None, one that has ended.

    With *without_database*, what only Airflow's database knows is an error of the api-server's.
    """
    ours, theirs = socketpair()

    def answer(error: ErrorType, *, without_database: bool) -> None:
        while head := theirs.recv(4):
            number, asked, *_ = msgspec.msgpack.decode(theirs.recv(int.from_bytes(head, "big")))
            body: dict[str, Any] = {"type": "ErrorResponse", "error": error.value, "detail": {}}
            if asked["type"] == "GetTICount":
                body = body | {"error": "API_SERVER_ERROR"} if without_database else {"type": "TICount", "count": 0}
            frame = msgspec.msgpack.encode([number, body])
            theirs.sendall(len(frame).to_bytes(4, "big") + frame)

    def start(error: ErrorType | None, *, without_database: bool = False) -> None:
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", CommsDecoder[Any, Any](socket=ours), raising=False)
        if error is None:
            theirs.close()
        else:
            options = {"without_database": without_database}
            threading.Thread(target=answer, args=(error,), kwargs=options, daemon=True).start()

    yield start
    ours.close()
    theirs.close()


def test_a_connection_that_no_place_has_does_not_exist(supervise: Supervise) -> None:
    supervise(ErrorType.CONNECTION_NOT_FOUND)

    assert airflow_lookup.find("gone") is None
    with pytest.raises(NotFound, match="Airflow has no connection 'gone'"):
        airflow_connection.read("gone")


@pytest.mark.parametrize(
    "answer", [ErrorType.API_SERVER_ERROR, ErrorType.GENERIC_ERROR, ErrorType.PERMISSION_DENIED, None]
)
def test_one_that_nobody_could_ask_for_is_unreadable(supervise: Supervise, answer: ErrorType | None) -> None:
    """Airflow itself calls it undefined, and each webhook of an orphaned worker became a dead letter."""
    supervise(answer)

    with pytest.raises(ConnectionUnreadable, match="cannot be read now"):
        airflow_connection.read("shop")


def test_one_that_is_not_found_while_airflows_database_is_away_is_unreadable(supervise: Supervise) -> None:
    """The api-server answers 404 then, and each webhook whose record was fetched at that moment became a dead letter."""
    supervise(ErrorType.CONNECTION_NOT_FOUND, without_database=True)

    with pytest.raises(ConnectionUnreadable, match="cannot be read now"):
        airflow_connection.read("shop")


def test_a_secrets_backend_that_fails_hides_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(EnvironmentVariablesBackend, "get_conn_value", fail)

    with pytest.raises(ConnectionUnreadable, match="TimeoutError"):
        airflow_connection.find("shop")


def test_what_another_place_has_is_found_while_one_fails(monkeypatch: pytest.MonkeyPatch, supervise: Supervise) -> None:
    """From the environment, while the api-server is away."""
    supervise(ErrorType.API_SERVER_ERROR)
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "http://shop.example")

    assert airflow_connection.read("shop").host == "shop.example"


def test_a_place_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen api-server takes half a minute to fail: asked twice, its caller would count as hanging."""
    asked: list[object] = []

    def fail(*_: object, **__: object) -> None:
        asked.append(1)
        raise TimeoutError

    monkeypatch.setattr(EnvironmentVariablesBackend, "get_conn_value", fail)
    with pytest.raises(ConnectionUnreadable):
        airflow_connection.find("shop")

    assert len(asked) == 1


def test_an_installation_without_the_hubs_database_blames_no_event() -> None:
    with pytest.raises(StoreUnavailable, match="Airflow has no connection 'hub_db'"):
        Store.from_connection("hub_db")
    assert issubclass(StoreUnavailable, HubUnavailable)
