"""
The yardstick of `./hub bench events`: a log in PostgreSQL that promises nothing.

Bytes in by COPY, bytes out by number, one cursor. No horizon (so it is right for one writer only), no order per
key, no inbox, no effect. Whatever the event store costs beyond this is the price of its promises.
"""

from __future__ import annotations

from collections.abc import Sequence

from crossdock.db.database import Work

_TABLES = (
    b"DROP TABLE IF EXISTS plain_log, plain_cursor",
    b"CREATE TABLE plain_log (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body bytea)",
    b"ALTER TABLE plain_log ALTER body SET STORAGE EXTERNAL",
    b"CREATE TABLE plain_cursor (seq bigint)",
    b"INSERT INTO plain_cursor VALUES (0)",
)
_COPY = b"COPY plain_log (body) FROM STDIN (FORMAT binary)"
_READ = b"SELECT seq, body FROM plain_log WHERE seq > %(seq)s ORDER BY seq LIMIT 2000"
_MOVE = b"UPDATE plain_cursor SET seq = %(seq)s"


def make(work: Work) -> None:
    for statement in _TABLES:
        work.execute(statement)


def append(work: Work, bodies: Sequence[bytes]) -> None:
    with work.cursor().copy(_COPY) as copy:
        # Row by row is half the cost of this log: the whole batch is written as one piece.
        rows = (b"\0\1" + len(body).to_bytes(4, "big") + body for body in bodies)
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join(rows) + b"\xff\xff")


def read(work: Work, seq: int) -> tuple[list[bytes], int]:
    """What stands behind *seq*, and the new place, which is moved in this transaction."""
    rows = work.cursor(binary=True).execute(_READ, {"seq": seq}, prepare=True).fetchall()
    if not rows:
        return [], seq
    work.execute(_MOVE, {"seq": rows[-1][0]}, prepare=True)
    return [row[1] for row in rows], rows[-1][0]
