"""
What subscribers need from the rest of the hub: built once per process, and given to them in `app.subscribers`.

To add a service: a field of `Services`, its Protocol beside it or in the subject's `ports.py`, and a line in `services`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Protocol

from crossdock.app.airflow.systems import client_of, systems_of
from crossdock.app.fetch_records import SyncRecordFetcher
from crossdock.app.kept_clients import KeptClients
from crossdock.app.orders import Calls, OrderDriver, not_called
from crossdock.app.workflow_runs import WorkflowDriver
from crossdock.app.workflows import DeclaredFlows
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.integrations.actions.ports import Client
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Integration
from crossdock.workflows.declared.subscribers import FailedExecutions
from crossdock.workflows.declared.triggers import WorkflowTriggers


class RecordFetcher(Protocol):
    """Fetches single records from their source, on demand."""

    def fetch(self, stream_id: str, keys: Sequence[str], *, by_id: bool = False) -> None:
        """
        Fetch the records of a stream under *keys* and load them before this returns. Idempotent: fetching again changes nothing.

        The keys are business keys, or, with *by_id*, ids of the source.

        Raises:
            HubError: Transient or Terminal; none or some of the records may be loaded.

        """
        ...

    def close(self) -> None:
        """Close what it keeps open between two fetches; the next fetch opens it again."""
        ...


@dataclass(frozen=True)
class Services:
    """What a subscriber can be closed over. Having them costs nothing: each opens what it needs on its first use."""

    records: RecordFetcher
    orders: OrderDriver
    workflows: WorkflowDriver
    failed_executions: FailedExecutions
    workflow_triggers: WorkflowTriggers
    clients: KeptClients

    def close(self) -> None:
        """Close what they keep open between two calls. Afterwards they can be used again."""
        self.records.close()
        self.orders.close()
        self.workflows.close()
        self.clients.close()


@cache
def services() -> Services:
    """Build the services of this process, once, without opening anything. Calls to other systems work in Airflow's tasks only."""
    clients = KeptClients(_open_client)

    def open_calls() -> Calls:
        return Calls(_store(), clients.open)

    definitions = DeclaredFlows(not_called)
    return Services(
        records=SyncRecordFetcher(partial(systems_of, starts=True, queues=False)),
        orders=OrderDriver(open_calls, idle=clients.close_old, others=DeclaredFlows),
        workflows=WorkflowDriver(open_calls),
        failed_executions=FailedExecutions(_store, definitions),
        workflow_triggers=WorkflowTriggers(definitions),
        clients=clients,
    )


def _store() -> Store:
    return Store.from_connection(settings().store_connection)


@contextmanager
def _open_client(integration: Integration, manifest: Manifest) -> Iterator[Client]:
    with _store() as store, client_of(store, integration, manifest) as client:
        yield client
