"""Quiet hours as they are typed: what is sent is what a route takes."""

from __future__ import annotations

import pytest

from crossdock.cli.alert_routes import quiet_hours
from crossdock.core.errors import BadRequest
from crossdock.maintenance.alerting.routes import DAYS, Route


def test_quiet_hours_are_typed_as_windows_and_a_zone() -> None:
    typed = quiet_hours(["22:00-07:00", "Sat,sun 00:00-00:00"], "Europe/Berlin", critical_passes=False)
    quiet = Route.model_validate({"name": "ops", "integration": "ops", "quiet": typed}).quiet

    assert quiet is not None
    assert (quiet.zone, quiet.critical_passes) == ("Europe/Berlin", False)
    assert [(window.days, window.from_, window.to) for window in quiet.windows] == [
        (DAYS, "22:00", "07:00"),
        (("sat", "sun"), "00:00", "00:00"),
    ]


def test_without_them_a_route_has_none() -> None:
    assert quiet_hours([], None, critical_passes=True) is None


@pytest.mark.parametrize("windows", [["22-7"], ["from 22:00 to 07:00"], ["22:00-07:00 sat"], []])
def test_what_is_no_window_is_refused_before_anything_is_sent(windows: list[str]) -> None:
    with pytest.raises(BadRequest):
        quiet_hours(windows, "Europe/Berlin", critical_passes=True)


def test_windows_without_a_zone_are_refused() -> None:
    """Nobody knows by whose clock they would be."""
    with pytest.raises(BadRequest, match="--zone"):
        quiet_hours(["22:00-07:00"], None, critical_passes=True)
