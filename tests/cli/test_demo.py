"""./hub demo without its stack: what it holds back, puts back and says, however its steps end."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from crossdock.cli.demo import chapters
from crossdock.cli.demo import command as demo_command
from crossdock.cli.demo.checks import DemoFailed, expect
from crossdock.cli.demo.run import DemoRun, look_at
from crossdock.core.settings import UNSCHEDULED
from crossdock.stack.lifecycle import Stack
from tests.cli.conftest import Hub

SCHEDULE = "HUB_STREAMS"
#: What the installation chose itself.
OWN = '{"commercetools.orders": {"schedule": "0 3 * * *"}}'
STEP = {"name": "a step", "seconds": 0.0, "detail": ""}


@dataclass
class Started:
    """A pretended stack: it records each call, with the schedule at that moment; None for the project's own."""

    calls: list[tuple[str, str | None]] = field(default_factory=list)
    state: str = "stopped"
    chapters: Sequence[str] = ()
    steps: Callable[[DemoRun], None] = lambda story: story.steps.append({**STEP, "ok": True})

    def note(self, name: str) -> None:
        self.calls.append((name, os.environ.get(SCHEDULE)))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Started:
    monkeypatch.setenv("HUB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(SCHEDULE, raising=False)
    noted = Started()

    def up(**_: object) -> Stack:
        noted.note("up")
        return Stack({"airflow": 4711, "sandbox": 4712})

    def run_chapters(story: DemoRun, chapters: Sequence[str]) -> None:
        noted.note("steps")
        noted.chapters = chapters
        noted.steps(story)

    fake = SimpleNamespace(
        status=lambda: SimpleNamespace(state=noted.state),
        up=up,
        down=lambda **_: noted.note("down"),
        restart_dag_processor=lambda: noted.note("restart"),
    )
    monkeypatch.setattr(demo_command, "lifecycle", fake)
    monkeypatch.setattr(demo_command, "run_chapters", run_chapters)
    monkeypatch.setattr(demo_command, "airflow_login", lambda: ("admin", "the password"))
    return noted


def interrupted(_: DemoRun) -> None:
    raise KeyboardInterrupt


def test_a_stack_that_stays_has_its_schedules_after_the_demo_and_not_during_it(
    stackless_hub: Hub, started: Started
) -> None:
    """A scheduled run would load a step's changes."""
    assert stackless_hub("demo").code == 0
    assert started.calls == [("up", UNSCHEDULED), ("steps", UNSCHEDULED), ("restart", None)]


def test_it_says_that_no_sync_runs_on_schedule_and_when_they_do_again(stackless_hub: Hub, started: Started) -> None:
    held, given_back = "no sync runs on schedule", "The syncs have their schedules again."

    assert (held in (said := stackless_hub("demo").text), given_back in said) == (True, True)
    assert given_back not in stackless_hub("demo", "--once").text, "it stops the stack"
    started.state = "running"
    assert held not in stackless_hub("demo").text


def test_a_step_that_fails_says_how_to_look_at_its_record() -> None:
    with pytest.raises(DemoFailed, match=r"^the run ended as held\. To look at it: \./hub run show r-1$"):
        expect(False, "the run ended as held", look_at({"run_id": "r-1"}))
    with pytest.raises(DemoFailed, match=r"^no mail came$"):
        expect(False, "no mail came")


@pytest.mark.parametrize("path", sorted(Path(chapters.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_the_commands_that_its_failures_name_exist(path: Path, stackless_hub: Hub) -> None:
    for verbs in set(re.findall(r'"\./hub ((?:[a-z-]+ )+)\{', path.read_text())):
        ended = stackless_hub(*(word for word in verbs.split() if not word.startswith("--")), "--help")
        assert ended.code == 0, verbs


def test_schedules_come_back_after_ctrl_c_as_they_were(
    stackless_hub: Hub, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCHEDULE, OWN)
    started.steps = interrupted

    assert stackless_hub("demo").code == 130
    assert started.calls == [("up", UNSCHEDULED), ("steps", UNSCHEDULED), ("restart", OWN)]


def test_once_stops_what_it_started_also_after_ctrl_c(stackless_hub: Hub, started: Started) -> None:
    started.steps = interrupted

    assert stackless_hub("demo", "--once").code == 130
    assert started.calls == [("up", UNSCHEDULED), ("steps", UNSCHEDULED), ("down", None)]


def test_a_stack_that_ran_before_is_left_as_it_was(stackless_hub: Hub, started: Started) -> None:
    started.state = "running"

    assert stackless_hub("demo", "--once").code == 0
    assert started.calls == [("up", None), ("steps", None)]


def test_it_ends_with_the_address_the_login_and_how_to_stop(stackless_hub: Hub, started: Started) -> None:
    """All that a person needs who sees it for the first time; the password itself stays out of a recorded terminal."""
    ended = stackless_hub("demo")

    assert "http://127.0.0.1:4711" in ended.text
    assert "user admin; the password: ./hub status --password" in ended.text
    assert "To stop: ./hub down" in ended.text
    assert "the password" not in ended.text.replace("the password: ./hub", "")
    assert started.calls


def test_a_step_that_fails_is_named_and_the_stack_that_stays_too(stackless_hub: Hub, started: Started) -> None:
    started.steps = lambda story: story.steps.extend([{**STEP, "ok": True}, {**STEP, "ok": False}])
    ended = stackless_hub("demo")

    assert ended.code == 1
    assert "The demo stopped at step 2. To check the stack: ./hub doctor" in ended.text
    assert "./hub down" in ended.text


def test_chapters_are_told_alone_and_named_at_the_end(stackless_hub: Hub, started: Started) -> None:
    ended = stackless_hub("demo", "customers", "shops")

    assert started.chapters == ["customers", "shops"]
    assert "./hub demo customers" in ended.text
    assert "./hub demo shops" in ended.text


def test_what_needs_a_network_is_run_only_by_name() -> None:
    """The whole demo runs where no package index can be reached."""
    assert "webhooks" not in chapters.chapters_of([])
    assert chapters.chapters_of(["webhooks", "syncs"]) == ["syncs", "webhooks"]


def test_an_unknown_chapter_is_refused_with_the_known_ones_before_anything_starts(
    stackless_hub: Hub, started: Started
) -> None:
    refused = stackless_hub("demo", "custommers")

    assert refused.code == 2
    assert (
        "Unknown chapter 'custommers'. Chapters: syncs, customers, shops, payments, orders, mail, alerts, workflows, events, webhooks"
        in refused.text
    )
    assert started.calls == []
