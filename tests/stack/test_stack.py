"""Looking at a stack that is not there, and the quick parts of one that is."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossdock.client.errors import AnotherStart
from crossdock.core.errors import Terminal
from crossdock.stack import lifecycle, processes, starts, supervisor, turns
from crossdock.stack.doctor import examine
from crossdock.stack.home import home, write_json
from crossdock.stack.secrets import load_secrets
from tests.sandbox.echo import EchoSystem

PROJECT = Path(__file__).resolve().parents[2]


def test_nothing_started_is_stopped() -> None:
    assert lifecycle.status().state == "stopped"
    assert lifecycle.load() is None
    assert lifecycle.down() == []


def test_a_part_alone_is_partial_and_down_ends_it() -> None:
    """After a reboot or a kill, "running" would send people to a page that does not answer."""
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    processes.start("scheduler", sleeper, environment={})

    assert lifecycle.status().state == "partial"
    assert lifecycle.load() is None
    assert lifecycle.down() == ["scheduler"]
    assert lifecycle.status().state == "stopped"


def test_a_process_that_ended_differs_from_one_that_never_ran() -> None:
    processes.save_record("scheduler", 2**22 + 1, port=None, log=processes.log_of("scheduler"))

    states = {each.name: each.state for each in lifecycle.status().processes}

    assert (states["scheduler"], states["triggerer"]) == ("ended", "stopped")


def test_two_commands_take_turns_and_the_one_that_waits_says_so(stack_home: Path) -> None:
    """Two terminals, one stack: the second would take the first one's ports."""
    said: list[str] = []
    with (stack_home / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = threading.Thread(target=lambda: lifecycle.down(said.append))
        waiting.start()
        while not said:
            time.sleep(0.01)
        assert waiting.is_alive()
        assert "waiting for it" in said[0]

    waiting.join()
    assert said[1:] == []


def test_a_turn_that_does_not_come_is_given_up(stack_home: Path) -> None:
    """Its owner may be suspended in another terminal: the message says which file it holds."""
    with (stack_home / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        with pytest.raises(AnotherStart, match="lock"), turns.in_turn(print, patience_s=0.1):
            pass


def test_the_stack_tells_how_often_a_process_was_started_anew_and_why() -> None:
    """A process that comes back each time looks well at any moment."""
    processes.start("scheduler", [sys.executable, "-c", "import time; time.sleep(600)"], environment={})
    supervisor.note_restart("scheduler", "ended")
    supervisor.note_restart("scheduler", "has given no sign of life for 30 s")

    found = next(each for each in lifecycle.status().processes if each.name == "scheduler")

    assert (found.state, found.restarts, found.restarted_because) == (
        "running",
        2,
        "has given no sign of life for 30 s",
    )
    assert found.restarted_at is not None
    lifecycle.down()


def test_a_silent_process_is_not_running_for_anybody(stack_home: Path) -> None:
    """One judgement: `up`, `status` and `doctor` read what the supervisor found."""
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    for name in ("scheduler", "supervisor"):
        processes.start(name, sleeper, environment={})
    (stack_home / "supervisor.json").write_text('{"scheduler": {"state": "silent", "looks": 7, "waits_for": null}}')

    found = {each.name: each for each in lifecycle.status().processes}

    assert (found["scheduler"].state, found["scheduler"].problem) == ("silent", "has given no sign of life for 35 s")
    assert "scheduler" not in {name for name, each in lifecycle.conditions().items() if each.state == "running"}
    processes.stop(["supervisor"], grace_s=0.1)
    assert lifecycle.conditions()["scheduler"].state == "running", "nobody looks any more: only that it lives is known"
    lifecycle.down()


def test_what_a_supervisor_of_before_has_found_counts_no_more() -> None:
    """A machine that crashed with a silent scheduler has a well one after `up`, before the supervisor's first look."""
    processes.save_record("scheduler", os.getpid(), port=None, log=processes.log_of("scheduler"))
    write_json(starts.conditions_file("supervisor"), {"scheduler": {"state": "silent", "looks": 7, "waits_for": None}})
    turns.announce_stop()

    starts.start_supervisor("supervisor")

    assert lifecycle.conditions()["scheduler"].state == "running"
    processes.delete_records(["scheduler"])
    lifecycle.down()


def test_the_doctor_examines_a_stopped_stack() -> None:
    """A stack that does not start is when a doctor is needed."""
    checks = {each.name: each for each in examine()}

    assert checks["Python"].ok
    assert checks["airflow_settings.yaml"].ok
    assert "stopped" in checks["stack"].found


@pytest.mark.usefixtures("stack_home")
def test_the_doctor_finds_a_declaration_with_a_mistake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its syncs go on as the file was, so no failed run says that a change has no effect."""
    (tmp_path / "broken.yaml").write_text("title: Broken\n")
    monkeypatch.setenv("HUB_DECLARATIONS", str(tmp_path))

    check = next(each for each in examine() if each.name == "declaration broken")

    assert not check.ok
    assert "line 1: /base_url: is missing" in check.found
    assert f"./hub integration validate {tmp_path}/broken.yaml" in str(check.fix)


@pytest.mark.usefixtures("stack_home")
def test_the_doctor_names_a_setting_that_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a start refuses it, before anything runs."""
    monkeypatch.setenv("HUB_STREAMS", '{"commercetools.order": {"schedule": ""}}')

    check = next(each for each in examine() if each.name == "settings")

    assert not check.ok
    assert "Did you mean 'commercetools.orders'?" in check.found
    with pytest.raises(Terminal, match="Did you mean"):
        lifecycle.up(progress=print)
    assert lifecycle.status().state == "stopped"


def test_the_doctor_suggests_a_fix_for_open_secrets(stack_home: Path) -> None:
    (stack_home / "secrets.json").write_text("{}")
    (stack_home / "secrets.json").chmod(0o644)

    check = next(each for each in examine() if each.name == "secrets")

    assert not check.ok
    assert check.fix == f"chmod 600 {stack_home / 'secrets.json'}"


@pytest.mark.parametrize("name", ["landing", "logs", "definitions"])
def test_the_doctor_finds_each_folder_that_cannot_be_written(stack_home: Path, name: str) -> None:
    """A full disk, a mount that is gone: every sync would fail at its first page, and a scheduler stops without its logs."""
    (stack_home / name).write_text("not a folder")

    check = next(each for each in examine() if each.name == name)

    assert not check.ok
    assert str(stack_home / name) in check.found
    assert check.fix


@pytest.fixture
def small_volume(stack_home: Path) -> Iterator[Path]:
    """A volume of its own for the landing area, with room for two pages."""
    folder = stack_home / "landing"
    folder.mkdir()
    if (
        subprocess.run(["/usr/bin/mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)], check=False).returncode
        != 0
    ):
        pytest.skip("this user may not mount a volume")
    yield folder
    subprocess.run(["/usr/bin/umount", "-l", str(folder)], check=True)


def test_the_doctor_tells_each_volume_apart_and_names_the_one_that_is_full(small_volume: Path) -> None:
    """It looked at the free bytes of one folder only."""
    checks = {each.name: each for each in examine()}

    assert not checks["landing"].ok
    assert "No space left on device" in checks["landing"].found
    assert str(small_volume) in str(checks["landing"].fix)
    assert not checks["disk space of landing"].ok
    assert checks["home"].ok


def test_the_doctor_names_a_process_without_a_sign_of_life() -> None:
    """It lives and does nothing: a scheduler whose loop has ended."""
    for name in ("scheduler", "supervisor"):
        processes.save_record(name, os.getpid(), port=None, log=processes.log_of(name))
    write_json(starts.conditions_file("supervisor"), {"scheduler": {"state": "silent", "looks": 9, "waits_for": None}})

    check = next(each for each in examine() if each.name == "scheduler")

    assert not check.ok
    assert check.found == "has given no sign of life for 45 s"


def test_the_doctor_names_a_dead_supervisor() -> None:
    processes.save_record("scheduler", os.getpid(), port=None, log=processes.log_of("scheduler"))
    processes.save_record("supervisor", 2**22 + 1, port=None, log=processes.log_of("supervisor"))

    check = next(each for each in examine() if each.name == "supervisor")

    assert (check.ok, check.found) == (False, "ended")


def test_the_doctor_tells_a_stranger_at_a_port_from_our_own_server(free_port: int) -> None:
    """The process lives, and another program has its port."""
    load_secrets()  # without its secrets, the stack can tell nobody from itself
    with EchoSystem(port=free_port):  # it has no key of this stack
        processes.save_record("sandbox", os.getpid(), port=free_port, log=processes.log_of("sandbox"))
        write_json(home() / "ports.json", {"sandbox": free_port})

        check = next(each for each in examine() if each.name == "sandbox")

    assert not check.ok
    assert f"another program answers at port {free_port}" in check.found


def test_finding_the_stack_loads_nothing_that_only_a_start_needs() -> None:
    """Each command finds the stack first, and pays for what that loads."""
    code = "import sys, crossdock.stack.lifecycle; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=600
    )

    of_a_start = {
        f"crossdock.stack.{name}" for name in ("postgres", "postgres_location", "settings_file", "stale_dags")
    }
    assert of_a_start & set(done.stdout.split()) == set()


def test_loading_the_stack_loads_no_airflow() -> None:
    """`./hub status` should feel instant; Airflow takes seconds to import."""
    code = "import sys, crossdock.stack.lifecycle, crossdock.stack.doctor; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=600
    )

    heavy = {"airflow", "sqlalchemy", "psycopg", "requests", "yaml", "pandas", "great_expectations"}
    assert heavy & set(done.stdout.split()) == set()
