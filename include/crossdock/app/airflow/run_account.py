"""Say in Airflow what a run did: at the end of the task's log, in the asset's event, and for the run's note."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from airflow.sdk import BaseOperatorLink

from crossdock.app.airflow.hints import with_hint
from crossdock.app.airflow.task_failures import cause_of
from crossdock.core.counted import counted
from crossdock.core.errors import HubError
from crossdock.core.ids import RUN_NOTE
from crossdock.core.log import logger
from crossdock.db.database import Store
from crossdock.sync import ledger
from crossdock.sync.ledger import Run
from crossdock.sync.model import Counts

log = logger(__name__)


class HubRecordLink(BaseOperatorLink):
    """The button of a task instance that opens the hub's page of its run."""

    name = "Run in the hub"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002  Airflow's signature
        from airflow.configuration import conf  # noqa: PLC0415  not while the file is parsed

        # Airflow's own address, which may have a path; without one the browser completes it.
        base_url = str(conf.get("api", "base_url", fallback="")).rstrip("/")
        return f"{base_url}/hub/pages/dag-run?{urlencode({'dag_id': ti_key.dag_id, 'run_id': ti_key.run_id})}"


def tell(store: Store, run_id: str, *, ti: Any, event: Any = None) -> None:
    """
    Say what became of every record of the run *run_id*: in the log, for the note, and in the extra of the asset's *event*.

    The log has a warning where records were rejected: such a run succeeds, and nobody would look.
    """
    with store.transaction() as work:
        run = ledger.get(work, run_id)
    sentence = sentence_of(run)
    log.log(logging.WARNING if run.counts.rejected or run.counts.held else logging.INFO, "%s", sentence)
    leave_note(ti, sentence)
    if event is not None:
        event.extra = extra_of(run)


def sentence_of(run: Run) -> str:
    """Count the records by outcome, and say what to do about those that are not loaded."""
    parts = [f"{counted(run.counts.read, 'record')} read: {_outcomes(run.counts)}"]
    if run.counts.rejected:
        parts.append(f"The rejected ones are in quarantine: ./hub quarantine list --run {run.run_id}")
    if run.counts.held:
        parts.append("The next run reads those that are held once more")
    changed = run.counts.inserted or run.counts.updated or run.counts.rejected or run.counts.held
    return ". ".join([*parts, f"Record by record: ./hub run rows {run.run_id}" if changed else f"Run {run.run_id}"])


def extra_of(run: Run) -> dict[str, Any]:
    """Describe the run for the consumers of its asset; instants in ISO 8601, null where the run read all of the past."""
    return {
        "run_id": run.run_id,
        "stream": run.stream,
        "state": run.state.value,
        **{name: getattr(run.counts, name) for name in Counts.__struct_fields__},
        "window_low": run.window_low.isoformat() if run.window_low else None,
        "window_high": run.window_high.isoformat() if run.window_high else None,
        "moves_watermark": run.moves_watermark,
    }


def leave_note(ti: Any, sentence: str) -> None:
    """Leave *sentence* for the note of the run."""
    ti.xcom_push(key=RUN_NOTE, value=sentence)


def note_failure(context: Mapping[str, Any]) -> None:
    """
    Leave why the task failed for the run's note (`on_failure_callback`). Of an error that is not ours only its type.

    Of a task whose process is gone, nothing: Airflow calls this in its DAG processor then, without an exception.
    That knows no XCom and does not answer; it would wait until it is killed, with the callbacks of other runs.
    """
    error = cause_of(context.get("exception"))
    if not isinstance(error, BaseException):
        return
    reason = with_hint(error) if isinstance(error, HubError) else type(error).__name__
    leave_note(context["ti"], f"{context['ti'].task_id} failed: {reason}")


def _outcomes(counts: Counts) -> str:
    sides = {name: getattr(counts, name) for name in Counts.__struct_fields__ if name != "read"}
    return ", ".join(f"{count:,} {outcome}" for outcome, count in sides.items() if count) or "nothing has changed"
