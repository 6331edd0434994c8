"""
Load Great Expectations into Airflow's long-lived processes before they fork workers.

Great Expectations takes four seconds and 250 MB to load. If the scheduler (LocalExecutor) or the Celery
worker has loaded it, every task that it forks starts with it, and the memory is shared. Put one line into
`$AIRFLOW_HOME/config/airflow_local_settings.py`: `from crossdock.app.airflow.warm_up import *`. DAG files must
still not import it: they are parsed again and again in other processes.
"""

from __future__ import annotations

import os
import sys

__all__: list[str] = []


def _forks_workers(arguments: list[str]) -> bool:
    """Check whether this process forks tasks: the scheduler under LocalExecutor, or `airflow celery worker`."""
    words = [argument for argument in arguments if not argument.startswith("-")]
    if "scheduler" in words:
        return "LocalExecutor" in os.environ.get("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
    return "celery" in words and "worker" in words


def _warm_up() -> None:
    from crossdock.sync.expectations import load_great_expectations  # noqa: PLC0415  only where it pays

    load_great_expectations()


if _forks_workers(sys.argv):
    _warm_up()
