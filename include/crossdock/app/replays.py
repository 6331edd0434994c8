"""What executes a replay of quarantined records. Replays of events and dead letters are executed in `events.replay`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from crossdock.app.streams import stream_of
from crossdock.events.replay.service import Executor
from crossdock.sync.quarantine import replay as quarantine_replay

EXECUTORS: Mapping[str, Executor] = {
    quarantine_replay.KIND: Executor(
        partial(quarantine_replay.replay_some, streams=stream_of), timeout_s=quarantine_replay.TIMEOUT_S
    ),
}
