"""
Have Airflow parse DAG files without delay. In the api-server, which alone has Airflow's database.

Airflow's DAG processor drops a request for a file that it is parsing at that moment, with the content from before. So each file
is looked at again a little later, and asked for again unless it has been parsed since.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

from crossdock.core.ids import delivery_dags
from crossdock.core.log import logger

log = logger(__name__)

#: After the request, and after each look. A parse takes a second, and a few on a busy machine.
_WAITS_S = (2.0, 5.0, 10.0)
#: A result waits until the DAG processor writes it. One that seems to have begun sooner after the request may be older than that.
_MARGIN = timedelta(seconds=0.5)


def parse_soon(files: Sequence[str]) -> None:
    """Have Airflow parse DAG files of ours within some seconds, instead of at their next turn."""
    if not files:
        return
    asked_at = datetime.now(UTC)
    _request(files)
    threading.Thread(target=_look_again, args=(files, asked_at), name="parse requests", daemon=True).start()


def _look_again(files: Sequence[str], asked_at: datetime) -> None:
    for wait_s in _WAITS_S:
        time.sleep(wait_s)
        try:
            if not (files := _not_parsed_since(files, asked_at)):
                return
            _request(files)
        except Exception as error:  # noqa: BLE001  whatever it is: Airflow parses the files at their next turn
            log.warning("Airflow could not be asked once more to parse %s: %s", ", ".join(files), type(error).__name__)


def _request(files: Sequence[str]) -> None:
    from airflow.models.dag import DagModel  # noqa: PLC0415  only the api-server has Airflow's database
    from airflow.models.dagbag import DagPriorityParsingRequest  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy.exc import IntegrityError  # noqa: PLC0415

    with create_session() as session:
        # Our DAG files lie beside the one of the delivery.
        known = session.get(DagModel, delivery_dags(1)[0])
        if known is None or known.relative_fileloc is None:
            log.info("Airflow has not parsed our DAG files yet: it will at their next turn")
            return
        folder = PurePosixPath(known.relative_fileloc).parent
        for file in files:
            request = DagPriorityParsingRequest(known.bundle_name, str(folder / file))
            # One that waits already is the same request. Its key is made when it is written, so that nothing finds it before.
            with suppress(IntegrityError), session.begin_nested():
                session.add(request)


def _not_parsed_since(files: Sequence[str], asked_at: datetime) -> list[str]:
    """
    Find the files whose last parse may have begun before *asked_at*; those that define no DAG are always among them.

    Airflow keeps when the result of a parse was written, and how long the parse took.
    """
    from airflow.models.dag import DagModel  # noqa: PLC0415  as above
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import select  # noqa: PLC0415

    parsed = set()
    with create_session() as session:
        found = select(DagModel.relative_fileloc, DagModel.last_parsed_time, DagModel.last_parse_duration).where(
            DagModel.last_parsed_time > asked_at
        )
        for place, written_at, duration_s in session.execute(found):
            if place and written_at and written_at - timedelta(seconds=duration_s or 0) > asked_at + _MARGIN:
                parsed.add(PurePosixPath(place).name)
    return [file for file in files if file not in parsed]
