"""
Define the DAGs of one share of the integrations: a sync and a backfill for each of their streams.

The sixteen files `streams_0.py` to `streams_15.py` divide the integrations among themselves, so that each is parsed within
a second with 500 integrations. What to do about a failed task is described in each DAG.
"""

from crossdock.app.airflow.dag_files import define

# Airflow skips a file that has not both of the words "airflow" and "dag".
globals().update(define(15))
