"""While the stack starts, `status` and `doctor` say how far it is, and advise nobody to begin anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdock.client.errors import StillStarting
from crossdock.stack import doctor, lifecycle, needs, starting
from crossdock.stack.home import read_json, write_json
from crossdock.stack.starting import Step


def test_a_start_says_how_far_it_is_and_what_it_waits_for() -> None:
    with starting.reported():
        first = starting.now()
        starting.wait_for(Step.API)
        found = lifecycle.status().starting

    assert first is not None
    assert first.waits_for is Step.DATABASES
    assert found is not None
    assert found.endswith("3 of 7 steps are done, and it waits for Airflow's api-server")
    assert lifecycle.status().starting is None


def test_the_doctor_of_a_start_advises_to_wait_alone() -> None:
    with starting.reported():
        starting.wait_for(Step.MIGRATION)
        checks = doctor.examine()
    by_name = {check.name: check for check in checks}

    assert "waits for the migration of both databases" in by_name["stack"].found
    assert not [check for check in checks if "./hub down" in (check.fix or "") or "./hub up" in (check.fix or "")]


def test_a_command_that_needs_more_says_to_wait() -> None:
    with starting.reported(), pytest.raises(StillStarting, match="Run this again when it has started"):
        needs.running(needs.API)


def test_a_start_that_was_killed_is_none(stack_home: Path) -> None:
    with starting.reported():
        left = read_json(stack_home / "starting.json")
    write_json(stack_home / "starting.json", {**left, "created_at": left["created_at"] - 60})

    assert starting.now() is None
