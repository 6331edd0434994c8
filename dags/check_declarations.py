"""
Check every declaration in `dags/integrations`. Start it if a declared integration does not show up as a DAG.

**Triage.** If `check` failed, a file is not valid: the log has each error with its line. Correct the file; Airflow
reads it again within half a minute. Until then its last valid version keeps running.
"""

from airflow.sdk import dag, task

from crossdock.app.airflow.declaration_check import CHECK_OPTIONS, check_declarations


@dag(schedule=None, doc_md=__doc__, **CHECK_OPTIONS)
def check_all() -> None:
    task(task_id="check")(check_declarations)()


check_all()
