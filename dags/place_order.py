"""
Drive orders through their steps: one order by its ID, or up to 200 of those that wait for this DAG.

| task | what it does |
| --- | --- |
| `take_orders` | takes the order of the form, or the batch; only IDs travel on, what a step put out is read from the hub's database |
| `take_order` … `count_sale` | tries its step once for each of the orders that have come to it; the first and the last two are of orders that a commerce platform has |
| `compensate` | undoes, the last step first, what was done for orders that were refused or cancelled |

**Triage.** An order that is refused is no failure: it ends, and says why (`./hub order show ID`). A step fails if it fails for all of
its orders, because a gateway is down, for example: the end of its log says what is wrong. It is tried again for the orders that
are open; `compensate` is made in any case, and fails after it to mark the run. No order is lost with a run that failed or
was killed: the next run takes it, or, five minutes later, the events do. Every task can be cleared at any time: no step is
made twice. To place and follow orders: `./hub order`. Do not set `dagrun_timeout`: it would skip the compensation.
"""

from airflow.sdk import chain, dag

from crossdock.app.airflow import code_watch

# Before the import below: the process that a task is forked from may have older code.
code_watch.load_for_task("crossdock.app.airflow.order_dag")

from crossdock.app.airflow.order_dag import (  # noqa: E402  see above
    compensate_task,
    place_order_options,
    place_order_schedule,
    step_tasks,
    take_orders_task,
)


@dag(schedule=place_order_schedule(), doc_md=__doc__, **place_order_options())
def place_order() -> None:
    taken = take_orders_task()
    chain(*[step(taken) for step in step_tasks()], compensate_task(taken))


dag_of_orders = place_order()
