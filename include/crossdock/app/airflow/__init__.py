"""
The one place of the flows that knows Airflow: our errors as its retry decisions, its callbacks as ours, flows as DAGs.

Everything else in this room runs without a scheduler, which is how the tests run it.
"""
