"""Analysts read the running stack's data with PostgreSQL's own client, and as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Hub

pytestmark = pytest.mark.e2e


def test_psql_reads_the_views_masked_and_nothing_else(hub: Hub) -> None:
    counted = hub("psql", "-tAc", "SELECT count(*) >= 0, current_user FROM orders")
    refused = hub("psql", "-c", "SELECT * FROM hub.customers", exit_code=1)
    personal = hub("psql", "-c", "SELECT * FROM crossdock_personal.customers", exit_code=1)

    assert counted.strip() == "t|hub_reader"
    assert "permission denied for schema hub" in refused
    assert "permission denied for schema crossdock_personal" in personal


def test_personal_data_is_read_by_a_role_that_is_gone_afterwards_and_named_in_the_audit_trail(hub: Hub) -> None:
    without = hub("psql", "--personal", "-c", "SELECT 1", exit_code=2)
    user = hub(
        "psql", "--personal", "--reason", "a recall", "-tAc", "SELECT current_user FROM customers LIMIT 0"
    ).strip()
    name = hub("psql", "--personal", "--reason", "a recall", "-tAc", "SELECT current_user").strip()
    left = hub("psql", "-tAc", "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'hub_personal_%'").strip()
    entries = hub.json("audit", "list", "--act", "personal_data")["entries"]

    assert "add --reason TEXT" in without
    assert (user, left) == ("", "0")
    assert name.startswith("hub_personal_")
    assert (entries[0]["subject"], entries[0]["detail"]) == (f"role/{name}", {"reason": "a recall"})


def test_a_view_is_exported_from_the_running_stack(hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "stock.csv"
    exported = hub.json("export", "inventory", "--format", "csv", "--to", str(path))
    rows = int(hub("psql", "-tAc", "SELECT count(*) FROM inventory"))

    assert exported["rows"] == rows == len(path.read_text().splitlines()) - 1
    assert "exists" in hub("export", "inventory", "--format", "csv", "--to", str(path), exit_code=2)
