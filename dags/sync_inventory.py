"""
Bring stock levels from the commerce platform into the hub, every quarter of an hour.

| task | what it does | when it is red |
| --- | --- | --- |
| `extract` | reads the window's pages and lands them as they came | the platform is down or refuses us: the log names which. When it is up again, clear the task: it goes on after the last page that landed. |
| `validate` | decodes, maps and checks with Great Expectations | a rule is declared wrongly, or a landed page is gone: clear `extract` with its downstream tasks. |
| `load` | one transaction a batch: rows, history, events, quarantine, counts, watermark | the hub's database is down or busy: clear the task, it loads only what is still open. |

**Triage.** Every task is safe to clear at any time. Rows that fail a rule do not turn a run red: see
`./hub quarantine list`. A run that is *held* read nothing or far too little: look at the source, then
`./hub sync inventory --full --accept-shrunken` if it is right. What each run did with every row:
`./hub runs`, `./hub run show ID`.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, AsyncCallback, DeadlineAlert, DeadlineReference, Param, dag, task  # type: ignore[attr-defined]  # its stub lags

from include.flows.airflow_tasks import RetryByKind, RunIsLate, end_run, request_of, systems_of
from include.flows.settings import settings
from include.flows.sync import extract, load, validate
from include.flows.sync_inventory import INVENTORY
from include.model.assets import INVENTORY as INVENTORY_ASSET


@dag(
    schedule=settings().sync_inventory_schedule or None,
    # No start date: with one, Airflow starts a run the moment it first sees the DAG.
    catchup=False,
    max_active_runs=1,
    tags=["sync", "inventory"],
    doc_md=__doc__,
    params={
        "full": Param(False, type="boolean", title="Full", description="Read everything, whatever the watermark says"),
        "since": Param(None, type=["null", "string"], format="date-time", title="Modified since"),
        "until": Param(None, type=["null", "string"], format="date-time", title="Modified before"),
        "keys": Param([], type="array", items={"type": "string"}, title="Skus", description="Only these"),
        "limit": Param(0, type="integer", minimum=0, title="Limit", description="Records to read; 0 for all"),
        "accept_shrunken": Param(
            False, type="boolean", title="Accept shrunken", description="An empty or much smaller source is right"
        ),
    },
    default_args={
        "retries": settings().task_retries,
        "retry_delay": timedelta(seconds=settings().retry_delay_s),
        "retry_policy": RetryByKind(),
        "pool": "commercetools",
        "on_failure_callback": lambda context: end_run(INVENTORY, context),
    },
    deadline=DeadlineAlert(
        name="sync_inventory is late",
        # Not DAGRUN_QUEUED_AT: with it, Airflow 3.3.2 answers every "clear" of a run with HTTP 500
        # (apache/airflow#70368), and clearing is how a person recovers.
        reference=DeadlineReference.AVERAGE_RUNTIME(max_runs=10, min_runs=1),
        interval=timedelta(minutes=settings().sync_deadline_minutes),
        callback=AsyncCallback(RunIsLate, kwargs={"dag_id": "sync_inventory"}),
    ),
)
def sync_inventory() -> None:
    @task(task_id="extract")
    def extract_task(*, params: Any = None, dag_run: Any = None) -> str:
        return extract(INVENTORY, systems_of(INVENTORY), request_of(params), dag_run_id=dag_run.run_id)

    @task(task_id="validate")
    def validate_task(sync_run: str) -> str:
        return validate(INVENTORY, systems_of(INVENTORY), sync_run)

    @task(task_id="load", outlets=[Asset(INVENTORY_ASSET)])
    def load_task(sync_run: str) -> dict[str, Any]:
        return load(INVENTORY, systems_of(INVENTORY), sync_run).as_document()

    load_task(validate_task(extract_task()))  # type: ignore[arg-type]  # Airflow hands on the values


sync_inventory()
