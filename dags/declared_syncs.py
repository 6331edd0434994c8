"""
Define one sync DAG for each file in `dags/integrations`: a source that is read by a declaration, without code.

This DAG itself checks all the files. Start it if one of them does not show up as a DAG.

**Triage.** If `check` failed, a file is not valid: the log has each error with its line. Correct the file; Airflow
reads it again within half a minute. What to do about a failed task of a `sync_…` DAG is described in that DAG.
"""

from functools import partial

from airflow.sdk import dag, get_parsing_context, task

from crossdock.app.airflow.declared_dags import CHECK_OPTIONS, check_declarations
from crossdock.app.airflow.sync_dags import sync_options, sync_tasks, triage_of
from crossdock.app.streams import declared_syncs

#: Set in the process of a task, which needs only its own DAG.
only = get_parsing_context().dag_id

for declaration, sync in declared_syncs():
    options = sync_options(sync)
    if only in (None, options["dag_id"]):
        triage = f"{declaration.title}, by `dags/integrations/{declaration.name}.yaml`.\n{triage_of(sync)}"
        make = dag(schedule=declaration.schedule, doc_md=triage, **options)
        globals()[options["dag_id"]] = make(partial(sync_tasks, sync))()


@dag(schedule=None, doc_md=__doc__, **CHECK_OPTIONS)
def check_all() -> None:
    task(task_id="check")(check_declarations)()


check_all()
