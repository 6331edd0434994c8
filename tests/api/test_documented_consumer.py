"""What docs/how-to/follow-the-events.md says of a consumer elsewhere: killed again and again, it misses nothing."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from crossdock.db.database import Store
from tests.api.conftest import Hub
from tests.events.worlds import publish, stock
from tests.shop import query

DOCS = Path(__file__).parents[2] / "docs/how-to/follow-the-events.md"
_PATIENCE_S = 300


def block(language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(), re.DOTALL)[number]


@pytest.fixture
def store(hub: Hub) -> Iterator[Store]:
    with hub.store() as opened:
        query(opened, "DELETE FROM event RETURNING 1")
        yield opened
        query(opened, "DELETE FROM event RETURNING 1")


def started(hub: Hub, folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "HUB_URL": hub.url, "HUB_USER": "vera", "HUB_PASSWORD": "veravera"}
    return subprocess.Popen([sys.executable, "follow.py"], cwd=folder, env=environment)


def followed(folder: Path) -> list[str]:
    with suppress(sqlite3.OperationalError), sqlite3.connect(folder / "followed.db") as found:
        return [key for (key,) in found.execute("SELECT key FROM event ORDER BY rowid")]
    return []


def wait_for(folder: Path, number: int) -> None:
    ends_at = time.monotonic() + _PATIENCE_S
    while len(followed(folder)) < number:
        assert time.monotonic() < ends_at, f"{len(followed(folder))} of {number} events arrived"
        time.sleep(0.05)


def test_a_consumer_that_is_killed_and_started_again_has_each_event_once_and_in_order(
    hub: Hub, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "follow.py").write_text(block("python"))
    for turn in range(4):
        publish(store, *(stock(f"S{turn}-{n}", 1, n) for n in range(300)))
        consumer = started(hub, tmp_path)
        # At its first page, or in its midst: wherever that is, nothing may be missing afterwards.
        wait_for(tmp_path, turn * 300 + 1)
        publish(store, stock(f"S{turn}-last", 1, 1))
        consumer.send_signal(signal.SIGKILL)
        consumer.wait(60)
        publish(store, stock(f"S{turn}-away", 1, 1))
    consumer = started(hub, tmp_path)
    try:
        wait_for(tmp_path, 4 * 302)
    finally:
        consumer.kill()
        consumer.wait(60)

    expected = [f"S{turn}-{n}" for turn in range(4) for n in [*range(300), "last", "away"]]
    assert followed(tmp_path) == expected


def test_the_role_of_the_docs_reads_the_events_in_order_and_nothing_else(store: Store) -> None:
    publish(store, stock("CHAIR", 1, 5), stock("TABLE", 1, 6))
    grants, statement = block("sql", 0).replace("hub.", f"{store.schema}."), block("sql", 1)
    grants = grants.replace("SCHEMA hub", f"SCHEMA {store.schema}").replace("'…'", "'made-up-for-a-test'")
    statement = statement.replace("hub.", f"{store.schema}.")
    with psycopg.connect(store.dsn, autocommit=True) as owner:
        owner.execute(grants)
    try:
        dsn = psycopg.conninfo.make_conninfo(store.dsn, user="event_reader", password="made-up-for-a-test")
        with psycopg.connect(dsn, autocommit=True) as reader:
            first = reader.execute(statement, {"epoch": 0, "xid": "0", "position": 0}).fetchall()
            epoch, xid, position = first[0][:3]
            second = reader.execute(statement, {"epoch": epoch, "xid": str(xid), "position": position}).fetchall()
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(f"SELECT count(*) FROM {store.schema}.placed_order")
        assert [row[4] for row in first] == ["CHAIR", "TABLE"]
        assert [row[4] for row in second] == ["TABLE"]
    finally:
        with psycopg.connect(store.dsn, autocommit=True) as owner:
            owner.execute("DROP OWNED BY event_reader")
            owner.execute("DROP ROLE event_reader")
