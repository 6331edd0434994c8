"""
The process that sends alerts: `python -m crossdock.app.alert_sender`.

It needs the hub's database, and nothing else of the hub or of Airflow that runs: it checks the alarms itself, and reads
connections from where Airflow keeps them. What it once read it remembers, so that Airflow's database may be down, too.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from crossdock.app import watched
from crossdock.app.airflow.signing_keys import signing_keys
from crossdock.app.last_resort import last_resort
from crossdock.app.services import services
from crossdock.app.subscribers import subscribers
from crossdock.core.errors import HubError
from crossdock.core.log import logger
from crossdock.core.settings import settings
from crossdock.db import writable
from crossdock.db.airflow_lookup import ConnectionUnreadable
from crossdock.db.database import Store, StoreUnavailable
from crossdock.events import counts_repository
from crossdock.http.connection import Connection
from crossdock.integrations import airflow_connection
from crossdock.maintenance import alarms, process_logs
from crossdock.maintenance.airflow_health import AirflowWatch
from crossdock.maintenance.alarms import Condition
from crossdock.maintenance.alerting import service
from crossdock.maintenance.alerting.channels import OpenChannel, open_channel
from crossdock.maintenance.alerting.deeds import PURPOSE, links_of
from crossdock.maintenance.alerting.outage import DatabaseWatch
from crossdock.maintenance.alerting.sender import AlertSender, SenderConfig
from crossdock.observability.alerts import Kind

log = logger("crossdock.app.alert_sender")

_RETRY_S = 5.0
_WRITE_TEST_EVERY_S = 15.0
#: Events counted in one transaction: some tens of milliseconds.
_COUNT_ROWS = 20_000
#: The home of a local stack; in a container there is none, and it has this folder alone.
_FOLDER = Path(os.environ.get("HUB_HOME") or tempfile.gettempdir())
#: Its time is when the sender last had an answer of the hub's database.
ALIVE = _FOLDER / "crossdock-alert-sender.alive"
#: What was sent of an outage that is not over: a sender that is started anew meanwhile must not send it again.
OUTAGE = _FOLDER / "crossdock-alert-sender.outage"


class RememberedConnections:
    """
    Reads Airflow's connections. One that cannot be read now, or is gone, is as it was last.

    Whoever wants to stop a channel removes the route or the integration.
    """

    def __init__(self) -> None:
        self._known: dict[str, Connection] = {}

    def find(self, connection_id: str) -> Connection | None:
        """
        Find the connection; None if there is none, and was none since this process started.

        Raises:
            ConnectionUnreadable: it cannot be read now, and was not since this process started.

        """
        try:
            found = airflow_connection.find(connection_id)
        except ConnectionUnreadable:
            if connection_id not in self._known:
                raise
            found = None
        if found:
            self._known[connection_id] = found
        return self._known.get(connection_id)

    def read(self, connection_id: str) -> Connection:
        """
        Find the connection, or fail.

        Raises:
            NotFound: as `find` gives None.

        """
        return self.find(connection_id) or airflow_connection.read(connection_id)


def alarms_check(connections: RememberedConnections) -> Callable[[Store], None]:
    """Build what opens and closes the alerts of conditions, as housekeeping does while events are delivered."""
    conditions = {**watched.conditions(connection_of=connections.find), **_of_airflow()}
    return lambda store: alarms.check(store, subscribers(services()), watched.thresholds(), conditions)


def _of_airflow() -> dict[Kind, Condition]:
    """Watch Airflow from here alone: it remembers since when, and a worker of Airflow's is no witness."""
    return {Kind.AIRFLOW_UNREACHABLE: AirflowWatch(settings().airflow_url)} if settings().airflow_url else {}


def sync_declared(store: Store) -> None:
    """Take over the routes that files declare."""
    service.sync_declared(store, settings().alert_routes)


def count_events(store: Store) -> None:
    """Count events by the hour while no worker delivers them, so that `./hub events status` stays quick."""
    with store.transaction() as work:
        counts_repository.count_next(work, limit=_COUNT_ROWS)


def serve(open_store: Callable[[], Store], is_over: Callable[[], bool]) -> None:
    """Send alerts until it is over, from the moment at which the hub's database can be reached."""
    hub = settings().name
    watch = DatabaseWatch(hub, last_resort(settings().alert_last_resort.get_secret_value()), memory=OUTAGE)
    watch.start(is_over)
    store = _opened(open_store, is_over)
    if store is None:
        return
    connections = RememberedConnections()
    url = os.environ.get("AIRFLOW__API__BASE_URL", "")

    def channels(shared: Store) -> OpenChannel:
        return partial(open_channel, shared, connections.read)

    AlertSender(
        store,
        channels,
        SenderConfig(hub=hub, airflow_url=url, deeds_of=links_of(url, signing_keys(PURPOSE))),
        check=[alarms_check(connections), sync_declared, count_events],
        is_over=is_over,
        on_answer=partial(note_answer, watch, WriteTest(store.another())),
    ).run()


class WriteTest:
    """Tries now and then whether the hub's database takes writes: where its volume is full, questions are still answered."""

    def __init__(self, store: Store, *, every_s: float = _WRITE_TEST_EVERY_S) -> None:
        self._store, self._every_s = store, every_s
        self._next_at_s = 0.0
        self._refused: str | None = None

    def refusal(self) -> str | None:
        """Say why the last try failed; None where it did not."""
        if time.monotonic() >= self._next_at_s:
            self._next_at_s = time.monotonic() + self._every_s
            with suppress(StoreUnavailable):  # Then it does not answer either, which the sender notices.
                self._refused = writable.refusal(self._store)
        return self._refused


def note_answer(watch: DatabaseWatch, test: WriteTest) -> None:
    """Note that the database has answered; also in a file, which the health check of a container reads."""
    refused = test.refusal()
    if refused:
        watch.refused(refused)
    else:
        watch.answered()
    # A full or read-only disk is what alerts are for: it must not keep them from being sent.
    with suppress(OSError):
        ALIVE.touch()


def _opened(open_store: Callable[[], Store], is_over: Callable[[], bool]) -> Store | None:
    """Open the store, once Airflow says where it is."""
    while not is_over():
        try:
            return open_store()
        except Exception as error:  # noqa: BLE001  Airflow's database may be down: its errors are any
            log.warning("The connection %s cannot be read: %s", settings().store_connection, type(error).__name__)
            time.sleep(_RETRY_S)
    return None


def main() -> None:
    """Run until SIGTERM."""
    # As Airflow's own servers: connections are then read from its database, and not over the api-server.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    # Here, because it outlives all else: what fails for a day writes a line for each failure.
    process_logs.keep_bounded(settings().process_log_places, over)
    try:
        serve(lambda: Store.from_connection(settings().store_connection), over.is_set)
    except HubError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    main()
