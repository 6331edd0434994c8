"""Libraries of real senders of webhooks: installed beside the hub, run in a process of their own, and never imported by it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossdock.cli.demo.checks import DemoFailed

_PROGRAM = Path(__file__).with_name("senders") / "deliver.py"
_PINS = Path(__file__).with_name("senders") / "libraries.txt"
_INSTALL_TIMEOUT_S = 600.0
_SEND_TIMEOUT_S = 1_200.0
_DONE = "installed"


@dataclass(frozen=True)
class Delivery:
    """What a sender's library signs, and where it is sent."""

    #: `standardwebhooks`, `stripe` or `slack_sdk`.
    library: str
    secret: str
    #: The ID of the delivery, for a sender that has it in a header.
    id: str
    url: str
    body: str
    content_type: str = "application/json"
    #: Sent at once.
    copies: int = 1


@dataclass(frozen=True)
class Answer:
    """How the hub answered one copy."""

    status: int
    text: str
    #: More than one after 503, which a sender repeats.
    attempts: int

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found


@dataclass(frozen=True)
class Sent:
    """The headers that the library made, and the answer to each copy."""

    headers: dict[str, str]
    answers: tuple[Answer, ...]

    @property
    def answer(self) -> Answer:
        """The answer to the first copy."""
        return self.answers[0]


class SenderLibraries:
    """The libraries in a folder of their own. What they need besides is the hub's."""

    def __init__(self, home: Path) -> None:
        digest = hashlib.sha256(_PINS.read_bytes()).hexdigest()[:12]
        self._folder = home / f"sender-libraries-{digest}"

    @property
    def names(self) -> list[str]:
        """Each with its version."""
        return [line.removesuffix(" \\") for line in _PINS.read_text().splitlines() if "==" in line]

    def install(self) -> bool:
        """
        Install the pinned versions, with their hashes, where they are missing; return whether they were.

        Raises:
            DemoFailed: the package index cannot be reached.

        """
        if (self._folder / _DONE).exists():
            return False
        shutil.rmtree(self._folder, ignore_errors=True)
        command = [*_installer(), "--no-deps", "--require-hashes", "--target", str(self._folder), "-r", str(_PINS)]
        try:
            ended = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=_INSTALL_TIMEOUT_S,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DemoFailed(_not_installed(str(error))) from error
        if ended.returncode != 0:
            raise DemoFailed(_not_installed(ended.stderr or ended.stdout))
        (self._folder / _DONE).touch()
        return True

    def deliver(self, delivery: Delivery) -> Sent:
        """
        Have the library sign *delivery* and send it; one that is answered 503 is sent again.

        Raises:
            DemoFailed: the library or the connection failed.

        """
        ended = subprocess.run(
            [sys.executable, "-P", str(_PROGRAM)],
            env={**os.environ, "PYTHONPATH": str(self._folder)},
            input=json.dumps(asdict(delivery)),
            capture_output=True,
            text=True,
            timeout=_SEND_TIMEOUT_S,
            check=False,
        )
        if ended.returncode != 0:
            raise DemoFailed(f"{delivery.library} failed: {_last_line(ended.stderr)}")
        found = json.loads(ended.stdout)
        return Sent(found["headers"], tuple(Answer(**answer) for answer in found["answers"]))


def _installer() -> list[str]:
    """Find what `./hub` installs with: uv of .venv, uv on PATH, or pip."""
    own = Path(sys.prefix) / "bin" / "uv"
    if uv := str(own) if own.exists() else shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def _not_installed(said: str) -> str:
    return (
        f"the senders' libraries cannot be installed: {_last_line(said)}. This chapter needs a package index once. "
        "Check the network or set a mirror (UV_INDEX_URL, PIP_INDEX_URL), then run ./hub demo webhooks again"
    )


def _last_line(said: str) -> str:
    return (said.strip().splitlines() or ["it said nothing"])[-1].strip()[:300]
