"""The DAGs of a stream: what each costs is paid a thousand times with 500 integrations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.definitions.param import process_params
from airflow.sdk.exceptions import ParamValidationError

from crossdock.app import definitions
from crossdock.app.airflow.stream_dags import define
from crossdock.app.definitions import Definition
from crossdock.connectors.commercetools import KIND
from crossdock.core.settings import settings


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


def test_a_wrong_entry_is_refused(dags: dict[str, Any]) -> None:

    dag = dags["sync_shop_inventory"]

    with pytest.raises(ParamValidationError, match="limit"):
        process_params(dag, dag.tasks[0], {"limit": -1}, suppress_exception=False)
