"""What the exit codes of ./hub mean."""

from __future__ import annotations

from enum import IntEnum

from include.model.sync import RunState


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    #: Said by typer itself, and for requests that contradict themselves.
    WRONG_USE = 2
    #: Done, and something went to quarantine or was left open.
    PARTIAL = 3
    #: A person has to decide before it goes on.
    PERSON_NEEDED = 4


def exit_of(state: RunState) -> Exit:
    return {
        RunState.DONE: Exit.DONE,
        RunState.PARTIAL: Exit.PARTIAL,
        RunState.HELD: Exit.PERSON_NEEDED,
        RunState.FAILED: Exit.FAILED,
        RunState.RUNNING: Exit.FAILED,
    }[state]
