"""The output after a mistyped command: one line for a person, one document for a program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crossdock.cli import app, console
from tests.cli.conftest import Hub, commands

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "nearest", "there"),
    [
        (["staus"], "'status'", "doctor"),
        (["quarantine", "lst"], "'list'", "replay"),
        (["events", "rebild"], "'rebuild'", "tail"),
        (["bench", "stak"], "'stack'", "events"),
        (["sandbox", "heel"], "'heal'", "requests"),
    ],
)
def test_a_verb_that_is_not_there_names_the_nearest_and_all_that_are(
    stackless_hub: Hub, words: list[str], nearest: str, there: str
) -> None:
    ended = stackless_hub(*words)

    assert ended.code == 2
    assert f"Did you mean {nearest}?" in ended.text
    assert there in ended.text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["export", "orders", "--format", "xlsx"],
            "Invalid value for '--format': 'xlsx' is not one of 'parquet', 'csv'.",
        ),
        (["export", "order"], "There is no view 'order'. There are: orders, order_lines, products,"),
        (
            ["export", "customers", "--personal"],
            "Personal data needs a reason, which goes into the audit trail: add --reason TEXT",
        ),
        (["events", "list", "--limit", "some"], "Invalid value for '--limit': must be a whole number"),
        (
            ["order", "cancel", "ord_1"],
            "No such command 'cancel'. That does: ./hub order compensate ORDER_ID --reason REASON",
        ),
        (["dead-letters", "replay", "--all", "--rate", "0"], "Invalid value for '--rate'"),
        (["psql", "--reason", "a recall"], "--reason is for --personal: masked data needs none"),
    ],
)
def test_a_wrong_value_is_answered_with_what_to_write(stackless_hub: Hub, words: list[str], message: str) -> None:
    ended = stackless_hub(*words)

    assert ended.code != 0
    assert message in ended.text


@pytest.mark.parametrize(
    ("words", "kind", "code"),
    [
        (["quarantine", "show", "4711"], "NotFound", 1),
        (["quarantine", "list", "--state", "shut"], "BadRequest", 2),
        (["quarantine", "show", "eleven"], "BadParameter", 2),
        (["nonsense"], "UsageError", 2),
        (["run", "show"], "MissingParameter", 2),
    ],
)
def test_with_json_an_error_is_one_document_on_standard_output(
    hub: Hub, words: list[str], kind: str, code: int
) -> None:
    """A program that reads standard output as JSON must not fail at our errors."""
    ended = hub(*words, "--json")

    error = ended.document["error"]
    assert (error["kind"], error["exit_code"], ended.code) == (kind, code, code)
    assert error["message"] in " ".join(ended.err.split())


@pytest.mark.parametrize("name", ["../runs?limit=1#", "..", "", "shop/../runs", "%2e%2e"])
def test_an_id_is_never_a_path(hub: Hub, name: str) -> None:
    """`../runs?limit=1#` was answered with a list of runs, and ended in a stack trace."""
    ended = hub("integration", "show", name, "--json")

    kind = ended.document["error"]["kind"]
    assert kind in {"NotFound", "BadRequest", "HubRefused"}
    assert ended.code == (1 if kind == "NotFound" else 2)


def test_every_command_takes_json_but_those_that_speak_to_people() -> None:
    """
    What `test` and `prepare` say is for people and a container's log; `new` writes files for a developer; `sandbox
    credentials` prints nothing but a document; `psql` is another program.
    """
    without = {name for name, command in commands() if not _takes_json(command)}

    assert without == {
        "test",
        "prepare",
        "new connector",
        "new page",
        "new stream",
        "new subscriber",
        "psql",
        "sandbox credentials",
    }


def _takes_json(command: Any) -> bool:
    return any("--json" in parameter.opts for parameter in command.params)


def test_with_json_a_stopped_stack_is_reported_as_a_document_too(stackless_hub: Hub) -> None:
    ended = stackless_hub("runs", "--json")

    assert ended.code == 1
    assert ended.document["error"]["message"].endswith("Start it with: ./hub up")


def test_progress_is_on_standard_error_with_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Two minutes of silence look like a hang."""
    with console.progress("Starting") as bar:
        bar.update("the database")
    console.show_json({"done": True})

    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ('{"done":true}\n', "the database\n")


@pytest.mark.parametrize(
    "words",
    [
        ["show", "inventory", "A", "--as-of"],
        ["events", "replay", "--since"],
        ["events", "replay", "--until"],
        ["sync", "inventory", "--since"],
        ["sync", "inventory", "--until"],
    ],
)
def test_every_command_explains_a_wrong_time_in_the_same_words(hub: Hub, words: list[str]) -> None:
    nonsense, naive = hub(*words, "yesterday"), hub(*words, "2026-11-21T09:30")

    assert (nonsense.code, naive.code) == (2, 2)
    assert f"Invalid value for '{words[-1]}': Cannot read 'yesterday' as a time. Use 2026-11-21 or" in nonsense.text
    assert "has no time zone. For UTC, use 2026-11-21T09:30Z" in naive.text


@pytest.mark.parametrize("verb", [["tail"], ["list"], ["replay"]])
def test_an_unknown_event_type_is_refused_with_the_nearest(hub: Hub, verb: list[str]) -> None:
    """An empty answer would look as if there were no events."""
    ended = hub("events", *verb, "--type", "stock.changed")

    assert ended.code == 2
    assert "Did you mean crossdock.stock.changed? Event types: crossdock.customer.changed" in ended.text


def test_following_the_events_ends_well_with_ctrl_c(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the only way to end it."""

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crossdock.cli.events.time.sleep", interrupted)

    assert hub("events", "tail", "--follow", "--json").code == 0


def test_a_day_is_refused_in_the_words_of_its_option(hub: Hub) -> None:
    ended = hub("backfill", "orders", "--from", "tuesday", "--to", "2026-01-01")

    assert ended.code == 2
    assert "Invalid value for '--from': Cannot read 'tuesday' as a day. Use for example 2026-11-21" in ended.text


def test_ctrl_c_ends_a_command_with_130(stackless_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "app", interrupted)
    ended = stackless_hub("runs", "--json")

    assert (ended.code, ended.document["error"]["kind"]) == (130, "Interrupted")


def test_ctrl_c_while_it_starts_leaves_no_stack_trace(tmp_path: Path) -> None:
    """Sent by a module that is imported early in the start: the moment is the same on every machine."""
    (tmp_path / "rich.py").write_text(
        f"import os, signal, time; os.kill(os.getpid(), {int(signal.SIGINT)}); time.sleep(5)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "crossdock.cli", "runs"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (130, "")


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark is for Linux")
def test_ctrl_c_in_a_benchmark_is_one_sentence(tmp_path: Path) -> None:
    """A terminal sends it to every process of the command: none of them may answer with a stack trace."""
    command = [sys.executable, "-P", "-m", "crossdock.cli", "bench", "sync", "--rows", "500", "--out", str(tmp_path)]
    child = subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stderr is not None
    lines = [child.stderr.readline() for _ in range(3)]
    os.killpg(child.pid, signal.SIGINT)
    lines += child.stderr.readlines()

    assert child.wait() == 130
    assert "Traceback" not in "".join(lines)
    assert "The command was interrupted" in lines[-1]
