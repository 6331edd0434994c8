"""
What a person does with an integration: add, change, test, rotate, pause, resume, remove.

Each is a story of three rooms: the connector's schema and test (`connectors`), Airflow's connections (a
`ConnectionBook`, which the API hands in), the registry with its audit trail (`store`).
"""

from include.flows.integrations.desk import (
    Added,
    NewIntegration,
    add,
    change,
    pause,
    refuse_paused,
    register_existing,
    remove,
    resume,
    rotate,
    test,
)

__all__ = [
    "Added",
    "NewIntegration",
    "add",
    "change",
    "pause",
    "refuse_paused",
    "register_existing",
    "remove",
    "resume",
    "rotate",
    "test",
]
