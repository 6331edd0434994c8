"""The commands and options of ./hub are completed in bash, in a shell that is asked as a person asks it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crossdock.cli import completion
from crossdock.db.database import Store
from tests.cli.conftest import Hub
from tests.sync.quarantine.test_service import Triage
from tests.sync.records import entry

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="there is no bash")

#: Completes the last of the words after the command, as bash does at Tab.
_COMPLETED = """
complete_words() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    local function; function=$(complete -p hub); function=${function##*-F }; function=${function%% *}
    "$function" "$1"; printf '%s\\n' "${COMPREPLY[@]}"
}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a `hub` of its own, and a home."""
    script = tmp_path / "hub"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m crossdock.cli "$@"\n')
    script.chmod(0o755)
    return tmp_path


def bash(checkout: Path, script: str) -> str:
    environment = {**os.environ, "HOME": str(checkout)}
    words = [str(BASH), "--norc", "-c", f"{_COMPLETED}{script}\n:"]  # not the last command: bash would not fork for it
    ended = subprocess.run(words, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("./hub quara", "quarantine"), ("./hub quarantine repl", "replay"), ("./hub runs --str", "--stream")],
)
def test_a_word_is_completed(checkout: Path, typed: str, completed: str) -> None:
    found = bash(checkout, f'eval "$(./hub --show-completion)"\ncomplete_words {typed}')

    assert found.split() == [completed]


def test_an_installed_completion_is_there_in_the_next_shell(checkout: Path) -> None:
    bash(checkout, "./hub --install-completion")

    assert bash(checkout, "source ~/.bashrc\ncomplete_words ./hub dead").split() == ["dead-letters"]


def test_ids_are_those_of_the_hub(hub: Hub, store: Store, checkout: Path) -> None:  # noqa: ARG001  the login is its own
    Triage(store).sync(entry(id="a", quantityOnStock=-3))
    (item,) = Triage(store).items()

    assert completion.ids_of("/runs", "runs", "run_id")("") == [item.first_run_id]
    assert completion.ids_of("/runs", "runs", "run_id")("no-run") == []
    assert completion.ids_of("/quarantine", "items", "item_id")(str(item.item_id)) == [str(item.item_id)]
    assert "commercetools.inventory" in completion.streams("commerce")
    asked = 'eval "$(./hub --show-completion)"\ncomplete_words ./hub quarantine show ""'
    assert bash(checkout, asked).split() == [str(item.item_id)]


def test_without_a_hub_nothing_is_completed_and_nothing_is_said(
    stackless_hub: Hub,  # noqa: ARG001  its environment
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert completion.streams("") == []
    assert capsys.readouterr() == ("", "")
