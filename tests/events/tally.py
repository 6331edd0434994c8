"""A table of effects, one row each time a subscriber had one: nothing in it is unique, so that doubling shows."""

from __future__ import annotations

from collections.abc import Sequence

from crossdock.db.database import Work

_MAKE = b"CREATE TABLE IF NOT EXISTS bench_tally (position bigint NOT NULL)"
_ADD = b"INSERT INTO bench_tally SELECT * FROM unnest(%(positions)b::bigint[])"
_COUNT = b"SELECT count(*), count(DISTINCT position) FROM bench_tally"


def make(work: Work) -> None:
    work.execute(_MAKE)


def add(work: Work, positions: Sequence[int]) -> None:
    work.execute(_ADD, {"positions": list(positions)}, prepare=True)


def count(work: Work) -> tuple[int, int]:
    """Count the effects, and the events that had one."""
    row = work.execute(_COUNT).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)
