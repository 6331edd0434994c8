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
from crossdock.client.hub import HubApi
from crossdock.client.login import Login
from crossdock.core.errors import BadRequest

if TYPE_CHECKING:
    from crossdock.db.database import Store
    from crossdock.stack.lifecycle import Stack


def running_stack(*parts: str) -> Stack:
    """
    Return the local stack, of which the command uses *parts*.

    Raises:
        NotRunning: Nothing of it runs.
        PartMissing: One of *parts* does not run. What the command does not use may be missing.
        BadRequest: The environment has a login without HUB_URL, which the local stack does not check.

    """
    from crossdock.stack import needs  # noqa: PLC0415

    Login.of_environment(os.environ)
    return needs.running(parts)


def login_file() -> Path:
    """Find the file that `./hub login` writes."""
    from crossdock.stack.home import home  # noqa: PLC0415

    return home() / "login.json"


def airflow_api(*, starts_runs: bool = False) -> AirflowApi:
    """
    Choose the Airflow that serves the hub: HUB_URL, else the one of `./hub login`, else the local stack's.

    *starts_runs* is for a command that waits for a DAG run, or for what delivery workers do: it needs the scheduler, too.

    Raises:
        NotRunning: There is none.
        PartMissing: A part of the local stack that this needs does not run.
        BadRequest: HUB_URL is set without a login for it, a login without HUB_URL, or HUB_DATABASE_URL.

    """
    named, saved = Login.of_environment(os.environ), Login.of_file(login_file())
    if named is None:
        return saved.airflow() if saved else _local_api(starts_runs=starts_runs)
    if not named.is_complete:
        if saved is None or saved.url != named.url:
            raise BadRequest(
                f"HUB_URL is set without a login. Log in with ./hub login {named.url}, or set HUB_USER and HUB_PASSWORD "
                "of that hub's Airflow, or HUB_TOKEN"
            )
        return saved.airflow()
    return named.airflow()


def _local_api(*, starts_runs: bool) -> AirflowApi:
    from crossdock.stack import needs  # noqa: PLC0415

    return running_stack(*needs.API, *(needs.RUNS if starts_runs else ())).api()


def hub_api(*, starts_runs: bool = False) -> HubApi:
    """Choose the hub's API; arguments and errors as in `airflow_api`."""
    return HubApi(airflow_api(starts_runs=starts_runs))


@contextmanager
def local_store() -> Iterator[Store]:
    """
    Open the hub's own database, for the few commands that read it as a whole on the machine where it is.

    Where Airflow is configured (in a container of a deployment) by its connection, else the local stack's.

    Raises:
        NotRunning, PartMissing: There is neither.
        BadRequest: HUB_DATABASE_URL is set, or a login without HUB_URL.

    """
    from crossdock.core.ids import prefixed  # noqa: PLC0415
    from crossdock.db.database import Store  # noqa: PLC0415
    from crossdock.stack import needs  # noqa: PLC0415

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
    with Store(running_stack(*needs.DATABASE).hub_dsn) as store:
        yield store
