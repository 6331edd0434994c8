"""
Which stack and which database a command speaks to.

Imports are inside the functions: a command that only sends requests to an API loads no database driver.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import StackError
from crossdock.client.hub import HubApi
from crossdock.core.errors import BadRequest

if TYPE_CHECKING:
    from crossdock.db.database import Store
    from crossdock.stack.lifecycle import Stack
    from crossdock.sync import Stream


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


@contextmanager
def open_store() -> Iterator[Store]:
    """Open the hub's database: HUB_DATABASE_URL where it is set (a deployed hub), else the local stack's."""
    from crossdock.db.database import Store  # noqa: PLC0415

    dsn = os.environ.get("HUB_DATABASE_URL") or running_stack().hub_dsn
    with Store(dsn) as store:
        yield store


def hub_api() -> HubApi:
    """
    Choose the hub's API: HUB_URL with HUB_USER and HUB_PASSWORD (a deployed hub), else the local stack's.

    Raises:
        NotRunning: There is neither.
        BadRequest: HUB_URL is set without the login.

    """
    url = os.environ.get("HUB_URL")
    if url is None:
        return HubApi(running_stack().api())
    user, password = os.environ.get("HUB_USER"), os.environ.get("HUB_PASSWORD")
    if not (user and password):
        raise BadRequest("HUB_URL is set: set HUB_USER and HUB_PASSWORD too, the login of that hub's Airflow")
    return HubApi(AirflowApi(url, user, password))


def find_stream(name: str) -> Stream:
    """
    Find a stream by its ID, or by a shorter name where only one is meant.

    Raises:
        BadRequest: no stream is meant, or several are; the message lists them.

    """
    from crossdock.app.streams import only_stream_of  # noqa: PLC0415

    use_definitions_of_stack()
    return only_stream_of(name)


def use_definitions_of_stack() -> None:
    """Read which streams exist where the local stack writes it, unless HUB_DEFINITIONS_URL says otherwise."""
    from crossdock.stack.airflow import hub_environment  # noqa: PLC0415

    os.environ.setdefault("HUB_DEFINITIONS_URL", hub_environment()["HUB_DEFINITIONS_URL"])


def stream_id(name: str | None) -> str | None:
    """Complete the name of a stream, as `find_stream` does; None for no name."""
    return find_stream(name).id if name else None


def actor() -> str:
    """Name the person who gives the command, for the audit trail."""
    return f"cli:{getpass.getuser()}"
