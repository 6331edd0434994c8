"""
`python tests/api/airflow_server.py PORT`: Airflow's own api-server app with the hub's plugin, until SIGTERM.

The real thing, less its scheduler: Airflow's auth manager, its tokens, its connections, on SQLite.
"""

from __future__ import annotations

import os
import sys

#: Role by name; Airflow's own words. Passwords are the names, doubled.
PEOPLE = {"vera": "viewer", "uma": "user", "dora": "developer", "otto": "op", "admin": "admin", "nobody": "public"}


def make_fab_people() -> None:
    """Users of FAB with its own roles, a Developer among them, and one with a role that means nothing to the hub."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder  # noqa: PLC0415

    with get_application_builder() as builder:
        manager = builder.sm
        for name, role in PEOPLE.items():
            found = manager.add_role(role.capitalize())
            manager.add_user(name, name, name, f"{name}@example.org", found, password=name * 2)


def main() -> None:
    if "fab" in os.environ["AIRFLOW__CORE__AUTH_MANAGER"]:
        make_fab_people()

    import uvicorn  # noqa: PLC0415
    from airflow.api_fastapi.main import app  # noqa: PLC0415

    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()
