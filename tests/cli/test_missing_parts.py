"""A command needs only the parts of the local stack that it uses, and one that needs what is missing says which part."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from http.server import HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from crossdock.core.stack_proof import CHALLENGE, PROOF, proof_of
from crossdock.stack import lifecycle, needs, processes
from crossdock.stack.home import write_json
from crossdock.stack.ports import PREFERRED
from crossdock.stack.secrets import load_secrets
from tests.cli.conftest import Hub
from tests.cli.test_light_start import CALLS_THE_API, HEAVY, Answers, run_light

pytestmark = pytest.mark.usefixtures("stack")

#: No command of the hub uses these itself.
NOT_USED = ("sandbox", "mail-server", "sendgrid", "alert-sender", "dag-processor", "triggerer")
#: Commands that wait for what the scheduler runs.
WAIT_FOR_A_RUN = (
    "sync inventory --full",
    "backfill inventory --from 2026-01-01 --to 2026-01-02",
    "quarantine replay 1",
    "dead-letters replay 1",
    "events replay --yes",
)


class Ours(Answers):
    """The server of the test, with the key of its stack."""

    server: HTTPServer

    def end_headers(self) -> None:
        if challenge := self.headers.get(CHALLENGE):
            self.send_header(PROOF, proof_of(load_secrets().stack_key, challenge, self.server.server_port))
        super().end_headers()


@pytest.fixture
def stack(stackless_hub: Hub, tmp_path: Path) -> Iterator[None]:  # noqa: ARG001  it sets HUB_HOME
    """A stack of which each part runs: this process, and the API is a server of the test."""
    with HTTPServer(("127.0.0.1", 0), Ours) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        (tmp_path / "home").mkdir()
        write_json(tmp_path / "home" / "ports.json", {**PREFERRED, "airflow": server.server_port})
        for name in lifecycle.NAMES:
            processes.save_record(name, os.getpid(), port=None, log=processes.log_of(name))
        yield
        server.shutdown()


def end(*names: str) -> None:
    for name in names:
        processes.save_record(name, 2**22 + 1, port=None, log=processes.log_of(name))


@pytest.mark.parametrize("command", CALLS_THE_API)
def test_a_command_works_without_the_parts_that_it_does_not_use(stackless_hub: Hub, command: str) -> None:
    end(*NOT_USED)

    assert stackless_hub(*command.split()).code == 0


@pytest.mark.parametrize("command", CALLS_THE_API)
def test_only_what_waits_for_a_run_needs_the_scheduler(stackless_hub: Hub, command: str) -> None:
    """It would wait for ever: nobody starts the run."""
    end("scheduler")

    ended = stackless_hub(*command.split())

    assert (ended.code, "needs scheduler" in ended.text) == ((1, True) if command in WAIT_FOR_A_RUN else (0, False))


def test_a_stranger_on_the_port_of_the_api_server_is_told_from_ours(
    stackless_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no key, and answers all the same."""
    monkeypatch.setattr(Ours, "end_headers", Answers.end_headers)

    assert "cannot prove that it is the stack's own server" in stackless_hub("runs", "--stream", "inventory").text


@pytest.mark.parametrize("part", needs.API)
def test_a_command_that_uses_a_missing_part_says_which_and_what_to_do(stackless_hub: Hub, part: str) -> None:
    end(part)

    ended = stackless_hub("runs", "--stream", "inventory")

    assert ended.code == 1
    assert f"needs {part}, which ended. Start what is missing with: ./hub up" in ended.text


def test_the_sandbox_is_controlled_while_all_else_is_missing(stackless_hub: Hub) -> None:
    end(*(name for name in lifecycle.NAMES if name != "sandbox"))

    assert "The sandbox at" in stackless_hub("sandbox", "heal").text  # nothing listens there, which it found out itself


def test_without_the_sandbox_its_commands_say_so(stackless_hub: Hub) -> None:
    end("sandbox")

    assert "needs sandbox, which ended" in stackless_hub("sandbox", "heal").text


@pytest.mark.parametrize("missing", [*NOT_USED, "scheduler"])
def test_status_shows_the_hub_whatever_else_is_missing(stackless_hub: Hub, missing: str) -> None:
    end(missing)

    ended = stackless_hub("status", "--json")

    assert ended.code == 1
    assert ended.document["state"] == "partial"
    assert ended.document["hub"] == "answers"
    assert ended.document["in_quarantine"] == 3
    assert {each["name"]: each["state"] for each in ended.document["processes"]}[missing] == "ended"


def test_a_part_without_a_sign_of_life_is_missing(stackless_hub: Hub, tmp_path: Path) -> None:
    """It would take the request and never answer."""
    silent = {"api-server": {"state": "silent", "looks": 8, "waits_for": None}}
    write_json(tmp_path / "home" / "supervisor.json", silent)

    ended = stackless_hub("runs", "--stream", "inventory")
    status = stackless_hub("status")

    assert "needs api-server, which has given no sign of life for 40 s" in ended.text
    assert "has given no sign of life for 40 s" in status.text


def test_status_has_the_same_keys_in_every_state(stackless_hub: Hub, tmp_path: Path) -> None:
    """A program that reads them need not know which of them there are."""
    whole = stackless_hub("status", "--json").document
    end("postgres-hub")
    partial = stackless_hub("status", "--json").document
    (tmp_path / "home" / "stack.json").write_text(json.dumps([]))
    stopped = stackless_hub("status", "--json").document

    assert whole.keys() == partial.keys() == stopped.keys()
    assert partial["hub"] == "nothing is known: its database does not run"
    assert stopped["hub"] == "nothing is known: the stack is stopped"


def test_status_says_why_it_knows_nothing_of_the_hub(stackless_hub: Hub) -> None:
    """The api-server is gone, and the database does not answer either."""
    end("api-server")

    ended = stackless_hub("status", "--json")

    assert ended.document["hub"].startswith("nothing is known: The hub's database")
    assert ended.document["last_run"] is None


def test_status_asks_the_api_and_loads_no_database() -> None:
    """It took twice the CPU of any other command; it is the one that people watch."""
    code, loaded = run_light("status")

    assert code == 0
    assert loaded & HEAVY == set()
