"""
Deliver every event to every subscriber, always: one run after the other, each for some minutes.

**Triage.** Nothing is lost while this is red or off: events wait in the store, and delivery goes on where it
stopped. A worker that dies is replaced by another in seconds, before Airflow notices. What a handler cannot take
does not turn this red: see `./hub dlq list`. Where each reader stands: `./hub events status`. Safe to clear at any time.
"""

from airflow.sdk import dag

from include.flows.on_airflow.delivery_dag import delivery_options, delivery_tasks


@dag(schedule="@continuous", doc_md=__doc__, **delivery_options())
def deliver_events() -> None:
    delivery_tasks()


deliver_events()
