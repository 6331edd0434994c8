"""
Which hub a command speaks to.

Imports are inside the functions: a command that only sends requests to an API loads no database driver.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import StackError
from crossdock.client.hub import HubApi
from crossdock.client.login import Login
from crossdock.core.errors import BadRequest

if TYPE_CHECKING:
    from crossdock.db.database import Store
    from crossdock.stack.lifecycle import Stack


class NotRunning(StackError):
    """A command needs the local stack, which is not running."""


def running_stack() -> Stack:
    """
    Return the local stack.

    Raises:
        NotRunning: It is stopped, or a part of it has ended.

    """
    from crossdock.stack import lifecycle  # noqa: PLC0415

    found = lifecycle.load()
    if found is None:
        state = lifecycle.status().state
        raise NotRunning(f"The stack is {state}. Start it with: ./hub up")
    return found


def login_file() -> Path:
    """Find the file that `./hub login` writes."""
    from crossdock.stack.home import home  # noqa: PLC0415

    return home() / "login.json"


def airflow_api() -> AirflowApi:
    """
    Choose the Airflow that serves the hub: HUB_URL, else the one of `./hub login`, else the local stack's.

    Raises:
        NotRunning: There is none.
        BadRequest: HUB_URL is set without a login for it, or HUB_DATABASE_URL is set.

    """
    named, saved = Login.of_environment(os.environ), Login.of_file(login_file())
    if named is None:
        return saved.airflow() if saved else running_stack().api()
    if not named.is_complete:
        if saved is None or saved.url != named.url:
            raise BadRequest(
                f"HUB_URL is set without a login. Log in with ./hub login {named.url}, or set HUB_USER and HUB_PASSWORD "
                "of that hub's Airflow, or HUB_TOKEN"
            )
        return saved.airflow()
    return named.airflow()


def hub_api() -> HubApi:
    """Choose the hub's API; errors as in `airflow_api`."""
    return HubApi(airflow_api())


@contextmanager
def local_store() -> Iterator[Store]:
    """
    Open the hub's own database, for the few commands that read it as a whole on the machine where it is.

    Where Airflow is configured (in a container of a deployment) by its connection, else the local stack's.

    Raises:
        NotRunning: There is neither.
        BadRequest: HUB_DATABASE_URL is set.

    """
    from crossdock.core.ids import prefixed  # noqa: PLC0415
    from crossdock.db.database import Store  # noqa: PLC0415

    Login.of_environment(os.environ)
    connection = os.environ.get("HUB_STORE_CONNECTION") or prefixed("hub_db")
    of_airflow = (f"AIRFLOW_CONN_{connection.upper()}", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN")
    if any(os.environ.get(name) for name in of_airflow):
        # Airflow logs to standard output, where a program expects one JSON document.
        with redirect_stdout(sys.stderr):
            of_connection = Store.from_connection(connection)
        with of_connection as store:
            yield store
        return
    with Store(running_stack().hub_dsn) as store:
        yield store
