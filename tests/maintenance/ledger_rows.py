"""Runs in the ledger, as they would be after weeks."""

from __future__ import annotations

import itertools
from datetime import datetime

from crossdock.db.database import Store
from tests.shop import query

_numbers = itertools.count()


def ended(
    store: Store,
    at: datetime,
    *,
    stream: str = "shop.orders",
    read: int = 0,
    rejected: int = 0,
    state: str = "done",
    shard: str = "all",
    mode: str = "delta",
    moves_watermark: bool = True,
) -> None:
    """Add a run that ended at *at*."""
    integration, dataset = stream.split(".")
    query(
        store,
        "INSERT INTO sync_run (run_id, integration, dataset, shard, mode, request, attempt, state, moves_watermark, read,"
        " inserted, rejected, started_at, finished_at) VALUES (%s, %s, %s, %s, %s, '{}', 1, %s, %s, %s, %s, %s, %s, %s)"
        " RETURNING 1",
        f"run-{next(_numbers)}",
        integration,
        dataset,
        shard,
        mode,
        state,
        moves_watermark,
        read,
        read - rejected,
        rejected,
        at,
        at,
    )
