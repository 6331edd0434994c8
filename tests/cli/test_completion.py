"""The commands and options of ./hub are completed in bash, in a shell that is asked as a person asks it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
