"""Single records, read from their source and loaded at once: the way every record goes, without a DAG run."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from include.flows.registry import SYNCS
from include.flows.sync import Sync, Systems, extract, load, mark_failed, validate
from include.model.errors import BadEvent, HubError
from include.model.sync import SyncRequest

#: Pulls of different keys do not wait for each other, nor for the live sync: the guard by version settles who is newer.
_LEASES = 16


class _Pull(SyncRequest, frozen=True):
    """A request of named keys with a lease beside the live sync's."""

    @property
    def partition(self) -> str:
        return f"webhook:{zlib.crc32(self.keys[0].encode()) % _LEASES}"


class Puller:
    """A `KeyPuller` over the hub's own syncs; the systems are opened for each pull, as for each task."""

    def __init__(self, systems_of: Callable[[Sync], AbstractContextManager[Systems]]) -> None:
        self._systems_of = systems_of

    def pull(self, entity: str, keys: Sequence[str]) -> None:
        sync = SYNCS.get(entity)
        if sync is None:
            raise BadEvent("of a webhook", "sync", f"nobody syncs {entity!r}")
        pull_id = f"pull__{uuid.uuid4().hex}"
        with self._systems_of(sync) as systems:
            try:
                run_id = extract(sync, systems, _Pull(keys=tuple(dict.fromkeys(keys))), dag_run_id=pull_id)
                load(sync, systems, validate(sync, systems, run_id))
            except HubError as error:
                # Tried again, it is another run: nobody comes back to this one.
                mark_failed(sync, systems.store, pull_id, str(error))
                raise
