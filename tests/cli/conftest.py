"""The command line in this process: what it prints on either side, and its exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crossdock.cli.app import main
from crossdock.core.settings import settings
from tests.streams import define_shop


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        (line,) = self.out.splitlines()
        return json.loads(line)

    @property
    def text(self) -> str:
        """All that a person reads, whatever the width of the terminal."""
        return " ".join((self.out + self.err).replace("│", " ").split())


Hub = Callable[..., Ended]


@pytest.fixture
def stackless_hub(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Hub:
    """`./hub WORDS` where no stack runs."""
    monkeypatch.setenv("HUB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(settings(), "definitions_url", define_shop(tmp_path / "definitions"))
    for name in ("HUB_DATABASE_URL", "HUB_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["hub", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def hub(stackless_hub: Hub, hub_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """`./hub WORDS` over the test's own database."""
    monkeypatch.setenv("HUB_DATABASE_URL", hub_dsn)
    return stackless_hub
