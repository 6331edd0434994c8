"""A delivery worker of the benchmark: `python -m crossdock.bench.orders.worker`, until SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from crossdock.app.delivery import background_tasks
from crossdock.app.kept_clients import KeptClients
from crossdock.app.orders import Calls, OrderDriver
from crossdock.app.services import services
from crossdock.app.subscribers import subscribers
from crossdock.core.decoding import prepare
from crossdock.db.database import Store
from crossdock.events.delivery import PartitionAssignment, deliver
from crossdock.http.connection import Connection
from crossdock.http.shared_safeguards import SharedSafeguards
from crossdock.integrations.actions.ports import OpenClient
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Integration

_LIFE = timedelta(hours=1)


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is started with."""

    dsn: str
    number: int
    workers: int
    connections: Sequence[Mapping[str, Any]]


prepare(WorkerOptions)


def client_opener(options: WorkerOptions) -> OpenClient:
    """Open clients as a delivery worker does, with the options' documents in the place of Airflow's connections."""
    store = Store(options.dsn)
    known = {
        document["connection_id"]: Connection(**{**document, "extra": json.loads(document["extra"])})
        for document in options.connections
    }

    @contextmanager
    def open_client(integration: Integration, manifest: Manifest) -> Iterator[Any]:
        connection = known[integration.connection_id]
        with SharedSafeguards(store, integration.integration_id, queues=False) as calls:
            yield manifest.provided("client")(integration.integration_id, connection, calls.safeguards)

    return open_client


def main() -> None:
    """Deliver events until SIGTERM."""
    options = msgspec.json.decode(sys.argv[1], type=WorkerOptions)
    os.environ["HUB_MAIL_FROM"] = "The Shop <orders@shop.example>"
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    open_store = partial(Store, options.dsn)
    clients = KeptClients(client_opener(options))
    driver = OrderDriver(lambda: Calls(open_store(), clients.open), idle=clients.close_old)
    with closing(replace(services(), orders=driver, clients=clients)) as provided:
        known = subscribers(provided)
        sys.stdout.write('{"ready": true}\n')
        sys.stdout.flush()
        deliver(
            open_store,
            PartitionAssignment(options.number, workers=options.workers, partitions=options.workers),
            lifetime=_LIFE,
            subscribers=known,
            background=background_tasks(open_store, known, orders=provided.orders),
            stop=stop,
        )


if __name__ == "__main__":
    main()
