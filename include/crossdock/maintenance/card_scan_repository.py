"""SQL of the scan for card data: which columns have text, and which of their values may have some."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from psycopg import sql

from crossdock.db.database import Work


class Column(msgspec.Struct, frozen=True):
    """A column with text or JSON, in one table or one partition."""

    #: As people know it: the partitioned table, not its partition.
    table: str
    name: str
    #: The table or partition that has the rows, and its size.
    stored_in: str
    blocks: int


#: Of this schema alone: Airflow and others keep their own. Text in arrays and in binary columns is not read.
_COLUMNS = b"""
SELECT coalesce(parent.relname, stored.relname), attname, stored.relname,
       (pg_relation_size(stored.oid) / current_setting('block_size')::bigint)::int
  FROM pg_class stored
  JOIN pg_attribute ON attrelid = stored.oid AND attnum > 0 AND NOT attisdropped
  LEFT JOIN pg_inherits ON inhrelid = stored.oid
  LEFT JOIN pg_class parent ON parent.oid = inhparent
 WHERE stored.relnamespace = current_schema()::regnamespace AND stored.relkind = 'r'
   AND atttypid = ANY(ARRAY['text', 'varchar', 'json', 'jsonb']::regtype[])
 ORDER BY 1, 2, 3
"""

#: Reads the rows of some blocks, whatever the table's key is. The pattern finds thirteen digits with few signs between
#: them, and names of security codes; what it finds is searched exactly.
_CANDIDATES = r"""
SELECT {column}::text FROM {table}
 WHERE ctid >= %(first)s::tid AND ctid < %(end)s::tid
   AND {column}::text ~* '[[:digit:]]([^[:alnum:]]{{0,3}}[[:digit:]]){{12}}|c(v[vcn]|sc|av|id)[^a-z]{{0,4}}"|security[ _-]?code'
"""


def columns(work: Work) -> list[Column]:
    """List every column with text or JSON."""
    return [Column(*row) for row in work.execute(_COLUMNS)]


def candidates(work: Work, column: Column, first_block: int, end_block: int) -> Iterator[Any]:
    """Read the values of *column* that may have card data, from *first_block* to before *end_block* of its table."""
    query = sql.SQL(_CANDIDATES).format(column=sql.Identifier(column.name), table=sql.Identifier(column.stored_in))
    for (value,) in work.execute(query, {"first": f"({first_block},0)", "end": f"({end_block},0)"}):
        yield value
