"""What a run did is said in Airflow: at the end of the log, in the asset's event, in the run's note."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.types import TaskInstanceKey

from crossdock.app.airflow.run_account import HubRecordLink, note_failure, tell
from crossdock.app.airflow.task_failures import TaskFailed
from crossdock.core.errors import BadRequest
from crossdock.core.hints import Hint, HintId
from crossdock.core.ids import RUN_NOTE
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sync import Systems, extract, load, validate
from crossdock.sync.model import SyncRequest
from tests.streams import INVENTORY

PROJECT = Path(__file__).parents[3]


class TaskInstance:
    """As much of Airflow's as a task uses here: what it pushes."""

    task_id = "load"

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, *, key: str, value: Any) -> None:
        self.xcoms[key] = value


@pytest.fixture
def shop() -> Iterator[FakeRetailer]:
    """A retailer some of whose stock levels fail a rule."""
    with FakeRetailer(seed=7, inventory=200, products=0, orders=0, customers=0, flaws=3) as open_shop:
        yield open_shop


def loaded(systems: Systems, **request: Any) -> str:
    run_id = extract(INVENTORY, systems, SyncRequest(**request))
    load(INVENTORY, systems, validate(INVENTORY, systems, run_id))
    return run_id


def test_a_run_with_rejected_records_ends_its_log_with_a_warning_that_names_the_next_step(
    systems: Systems, caplog: pytest.LogCaptureFixture
) -> None:
    """The run succeeds, and a green run hides nothing."""
    run_id, ti, event = loaded(systems, full=True), TaskInstance(), SimpleNamespace(extra={})

    with caplog.at_level(logging.INFO):
        tell(systems.store, run_id, ti=ti, event=event)

    last = caplog.records[-1]
    counts = event.extra
    assert counts["rejected"] > 0
    assert last.levelname == "WARNING"
    assert last.getMessage() == ti.xcoms[RUN_NOTE]
    assert last.getMessage() == (
        f"{counts['read']:,} records read: {counts['inserted']:,} inserted, {counts['rejected']:,} rejected. The rejected "
        f"ones are in quarantine: ./hub quarantine list --run {run_id}. Record by record: ./hub run rows {run_id}"
    )


def test_the_asset_s_event_has_the_outcomes_and_the_window(systems: Systems) -> None:
    """A DAG that waits for the asset reads there how much came, and from when."""
    run_id, event = loaded(systems, full=True), SimpleNamespace(extra={})

    tell(systems.store, run_id, ti=TaskInstance(), event=event)

    extra = json.loads(json.dumps(event.extra))
    assert extra["run_id"] == run_id
    assert (extra["stream"], extra["state"], extra["moves_watermark"]) == ("commercetools.inventory", "partial", True)
    assert extra["read"] == sum(
        extra[name] for name in ("inserted", "updated", "unchanged", "stale", "rejected", "held")
    )
    assert (extra["window_low"], type(extra["window_high"])) == (None, str)


def test_a_run_that_found_nothing_says_so(systems: Systems, caplog: pytest.LogCaptureFixture) -> None:
    run_id = loaded(systems, keys=("NO-SUCH-SKU",))

    with caplog.at_level(logging.INFO):
        tell(systems.store, run_id, ti=TaskInstance())

    last = caplog.records[-1]
    assert (last.levelname, last.getMessage()) == ("INFO", f"0 records read: nothing has changed. Run {run_id}")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            TaskFailed(BadRequest("acme is paused", hint=Hint(HintId.RESUME_INTEGRATION, "acme"))),
            "load failed: acme is paused. Resume the integration: ./hub integration resume acme",
        ),
        (ValueError("secret-4711"), "load failed: ValueError"),
    ],
)
def test_a_failed_task_leaves_its_reason_for_the_note(error: BaseException | None, sentence: str) -> None:
    ti = TaskInstance()

    note_failure({"ti": ti, "exception": error})

    assert ti.xcoms[RUN_NOTE] == sentence


def test_of_a_task_whose_process_is_gone_no_note_is_left() -> None:
    """The DAG processor calls this then, without an exception. It answers no XCom, so who leaves one waits until it is killed."""
    ti = TaskInstance()

    note_failure({"ti": ti})

    assert ti.xcoms == {}


def test_the_button_opens_the_hub_s_page_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow may be below a path, and a run's ID has characters that end a query."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://intern.example/airflow/")
    key = TaskInstanceKey("sync_shop_orders", "load", "manual__2026-11-21T09:00:00+00:00", 1, -1)

    assert HubRecordLink().get_link(None, ti_key=key) == (
        "https://intern.example/airflow/hub/pages/dag-run?dag_id=sync_shop_orders"
        "&run_id=manual__2026-11-21T09%3A00%3A00%2B00%3A00"
    )


#: Runs that end, with Airflow's own tables, notifications and plugins; each is DAG ID → [XComs, note of a person].
_END_RUNS = """
import json, sys
from airflow import settings
from airflow.models import DagRun
from airflow.models import import_all_models
from airflow.models.base import Base
from airflow.models.xcom import XComModel
from airflow.utils.sqlalchemy import prohibit_commit
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import event

# Without the rows that a whole DAG would bring.
event.listen(settings.engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys=OFF"))
import_all_models()
Base.metadata.create_all(settings.engine)
found = {}
for dag_id, (notes, own) in json.loads(sys.argv[1]).items():
    with settings.Session() as session:
        run = DagRun(dag_id=dag_id, run_id="noon", run_type=DagRunType.MANUAL, state="running",
                     triggered_by=DagRunTriggeredByType.REST_API)
        session.add(run)
        session.flush()
        if own:
            run.note = (own, "ada")
        for at, (task_id, note) in enumerate(notes):
            session.add(XComModel(dag_run_id=run.id, dag_id=dag_id, run_id="noon", task_id=task_id, map_index=-1,
                                  key="crossdock_note", value=note))
        session.commit()
    with settings.Session() as session:
        run = session.query(DagRun).filter_by(dag_id=dag_id).one()
        # As the scheduler does it: whoever commits in between has his transaction fail.
        with prohibit_commit(session) as guard:
            run.set_state("success")
            run.notify_dagrun_state_changed(msg="success")
            guard.commit()
    with settings.Session() as session:
        run = session.query(DagRun).filter_by(dag_id=dag_id).one()
        found[dag_id] = [str(run.state), run.note]
print(json.dumps(found))
"""


def test_airflow_shows_what_the_tasks_say_as_the_note_of_their_run(tmp_path: Path) -> None:
    """By a listener, because a task cannot set a note. What a person wrote stays, and so does every DAG of others."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
    }
    runs = {
        "sync_shop_orders": [[["extract", "begun"], ["load", "3 records read"]], None],
        "backfill_shop_orders": [[["load", "x" * 2000]], None],
        "sync_shop_prices": [[["load", "3 records read"]], "I look at it"],
        "sync_shop_products": [[], None],
        "of_others": [[["load", "3 records read"]], None],
    }
    command = [sys.executable, "-P", "-c", _END_RUNS, json.dumps(runs)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr[-3000:]
    assert json.loads(ended.stdout.splitlines()[-1]) == {
        "sync_shop_orders": ["success", "begun\n\n3 records read"],
        "backfill_shop_orders": ["success", "x" * 999 + "…"],
        "sync_shop_prices": ["success", "I look at it"],
        "sync_shop_products": ["success", None],
        "of_others": ["success", None],
    }
