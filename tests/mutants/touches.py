"""A pytest plugin that notes which functions of the watched files each test enters, and how long the test takes."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

#: Files whose functions are noted, and the file that the notes are written to.
WATCHED, NOTES = "HUB_MUTANTS_WATCHED", "HUB_MUTANTS_NOTES"

_watched = frozenset(os.environ.get(WATCHED, "").split(os.pathsep))
_entered: set[tuple[str, int]] = set()
_notes: list[dict[str, Any]] = []


def _note(frame: FrameType, event: str, _: object) -> None:
    code = frame.f_code
    if event == "call" and code.co_filename in _watched:
        _entered.add((code.co_filename, code.co_firstlineno))


def pytest_configure() -> None:
    # Returns no tracer of lines, so it costs one call for each call. Of threads too: a worker's loop runs in one.
    threading.settrace(_note)
    sys.settrace(_note)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    _entered.clear()
    began = time.monotonic()
    result = yield
    _notes.append({"test": item.nodeid, "seconds": time.monotonic() - began, "entered": sorted(_entered)})
    return result


def pytest_unconfigure() -> None:
    sys.settrace(None)
    threading.settrace(None)
    Path(os.environ[NOTES]).write_text(json.dumps(_notes))
