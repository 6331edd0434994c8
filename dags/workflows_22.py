"""
Define the DAGs of one share of the deployed workflows.

The 32 files `workflows_0.py` to `workflows_31.py` divide the workflows among themselves, so that each is parsed within
a second with 500 of them. What to do about a failed task is described in each DAG.
"""

from crossdock.app.airflow.workflow_dag_files import define

# Airflow skips a file that has not both of the words "airflow" and "dag".
globals().update(define(22))
