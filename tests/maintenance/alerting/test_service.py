"""Routes that people add: as many as the sender can look at every second, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdock.core.errors import Conflict
from crossdock.db.database import Store
from crossdock.maintenance.alerting import service
from crossdock.maintenance.alerting.routes import Route
from tests.maintenance.alerting.receivers import Receivers, add_route


def test_there_are_at_most_so_many_routes_and_one_of_them_can_be_changed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that adds one for each order would stop the alerts of all."""
    monkeypatch.setattr(service, "MOST_ROUTES", 2)
    add_route(store, "first")
    add_route(store, "declared")
    opens = Receivers(tmp_path).open
    third = Route.model_validate({"name": "third", "integration": "ops", "recipients": ["ada@shop.example"]})

    with pytest.raises(Conflict, match="2 routes already"):
        service.add_route(store, opens, third, actor="ada")
    service.add_route(store, opens, third.model_copy(update={"name": "first"}), actor="ada")
    service.remove_route(store, "declared", actor="ada")
    assert service.add_route(store, opens, third, actor="ada").route.name == "third"
