"""A change has Airflow parse its DAG file, even if Airflow's DAG processor drops the request."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from crossdock.app import workflow_snapshots
from crossdock.core.ids import delivery_dags
from crossdock.core.paths import path_of
from tests.api.conftest import Hub

FILE = workflow_snapshots.file_name(workflow_snapshots.file_of("parsed"))
DEFINITION = """
schema: crossdock.workflow/1
id: parsed
version: {version}
title: T
do: [{{id: only, set: {{n: "`{version}`"}}}}]
"""


@pytest.fixture
def version(hub: Hub) -> Iterator[int]:
    """A version that is tested, and not yet deployed."""
    hub.airflow_knows(delivery_dags(1)[0], "deliver_events.py")
    known = hub.call("GET", "/v1/workflows/parsed")
    found = known.json()["version"] + 1 if known.status_code == 200 else 1
    added = hub.call("POST", "/v1/workflows", json={"definition": DEFINITION.format(version=found)})
    assert added.status_code in (200, 201), added.text
    assert hub.call("POST", "/v1/workflows/parsed/test", json={}).json()["state"] == "COMPLETED"
    yield found
    hub.call("DELETE", path_of("v1", "workflows", "parsed", "deploy"))


def claimed(hub: Hub) -> list[str]:
    """Take the requests, as the DAG processor does before it looks whether it is parsing the file."""
    with closing(sqlite3.connect(hub.metadata, timeout=30)) as metadata, metadata:
        found = metadata.execute("DELETE FROM dag_priority_parsing_request RETURNING relative_fileloc").fetchall()
    return [file for (file,) in found]


def claimed_within(hub: Hub, seconds: float) -> list[str]:
    until = time.monotonic() + seconds
    while not (found := claimed(hub)) and time.monotonic() < until:
        time.sleep(0.1)
    return found


@pytest.mark.usefixtures("version")
def test_a_request_that_led_to_no_parse_is_made_again(hub: Hub) -> None:
    """Airflow drops the request for a file that it is parsing at that moment: the DAG came only at its next turn."""
    claimed(hub)
    assert hub.call("PUT", "/v1/workflows/parsed/deploy", json={}).status_code == 200

    assert claimed(hub) == [FILE]
    hub.airflow_knows("of_before", FILE, written_at=datetime.now(UTC) + timedelta(seconds=1), took_s=3_600)
    assert claimed_within(hub, 30) == [FILE]


@pytest.mark.usefixtures("version")
def test_a_file_that_was_parsed_since_is_not_asked_for_again(hub: Hub) -> None:
    claimed(hub)
    assert hub.call("PUT", "/v1/workflows/parsed/deploy", json={}).status_code == 200

    assert claimed(hub) == [FILE]
    hub.airflow_knows("of_before", FILE, written_at=datetime.now(UTC) + timedelta(seconds=1.2), took_s=0.2)
    assert claimed_within(hub, 3.5) == []
