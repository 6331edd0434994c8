"""Plan a connector: its folder with one stream, and tests with a simulated system."""

from __future__ import annotations

import json

from crossdock.cli.new.files import Plan, rendered
from crossdock.cli.new.stream import plan_stream
from crossdock.core.errors import Conflict

#: File → its template, of the connector and of its tests.
_FILES = {
    "__init__.py": "init",
    "manifest.json": "manifest",
    "client.py": "client",
    "field_types.py": "field_types",
    "connection_test.py": "connection_test",
}
_TESTS = {"system.py": "system", "test_sync.py": "test_sync"}


def plan_connector(plan: Plan, name: str, title: str, dataset: str) -> str:
    """
    Plan the connector *name* with a stream of *dataset*; return the folder of its tests.

    Raises:
        BadRequest: there is no such dataset.
        Conflict: there is a connector, or a kind of integration, of that name.

    """
    if name in _kinds(plan):
        raise Conflict(f"{name!r} is a kind of integration already. Choose another name")
    folder, tests = f"include/crossdock/connectors/{name}", f"tests/connectors/{name}"
    for taken in (folder, tests):
        if plan.exists(taken):
            raise Conflict(f"{taken} exists and is not overwritten. Choose another name, or remove it first")
    system = "".join(part.capitalize() for part in name.split("_"))
    values = {"name": name, "title": title, "system": system, "host": name.replace("_", "-")}
    for file, template in _FILES.items():
        plan.create(f"{folder}/{file}", rendered(f"connector/{template}", values))
    for file, template in _TESTS.items():
        plan.create(f"{tests}/{file}", rendered(f"connector/{template}", values))
    plan_stream(plan, name, dataset)
    return tests


def _kinds(plan: Plan) -> set[str]:
    """Read the kinds of integrations in the checkout; the folder of a connector may have another name."""
    found = (plan.root / "include/crossdock/connectors").glob("*/manifest.json")
    return {json.loads(path.read_text(encoding="utf-8"))["kind"] for path in found}
