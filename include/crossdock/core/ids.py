"""
The ids that the hub has in Airflow: DAGs, pools and connections.

Each begins with `HUB_ID_PREFIX` (empty by default), so that a company's own Airflow can have DAGs of the same names.
Read from the environment and not from the settings, because commands that only call an API do not load those.
"""

from __future__ import annotations

import os
import re

from crossdock.core.errors import Terminal

#: Who owns our DAGs, as Airflow's list of DAGs shows and filters it.
OWNER = "crossdock"
#: The port of a connection whose host has its port. Not null: the Test button of Airflow 3.3.2 sends 0 for null, and Airflow
#: refuses to test stored credentials with another port than the stored one.
NO_PORT = 0
#: The XCom in which a task leaves a sentence about its run: for the note of the run, and for the hub's page of it.
RUN_NOTE = "crossdock_note"


def prefix() -> str:
    """
    Read the prefix of all ids.

    Raises:
        Terminal: Airflow would refuse an id with it.

    """
    found = os.environ.get("HUB_ID_PREFIX", "")
    if not re.fullmatch(r"[A-Za-z0-9_]{0,32}", found):
        raise Terminal(f"Invalid HUB_ID_PREFIX {found!r}. Use up to 32 letters, digits or _, e.g. hub_")
    return found


def prefixed(name: str) -> str:
    """Make the id of our DAG, pool or connection *name*."""
    return prefix() + name


def unprefixed(found: str) -> str:
    """Take the prefix off an id of ours."""
    return found.removeprefix(prefix())


def sync_dag(stream: str) -> str:
    """Name the DAG that syncs *stream* (`commercetools.inventory`): `sync_commercetools_inventory`."""
    return prefixed(f"sync_{stream.replace('.', '_')}")


def backfill_dag(stream: str) -> str:
    return prefixed(f"backfill_{stream.replace('.', '_')}")


def order_dag() -> str:
    """Name the DAG that drives orders."""
    return prefixed("place_order")


def delivery_dags(workers: int) -> list[str]:
    """Name the DAG of each delivery worker: `deliver_events`, `deliver_events_2` and so on."""
    names = ["deliver_events", *(f"deliver_events_{number}" for number in range(2, workers + 1))]
    return [prefixed(name) for name in names]


def workflow_dag(workflow_id: str) -> str:
    """Name the DAG of a declared workflow: `workflow_order_flow`."""
    return prefixed(f"workflow_{workflow_id}")


def workflow_of_dag(dag_id: str) -> str | None:
    """Read which declared workflow a DAG is; None if it is none."""
    before = workflow_dag("")
    return dag_id.removeprefix(before) if dag_id.startswith(before) and dag_id != before else None
