"""Text from outside in every column of every command: it is shown, and has no effect on a terminal."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossdock.cli import console, sandbox, stack
from crossdock.client.sandbox import SandboxControl
from crossdock.stack.doctor import Check
from crossdock.stack.lifecycle import ProcessStatus, StackStatus
from tests.cli.conftest import Hub, commands
from tests.cli.hostile_hub import HOSTILE, hostile_hub

#: Command → the words after it.
COMMANDS: dict[str, list[str]] = {
    "audit list": [],
    "backfill": ["x.orders", "--from=2026-01-01", "--to=2026-01-02"],
    "dead-letters list": [],
    "dead-letters show": ["7"],
    "dead-letters fix": ["7", "--set", f"a={HOSTILE}"],
    "dead-letters replay": ["7"],
    "dead-letters stop": ["7"],
    "dead-letters discard": ["7", "--reason", HOSTILE],
    "doctor": [],
    "alerts ack": ["7"],
    "alerts list": [],
    "alerts messages": ["--route", HOSTILE],
    "alerts mute": ["--until", "2030-01-01", "--reason", HOSTILE, "--kind", HOSTILE],
    "alerts mutes": [],
    "alerts routes add": [HOSTILE, "--integration", HOSTILE],
    "alerts routes list": [],
    "alerts routes remove": [HOSTILE, "--yes"],
    "alerts routes show": [HOSTILE],
    "alerts routes validate": ["DECLARATION"],
    "alerts test": [HOSTILE, "--wait", "0"],
    "alerts unmute": ["7"],
    "attempts list": [],
    "decisions decide": ["7", HOSTILE, "--reason", HOSTILE],
    "decisions list": [],
    "decisions show": ["7"],
    "attempts resolve": ["7", "done", "--reason", HOSTILE],
    "events list": ["--run", HOSTILE],
    "events tail": [],
    "events show": ["1-4711"],
    "events replay": ["--key", HOSTILE],
    "events status": [],
    "events rebuild": [],
    "integration act": [HOSTILE, HOSTILE, "--input={}"],
    "integration actions": [HOSTILE],
    "integration add": ["shop_eu", "--kind", HOSTILE, "--existing"],
    "integration change": [HOSTILE, "--name", HOSTILE],
    "integration kinds": [],
    "integration list": [],
    "integration pause": [HOSTILE],
    "integration remove": [HOSTILE, "--yes"],
    "integration resume": [HOSTILE],
    "integration preview": ["DECLARATION", "--credentials=CREDENTIALS"],
    "integration rotate": [HOSTILE, "--credentials=CREDENTIALS"],
    "integration show": [HOSTILE],
    "integration test": [HOSTILE],
    "integration validate": ["DECLARATION"],
    "login": [],
    "mail list": [],
    "mail resume": ["7"],
    "mail show": ["7"],
    "mail test": [HOSTILE, "--to", HOSTILE],
    "workflow add": ["DECLARATION"],
    "workflow cancel": [HOSTILE, "--reason", HOSTILE],
    "workflow deploy": [HOSTILE],
    "workflow execute": [HOSTILE],
    "workflow executions": [],
    "workflow retry": [HOSTILE, "--reason", HOSTILE],
    "workflow status": [HOSTILE],
    "workflow trace": [HOSTILE],
    "workflow undeploy": [HOSTILE],
    "workflow diff": [HOSTILE, "1", "2"],
    "workflow list": [],
    "workflow test": ["DECLARATION"],
    "workflow validate": ["DECLARATION"],
    "order compensate": [HOSTILE, "--reason", HOSTILE],
    "order list": ["--reference", HOSTILE],
    "order place": ["DECLARATION"],
    "order resolve": [HOSTILE, "--outcome", "done", "--reason", HOSTILE],
    "order retry": [HOSTILE, "--reason", HOSTILE],
    "order run": [HOSTILE],
    "order show": [HOSTILE],
    "order trace": [HOSTILE],
    "payments authorise": [HOSTILE, "4990", HOSTILE, "--method", HOSTILE],
    "payments capture": [HOSTILE],
    "payments finish": [HOSTILE, "--detail", f"a={HOSTILE}"],
    "payments gateways": [],
    "payments list": ["--reference", HOSTILE],
    "payments refund": [HOSTILE, "100"],
    "payments resolve": [HOSTILE, "--leg", "7", "--outcome", "done", "--ref", HOSTILE, "--reason", HOSTILE],
    "payments show": [HOSTILE],
    "payments void": [HOSTILE],
    "quarantine list": [],
    "quarantine show": ["7"],
    "quarantine fix": ["7", "--set", f"a={HOSTILE}"],
    "quarantine preview": ["--all-like", "7", "--set", f"a={HOSTILE}"],
    "quarantine replay": ["7"],
    "quarantine discard": ["7", "--reason", HOSTILE],
    "run rows": [HOSTILE],
    "run show": [HOSTILE],
    "runs": ["--stream", HOSTILE],
    "sandbox": [],
    "sandbox credentials": [],
    "sandbox break": ['{"status": 503}', "--route", HOSTILE],
    "sandbox heal": [],
    "sandbox move": [],
    "sandbox requests": [],
    "show": ["x.orders", HOSTILE],
    "status": [],
    "sync": ["x.orders"],
    "trace": ["sku", HOSTILE],
    "warehouses list": [],
    "warehouses set": [HOSTILE, "--country", HOSTILE],
}
#: Commands that show nothing from outside: they start and end processes, measure, or write files for a developer.
OUR_OWN_WORDS = {
    *("audit verify", "demo", "down", "logout", "prepare", "test", "up", "verify-dataset"),
    *("bench sync", "bench dags", "bench events", "bench stack", "profile sync"),
    *(
        "bench alerts",
        "bench event-store",
        "bench faults",
        "bench growth",
        "bench orders",
        "bench pages",
        "bench restore",
        "bench workflows",
        "backup",
        "clean",
        "export",
        "psql",
        "restore",
    ),
    *("new connector", "new page", "new stream", "new subscriber"),
}


def raw(text: str) -> set[str]:
    """List the control and format characters that reach the terminal."""
    return {hex(ord(sign)) for sign in text if sign != "\n" and unicodedata.category(sign) in {"Cc", "Cf", "Zl", "Zp"}}


@pytest.fixture(scope="module", params=[False, True], ids=["answers", "refuses"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with hostile_hub(refuses=request.param) as served:
        yield served


@pytest.fixture
def hub(stackless_hub: Hub, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    for name, value in {"HUB_URL": url, "HUB_USER": "otto", "HUB_PASSWORD": "otto"}.items():
        monkeypatch.setenv(name, value)
    # Nothing is folded, so that a text can be found in one piece.
    monkeypatch.setattr(console._out, "_width", 10_000)
    monkeypatch.setattr(sandbox, "_control", lambda: SandboxControl(url))
    checks = [Check(HOSTILE, ok=ok, found=HOSTILE, fix=HOSTILE) for ok in (True, False)]
    monkeypatch.setattr(stack.stack_doctor, "examine", lambda: checks)
    process = ProcessStatus(name=HOSTILE, state="running", pid=7, port=None, url=HOSTILE)
    monkeypatch.setattr(
        stack.lifecycle, "status", lambda: StackStatus(state="running", processes=(process,), airflow_url=url)
    )
    known = {"hub": stack.ANSWERS, "last_run": HOSTILE, "alerts": [HOSTILE, HOSTILE]}
    monkeypatch.setattr(stack, "facts", lambda _: known)
    (tmp_path / "DECLARATION").write_text(json.dumps({HOSTILE: HOSTILE}))
    (tmp_path / "CREDENTIALS").write_text(json.dumps({HOSTILE: HOSTILE}))
    monkeypatch.chdir(tmp_path)
    return stackless_hub


@pytest.mark.parametrize("as_json", [False, True], ids=["table", "json"])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_lets_text_from_outside_act(hub: Hub, command: str, *, as_json: bool) -> None:
    """A source, a webhook, an error answer or a name would write to the clipboard, forge a line, or end the command."""
    ended = hub(*command.split(), *COMMANDS[command], *(["--json"] if as_json else []))
    shown = ended.out + ended.err

    assert raw(shown) == set()
    assert "\N{BOMB}" not in shown
    assert not any(line.startswith("✓ forged") for line in shown.splitlines())
    assert "[/boom" not in shown or "[/boom][bold]:bomb:" in shown
    if as_json:
        assert ended.document is not None


@pytest.mark.parametrize(
    "words",
    [
        [HOSTILE],
        ["events", HOSTILE],
        ["status", f"--{HOSTILE}"],
        ["events", "replay", "--since", HOSTILE],
        ["runs", HOSTILE],
    ],
    ids=["command", "subcommand", "option", "time", "surplus"],
)
def test_a_wrong_command_is_shown_as_text_too(stackless_hub: Hub, words: list[str]) -> None:
    """A script may take a word from a source; typer shows it as it came."""
    ended = stackless_hub(*words)

    assert ended.code == 2
    assert raw(ended.out + ended.err) == set()


def test_every_command_is_tried() -> None:
    assert {name for name, _ in commands()} == {*COMMANDS, *OUR_OWN_WORDS}


def test_the_json_is_what_the_hub_said(stackless_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters are escaped in the JSON, and not replaced: a program reads the very same text."""
    with hostile_hub(refuses=False) as url:
        for name, value in {"HUB_URL": url, "HUB_USER": "otto", "HUB_PASSWORD": "otto"}.items():
            monkeypatch.setenv(name, value)
        ended = stackless_hub("events", "show", "1-4711", "--json")

    assert ended.document["type"] == HOSTILE


def test_a_title_and_a_bar_are_text_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What no answer of the hub fills, in a script; and what a bar says, on a terminal."""
    monkeypatch.setattr(console._out, "_width", 10_000)
    console.show_table(HOSTILE, [HOSTILE], [[HOSTILE]], empty="")
    console.show(HOSTILE, heading=HOSTILE)
    console.show_document({HOSTILE: HOSTILE})
    monkeypatch.setattr(console._err, "_force_terminal", True)
    monkeypatch.setattr(console._err, "is_interactive", True)
    monkeypatch.setattr(console._err, "_environ", {"TERM": "xterm", "COLUMNS": "300"})
    with console.progress(HOSTILE) as bar:
        bar.update(HOSTILE, done=1, total=2)
    printed = capsys.readouterr()

    assert raw(printed.out) == set()
    assert printed.out.count("[/boom][bold]:bomb:") == 7
    assert "[/boom][bold]:bomb:" in printed.err
    assert not any(sequence in printed.err for sequence in ("\x1b]52", "\x9b", "\u202e"))
