"""The DAGs of a stream: what each costs is paid a thousand times with 500 integrations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.api.datamodels._generated import DagRunType
from airflow.sdk.definitions.param import process_params
from airflow.sdk.exceptions import ParamValidationError

from crossdock.app import definitions
from crossdock.app.airflow.stream_dags import define, refuse_backfill, request_of
from crossdock.app.definitions import Definition
from crossdock.connectors.commercetools import KIND
from crossdock.core.errors import BadRequest
from crossdock.core.settings import settings
from crossdock.sync import Stream
from crossdock.sync.model import SyncRequest
from tests.streams import INVENTORY


@pytest.fixture
def dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The DAGs of the integration `shop`."""
    monkeypatch.setenv("HUB_DEFINITIONS_URL", f"file://{tmp_path}")
    settings.cache_clear()
    definitions.write_snapshots([Definition(integration="shop", kind=KIND, title="Shop")], url=f"file://{tmp_path}")
    yield define(definitions.file_of("shop"))
    settings.cache_clear()


def test_no_task_has_a_copy_of_the_form(dags: dict[str, Any]) -> None:
    """Airflow copies a form that the DAG has before its tasks, four times for each of them: half of what parsing costs."""
    assert dags
    for dag in dags.values():
        assert len(dag.params)
        assert [dict(one.params) for one in dag.tasks] == [{}, {}, {}]


@pytest.mark.parametrize(
    ("dag_id", "conf"),
    [("sync_shop_inventory", {"full": True, "keys": ["A-1"]}), ("backfill_shop_inventory", {"emit_events": True})],
)
def test_a_task_gets_the_form_and_what_was_entered(dags: dict[str, Any], dag_id: str, conf: dict[str, Any]) -> None:
    """A task reads the form of its DAG."""
    dag = dags[dag_id]
    defaults = {name: dag.params.get_param(name).value for name in dag.params}

    assert process_params(dag, dag.tasks[0], conf, suppress_exception=False) == defaults | conf


def test_every_default_of_a_form_is_valid(dags: dict[str, Any]) -> None:
    """A schedule starts the DAG with them. Airflow checks the form that the DAG has at first, and ours comes later."""
    for dag in dags.values():
        dag.params.validate()


def test_no_field_of_a_form_is_required(dags: dict[str, Any]) -> None:
    """Airflow marks each field with a star that does not accept null, which it sends for an empty one."""
    for dag in dags.values():
        empty = dict.fromkeys(dag.params)
        assert process_params(dag, dag.tasks[0], empty, suppress_exception=False) == empty
        assert all(dag.params.get_param(name).description for name in dag.params)


def test_a_form_that_was_emptied_asks_for_what_changed(dags: dict[str, Any]) -> None:
    assert request_of(dict.fromkeys(dags["sync_shop_inventory"].params)) == SyncRequest()


def test_a_deadline_that_was_not_missed_is_not_called_late(dags: dict[str, Any]) -> None:
    """Airflow shows its name at every run."""
    (deadline,) = dags["sync_shop_inventory"].deadline

    assert deadline.name == "no later than usual + 30 min"


def test_airflow_refuses_to_backfill_a_sync(dags: dict[str, Any]) -> None:
    """Each of its runs would read what changed since the watermark, and call that the interval's."""
    allowed = {str(kind.value) for kind in dags["sync_shop_inventory"].allowed_run_types}

    assert allowed == {str(kind.value) for kind in DagRunType} - {"backfill"}
    assert dags["backfill_shop_inventory"].allowed_run_types is None


@pytest.mark.parametrize(
    ("stream", "instead"),
    [
        (INVENTORY, "backfill commercetools.inventory --from 2026-11-03 --to 2026-11-03"),
        (replace(INVENTORY, reads_windows=False), "sync commercetools.inventory --full"),
    ],
)
def test_a_run_of_airflow_s_backfill_reads_nothing_and_names_the_command(stream: Stream, instead: str) -> None:
    """One that was queued before Airflow refused them."""
    run = SimpleNamespace(dag_id="sync_it", run_type="backfill", logical_date=datetime(2026, 11, 3, 8, 15, tzinfo=UTC))

    with pytest.raises(BadRequest, match=f"Nothing was read. Use: ./hub {instead}$"):
        refuse_backfill(stream, run)


def test_a_wrong_entry_is_refused(dags: dict[str, Any]) -> None:
    dag = dags["sync_shop_inventory"]

    with pytest.raises(ParamValidationError, match="limit"):
        process_params(dag, dag.tasks[0], {"limit": -1}, suppress_exception=False)
