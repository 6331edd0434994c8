"""Follow a replay to its end. A delivery worker runs it; Ctrl-C stops it."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import typer

from crossdock.cli import console
from crossdock.cli.exit_codes import Exit
from crossdock.client.hub import HubApi
from crossdock.client.patience import Patience
from crossdock.core.counted import counted
from crossdock.core.errors import Conflict
from crossdock.core.paths import path_of

Replay = dict[str, Any]
#: The kind of a replay → what it replays, as people say it.
_THINGS = {"quarantine": "quarantine item", "dead_letters": "dead letter", "events": "event"}
#: State of a replay → how it is said. It is open where it could not be stopped.
_END = {"done": "has ended", "stopped": "was stopped", "open": "is still running"}
_LOOK_EVERY_S = 0.25
#: A worker claims a replay within a second; after this long it is said that none has.
_UNCLAIMED_AFTER_S = 15.0


def follow_replay(api: HubApi, requested: Replay) -> Replay:
    """Wait until the replay has ended, with its progress; return it as it ended. Ctrl-C stops the replay."""
    title = f"Replaying {counted(requested['total'], _THINGS.get(requested['kind'], 'item'))}"
    path = path_of("replays", requested["replay_id"])
    now, began, is_explained = requested, time.monotonic(), False
    with console.progress(title) as bar:
        patience = Patience(f"Replay {requested['replay_id']}", "./hub events status", show=bar.update)
        try:
            while now["state"] == "open":
                bar.update(title, done=now["done"] + now["failed"], total=now["total"])
                if not is_explained and not _has_begun(now) and time.monotonic() - began > _UNCLAIMED_AFTER_S:
                    console.say("No delivery worker has begun it yet. To see them: ./hub events status")
                    is_explained = True
                time.sleep(_LOOK_EVERY_S)
                now = patience.look(lambda: api.get(path).document) or now
        except KeyboardInterrupt:
            now = _stopped(api, path)
    return now


def show_end(ended: Replay, done: str, failed_again: str, *, as_json: bool) -> None:
    """Show the result of a replay; the exit code is 1 where nothing passed, and 3 where only a part did."""
    code = _exit_of(ended)
    if as_json:
        console.show_json(ended)
    else:
        mark = console.success if code is Exit.DONE else console.error
        mark(
            f"Replay {ended['replay_id']} {_END.get(ended['state'], ended['state'])}: {ended['done']:,} of {ended['total']:,} {done}, "
            f"{ended['failed']:,} failed again"
        )
    if ended["failed"]:
        console.say(failed_again)
    elif not ended["total"]:
        console.say("Nothing matches the selection.")
    if code is not Exit.DONE:
        raise typer.Exit(code)


def _exit_of(ended: Replay) -> Exit:
    if ended["state"] == "done" and not ended["failed"] and ended["total"]:
        return Exit.DONE
    return Exit.PARTIAL if ended["done"] else Exit.FAILED


def _has_begun(replay: Replay) -> bool:
    return bool(replay["done"] or replay["failed"])


def _stopped(api: HubApi, path: str) -> Replay:
    with suppress(Conflict):  # It ended at this moment.
        api.post(f"{path}/stop", None)
    found: Replay = api.get(path).document
    return found
