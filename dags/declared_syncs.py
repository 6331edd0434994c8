"""
One sync DAG for each file in `dags/integrations`: a system that is read by a declaration, without code.

This DAG itself looks through all the files; start it when one of them does not show up as a DAG.

**Triage.** `look_through` fails when a declaration file is not valid: its log names each mistake with its line. Correct the
file; Airflow reads it again within half a minute. What a red task of a `sync_…` DAG means stands in that DAG.
"""

from functools import partial

from airflow.sdk import dag, get_parsing_context, task
from crossdock.app.airflow.declared_dags import LOOK_THROUGH_OPTIONS, look_through_declarations
from crossdock.app.airflow.sync_dags import sync_options, sync_tasks, triage_of
from crossdock.connectors.declarative.streams import declared_syncs

#: Set in a task's process: it needs its own DAG and no other.
only = get_parsing_context().dag_id

for declaration, sync in declared_syncs():
    name = f"sync_{declaration.name}"
    if only in (None, name):
        triage = f"{declaration.title}, by `dags/integrations/{declaration.name}.yaml`.\n{triage_of(sync)}"
        make = dag(dag_id=name, schedule=declaration.schedule, doc_md=triage, **sync_options(sync))
        globals()[name] = make(partial(sync_tasks, sync))()


@dag(dag_id="declared_syncs", schedule=None, doc_md=__doc__, **LOOK_THROUGH_OPTIONS)
def look_through_all() -> None:
    task(task_id="look_through")(look_through_declarations)()


look_through_all()
