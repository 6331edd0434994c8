"""
Deliver every event to every subscriber, continuously: one run after the other, each for some minutes.

Each worker is a separate DAG (`deliver_events`, `deliver_events_2` …), so that their runs end at different times: while
Airflow starts the next run of one, the others consume its partitions.

**Triage.** No event is lost while this DAG fails or is paused: events wait in the store, and delivery continues where it
stopped. A worker that dies is replaced by another within seconds, before Airflow notices. An event that a subscriber
cannot process becomes a dead letter and does not fail this DAG: see `./hub dead-letters list`. To see the lag of each
subscriber: `./hub events status`. Safe to clear at any time.
"""

from functools import partial

from airflow.sdk import dag, get_parsing_context

from crossdock.app.airflow import code_watch

#: Set in a task's process: it needs its own DAG and no other.
only = get_parsing_context().dag_id
if only:
    # Before the import below: the process that this one is forked from may have older code.
    code_watch.load()

from crossdock.app.airflow.delivery_dag import delivery_dags, delivery_options, delivery_task  # noqa: E402  see above

for worker_no, name in enumerate(delivery_dags()):
    if only in (None, name):
        make = dag(dag_id=name, schedule="@continuous", doc_md=__doc__, **delivery_options())
        globals()[name] = make(partial(delivery_task, worker_no))()
