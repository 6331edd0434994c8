"""
Define the DAGs of the streams of one share of the integrations: a sync and a backfill for each stream.

The eight files `streams_0.py` to `streams_7.py` divide the integrations among themselves, so that each is parsed in a
second with 500 integrations. What to do about a failed task is described in each DAG.
"""

from crossdock.app.airflow.stream_dags import define

# Airflow skips a file that has not both of the words "airflow" and "dag".
globals().update(define(1))
