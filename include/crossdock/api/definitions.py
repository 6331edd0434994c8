"""Make a change of the registry known to Airflow: snapshots for the DAG files, a pool, and a parse without delay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

from crossdock.app import definitions
from crossdock.core.ids import delivery_dags
from crossdock.core.log import logger
from crossdock.db.database import Store

log = logger(__name__)


def integration_added(store: Store, integration_id: str) -> None:
    """Create the integration's pool, unless there is one, and its DAGs. Call it in the api-server."""
    _create_pool(definitions.pool_of(integration_id))
    integrations_changed(store)


def integrations_changed(store: Store) -> None:
    """Write the snapshots of the registry, and have Airflow parse the DAG files of those that changed."""
    _parse_soon(definitions.write(store))


def _create_pool(pool: Mapping[str, Any]) -> None:
    from airflow.models.pool import Pool  # noqa: PLC0415  only the api-server has Airflow's database
    from airflow.utils.session import create_session  # noqa: PLC0415

    with create_session() as session:
        if Pool.get_pool(pool["name"], session=session) is None:
            Pool.create_or_update_pool(**pool, include_deferred=False, session=session)


def _parse_soon(file_nos: Sequence[int]) -> None:
    """Have Airflow parse the DAG files within a second, instead of at their next turn."""
    from airflow.models.dag import DagModel  # noqa: PLC0415  as above
    from airflow.models.dagbag import DagPriorityParsingRequest  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy.exc import IntegrityError  # noqa: PLC0415

    if not file_nos:
        return
    with create_session() as session:
        # Our DAG files lie beside the one of the delivery.
        known = session.get(DagModel, delivery_dags(1)[0])
        if known is None or known.relative_fileloc is None:
            log.info("Airflow has not parsed our DAG files yet: it will at their next turn")
            return
        folder = PurePosixPath(known.relative_fileloc).parent
        for file_no in file_nos:
            request = DagPriorityParsingRequest(known.bundle_name, str(folder / definitions.file_name(file_no)))
            # One that waits already is the same request. Its key is made when it is written, so that nothing finds it before.
            with suppress(IntegrityError), session.begin_nested():
                session.add(request)
