"""The snapshots of deployed workflows: a deployment costs the same with 500 others beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossdock.app import workflow_snapshots
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.workflows.declared import repository
from tests.workflows.declared.test_trial import parsed

TEXT = """
schema: crossdock.workflow/1
id: {name}
version: 1
title: T
triggers: [{{event: crossdock.stock.changed}}]
do: [{{id: only, set: {{n: "`1`"}}}}]
"""


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    found = f"file://{tmp_path}"
    monkeypatch.setattr(settings(), "definitions_url", found)
    return found


def deploy(store: Store, name: str) -> None:
    text = TEXT.format(name=name)
    with store.transaction() as work:
        repository.add(work, parsed(text), text, actor="dora")
        repository.deploy(work, name, 1, actor="otto")


def test_a_deployment_reads_no_definition_that_is_in_a_snapshot(store: Store, url: str) -> None:
    """To read 500 definitions took the deployment of one seconds."""
    deploy(store, "old")
    workflow_snapshots.write(store, url=url)
    with store.transaction() as work:
        work.execute(b"UPDATE workflow_version SET definition = replace(definition, 'title: T', 'title: Read again')")
    deploy(store, "new")

    assert workflow_snapshots.write(store, url=url) == [workflow_snapshots.file_of("new")]
    assert workflow_snapshots.event_types() == ("crossdock.stock.changed",)
    assert workflow_snapshots.write(store, url=url, anew=True) == [workflow_snapshots.file_of("old")]


def test_a_snapshot_of_the_hub_before_knows_no_events_and_is_built_again(
    store: Store, url: str, tmp_path: Path
) -> None:
    deploy(store, "old")
    (file_no,) = workflow_snapshots.write(store, url=url)
    snapshot = tmp_path / f"workflows-{file_no}.json"
    written = snapshot.read_bytes()
    (deployed,) = json.loads(written)
    del deployed["event_types"]
    snapshot.write_text(json.dumps([deployed]))

    assert workflow_snapshots.write(store, url=url) == [file_no]
    assert snapshot.read_bytes() == written
    assert workflow_snapshots.event_types() == ("crossdock.stock.changed",)


def test_what_a_hub_with_other_code_wrote_is_written_anew(store: Store, url: str, tmp_path: Path) -> None:
    deploy(store, "old")
    (file_no,) = workflow_snapshots.write(store, url=url)
    (tmp_path / f"workflows-{file_no}.json").write_text('[{"of": "another form"}]')
    # A DAG file has no workflows until then.
    assert workflow_snapshots.read(file_no) == []

    assert workflow_snapshots.write(store, url=url) == [file_no]
    assert [found.workflow_id for found in workflow_snapshots.read(file_no)] == ["old"]
