"""A DAG that fails is an alert until it succeeds, whether or not the ledger knows of its run."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from crossdock.app.airflow.dag_alerts import dag_failed, dag_succeeded
from crossdock.app.airflow.deadlines import RunIsLate
from crossdock.app.airflow.delivery_dag import delivery_options
from crossdock.app.airflow.stream_dags import define, end_run
from crossdock.app.airflow.task_failures import TaskFailed
from crossdock.app.definitions import file_of
from crossdock.app.streams import ExistingStream
from crossdock.core.errors import BadRequest, HeldForApproval, HubError
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.sync import Systems, extract, load, validate
from crossdock.sync.model import SyncRequest
from tests.shop import query
from tests.streams import INVENTORY, define_shop

SYNC, BACKFILL = "sync_commercetools_inventory", "backfill_commercetools_inventory"
ONE = ExistingStream(INVENTORY, "Shop", registered=True)


@pytest.fixture(autouse=True)
def _connected(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "from_connection", classmethod(lambda cls, _: cls(store.dsn)))


def context(dag_id: str, error: BaseException | str | None = None) -> dict[str, Any]:
    """What Airflow gives a callback of a task."""
    wrapped = TaskFailed(error) if isinstance(error, HubError) else error
    dag_run = SimpleNamespace(dag_id=dag_id, run_id="noon")
    return {"dag_run": dag_run, "ti": SimpleNamespace(map_index=-1), "exception": wrapped}


def open_alerts(store: Store) -> list[tuple[str, str, str]]:
    return query(store, "SELECT kind, subject, message FROM alert WHERE closed_at IS NULL")  # type: ignore[return-value]


def test_a_failed_delivery_is_an_alert_until_it_succeeds(store: Store) -> None:
    dag_failed(context("deliver_events", BadRequest("HUB_EVENT_PARTITIONS must be 1 or more")))

    assert open_alerts(store) == [
        ("dag_failed", "deliver_events", "The DAG deliver_events failed: HUB_EVENT_PARTITIONS must be 1 or more")
    ]
    dag_succeeded(context("deliver_events"))
    assert open_alerts(store) == []


def test_the_text_of_an_error_that_is_not_ours_stays_in_the_task_s_log(store: Store) -> None:
    """It may quote a value."""
    dag_failed(context("deliver_events", ValueError("secret-4711")))

    ((_, _, message),) = open_alerts(store)
    assert message == "The DAG deliver_events failed: ValueError"


def test_a_sync_that_fails_before_it_begins_is_an_alert_until_one_ends_well(systems: Systems) -> None:
    """The ledger knows nothing of it, and nothing else would say so."""
    end_run(ONE, context(SYNC, BadRequest("A sync accepts: full, since")))

    assert open_alerts(systems.store) == [
        (
            "run_failed",
            "commercetools.inventory (all)",
            "The sync of commercetools.inventory failed before it began: A sync accepts: full, since",
        )
    ]
    load(INVENTORY, systems, validate(INVENTORY, systems, extract(INVENTORY, systems, SyncRequest())))
    assert open_alerts(systems.store) == []


def test_a_sync_that_failed_later_has_one_alert(systems: Systems) -> None:
    """That of its run."""
    run_id = extract(INVENTORY, systems, SyncRequest(), dag_id=SYNC, dag_run_id="noon")

    end_run(ONE, context(SYNC, BadRequest("no")))
    end_run(ONE, context(SYNC, BadRequest("no")))

    assert [(kind, message) for kind, _, message in open_alerts(systems.store)] == [
        ("run_failed", f"Run {run_id} failed: no")
    ]


def test_a_held_sync_has_one_alert(systems: Systems) -> None:
    """It is on hold, and so its task failed: two alerts of one cause are one too many."""
    load(INVENTORY, systems, validate(INVENTORY, systems, extract(INVENTORY, systems, SyncRequest(full=True))))
    query(
        systems.store,
        "INSERT INTO inventory SELECT (jsonb_populate_record(i, jsonb_build_object('id', i.id || n))).*"
        " FROM inventory i, generate_series(1, 9) n RETURNING 1",
    )
    with pytest.raises(HeldForApproval) as held:
        extract(INVENTORY, systems, SyncRequest(full=True), dag_id=SYNC, dag_run_id="noon")

    end_run(ONE, context(SYNC, held.value))

    assert [kind for kind, _, _ in open_alerts(systems.store)] == ["run_held"]


def test_a_backfill_that_fails_before_it_begins_is_an_alert_of_its_dag(store: Store) -> None:
    """It may fail by its partition key, and then has no lease whose next run would close the alert."""
    end_run(ONE, context(BACKFILL, BadRequest("'yesterday' is not a day")))

    assert [(kind, subject) for kind, subject, _ in open_alerts(store)] == [("dag_failed", BACKFILL)]
    dag_succeeded(context(BACKFILL))
    assert open_alerts(store) == []


def test_a_failed_run_is_not_late_as_well(store: Store) -> None:
    """A failed run never satisfies its deadline: Airflow would report it an hour later once more."""
    late = RunIsLate(SYNC, "commercetools.inventory")
    late.notify({"dag_run": {"dag_run_id": "noon", "state": "failed"}})
    assert open_alerts(store) == []

    late.notify({"dag_run": {"dag_run_id": "noon", "state": "running"}})
    assert query(store, "SELECT subject, integration, stream, examples FROM alert") == [
        (f"{SYNC}/noon", "commercetools", "commercetools.inventory", ["run noon"])
    ]


def test_every_task_of_ours_says_when_it_failed(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A DAG without it would fail in silence; that of a backfill closes its alert, too."""
    monkeypatch.setenv("HUB_DEFINITIONS_URL", define_shop(tmp_path_factory.mktemp("definitions")))
    settings.cache_clear()
    dags = define(file_of("commercetools"))
    settings.cache_clear()

    assert {SYNC, BACKFILL} <= set(dags)
    assert all(task.on_failure_callback for dag in dags.values() for task in dag.tasks)
    assert _callbacks(dags[BACKFILL].get_task("load").on_success_callback) == [dag_succeeded]
    delivery = delivery_options()["default_args"]
    assert (delivery["on_failure_callback"], delivery["on_success_callback"]) == (dag_failed, dag_succeeded)


def _callbacks(given: Callable[..., Any] | list[Callable[..., Any]] | None) -> list[Callable[..., Any]]:
    return given if isinstance(given, list) else [given] if given else []
