"""
Deliver every event to every subscriber, always: one run after the other, each for some minutes.

A worker each is a DAG of its own (`deliver_events`, `deliver_events_2` …), because their runs end at different times:
while Airflow starts the next run of one, the others read what was its own.

**Triage.** Nothing is lost while this is red or off: events wait in the store, and delivery goes on where it
stopped. A worker that dies is replaced by another in seconds, before Airflow notices. What a handler cannot take
does not turn this red: see `./hub dead-letters list`. Where each reader stands: `./hub events status`. Safe to clear at any time.
"""

from functools import partial

from airflow.sdk import dag, get_parsing_context
from crossdock.app.airflow.delivery_dag import delivery_options, delivery_task
from crossdock.core.settings import settings

#: Set in a task's process: it needs its own DAG and no other.
only = get_parsing_context().dag_id

for worker_no, name in enumerate(settings().delivery_dags):
    if only in (None, name):
        make = dag(dag_id=name, schedule="@continuous", doc_md=__doc__, **delivery_options())
        globals()[name] = make(partial(delivery_task, worker_no))()
