"""Which stack and which database a command speaks to."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager

from crossdock.app.streams import sync_of
from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import StackError
from crossdock.client.hub import HubApi
from crossdock.core.errors import BadRequest
from crossdock.db.database import Store
from crossdock.stack import lifecycle
from crossdock.stack.lifecycle import Stack


class NotRunning(StackError):
    """A command needs the local stack, and it does not run."""


def running_stack() -> Stack:
    """
    The local stack.

    Raises:
        NotRunning: it is stopped, or a part of it has ended.

    """
    found = lifecycle.load()
    if found is None:
        state = lifecycle.status().state
        raise NotRunning(f"The stack is {state}. Start it with: ./hub up")
    return found


@contextmanager
def open_store() -> Iterator[Store]:
    """The hub's database: HUB_DATABASE_URL where it is set (a deployed hub), else the local stack's."""
    dsn = os.environ.get("HUB_DATABASE_URL") or running_stack().hub_dsn
    with Store(dsn) as store:
        yield store


def hub_api() -> HubApi:
    """
    The hub's API: HUB_URL with HUB_USER and HUB_PASSWORD where it is set (a deployed hub), else the local stack's.

    Raises:
        NotRunning: neither.
        BadRequest: HUB_URL without who is to sign in.

    """
    url = os.environ.get("HUB_URL")
    if url is None:
        return HubApi(running_stack().api())
    user, password = os.environ.get("HUB_USER"), os.environ.get("HUB_PASSWORD")
    if not (user and password):
        raise BadRequest("HUB_URL needs HUB_USER and HUB_PASSWORD: who signs in to Airflow there")
    return HubApi(AirflowApi(url, user, password))


def refuse_unknown(entity: str | None) -> None:
    """
    Raises:
        BadRequest: there is no sync of *entity*; an empty answer would say that all is well.

    """
    if entity is not None:
        sync_of(entity)


def actor() -> str:
    """Who gives the command, for the audit trail."""
    return f"cli:{getpass.getuser()}"
