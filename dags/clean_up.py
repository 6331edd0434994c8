"""
Clean what Airflow leaves behind, once a day: old rows of its tables, and old logs of tasks and of its DAG processor.

**Triage.** If `airflow_tables` was skipped, Airflow has no connection `airflow_db` with the address of its own database; if it
failed, that database did not answer, or was busy. If `task_logs` failed, the folder of the logs cannot be read. Nothing
is lost, and the next run continues. A run that has not ended for weeks keeps all that is younger: the log names its DAG. Safe to
clear at any time. The same by hand, and what it would remove: `./hub clean --dry-run`.
"""

from airflow.sdk import TriggerRule, dag, task

from crossdock.app.airflow.clean_up import clean_airflow_tables, clean_task_logs, clean_up_options, clean_up_schedule


@dag(schedule=clean_up_schedule(), doc_md=__doc__, **clean_up_options())
def clean_up() -> None:
    before = task(task_id="airflow_tables")(clean_airflow_tables)()
    # Also where the first was skipped; not where it failed: nobody knows then since when a run has not ended.
    logs = task(task_id="task_logs", trigger_rule=TriggerRule.NONE_FAILED)(clean_task_logs)
    logs(before)  # type: ignore[arg-type]  # a task takes what another returned


clean_up()
