"""A history of some months, written at once: runs, records in quarantine, events, dead letters, alerts, the audit trail."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from crossdock.bench.report import Say
from crossdock.db.database import Store
from crossdock.events import counts_repository

_CHUNK = 250_000


@dataclass(frozen=True, kw_only=True)
class Size:
    quarantine: int
    events: int
    runs: int


#: Of five streams in turn, one every few minutes, now and then with something rejected.
_RUNS = b"""
INSERT INTO sync_run (run_id, integration, dataset, shard, mode, request, state, fencing_token, moves_watermark, started_at,
                      finished_at, read, inserted, updated, unchanged, rejected)
SELECT 'bench-' || n, 'commercetools', (ARRAY['inventory', 'products', 'prices', 'orders', 'customers'])[1 + mod(n, 5)], 'all',
       'delta', '{}', CASE WHEN mod(n, 11) = 0 THEN 'partial' ELSE 'done' END, n, true,
       now() - n * interval '4 minutes', now() - n * interval '4 minutes' + interval '9 seconds',
       1000, 100, 400, CASE WHEN mod(n, 11) = 0 THEN 490 ELSE 500 END, CASE WHEN mod(n, 11) = 0 THEN 10 ELSE 0 END
  FROM generate_series(1, %(runs)s::int) AS n
"""

#: Forty causes, the first of them with most of the records; a record has a kilobyte.
_QUARANTINE = b"""
INSERT INTO quarantine_item (integration, dataset, record_id, record_key, version, cause, failures, raw, first_run_id,
                             last_run_id, first_seen_at, last_seen_at)
SELECT 'commercetools', CASE WHEN mod(n, 10) < 7 THEN 'inventory' ELSE 'products' END, md5(n::text), 'SKU-' || n, 1, cause,
       jsonb_build_array(jsonb_build_object('rule', cause, 'column', 'available_quantity', 'message',
                                            'Available is more than the stock', 'value', '9')),
       convert_to('{"id": "' || md5(n::text) || '", "version": 1, "sku": "SKU-' || n || '", "filler": "' || repeat('x', 1000)
                  || '"}', 'UTF8'),
       'bench-' || 11 * (1 + mod(n, %(partial)s::int)), 'bench-' || 11 * (1 + mod(n, %(partial)s::int)),
       now() - n * interval '20 seconds', now() - n * interval '20 seconds'
  FROM (SELECT n, 'rule_' || CASE WHEN mod(n, 3) = 0 THEN mod(n, 40) ELSE 0 END AS cause
          FROM generate_series(1, %(quarantine)s::int) AS n) AS item
"""
_REJECTIONS = (
    b"INSERT INTO rejection (run_id, item_id) SELECT last_run_id, item_id FROM quarantine_item ON CONFLICT DO NOTHING"
)

#: Silent, so that no worker delivers them while the pages are measured.
_EVENTS = b"""
INSERT INTO event (source, type, subject, time, partition_key, correlation_id, silent, data, stored_at)
SELECT '/integrations/commercetools', CASE WHEN mod(n, 5) = 0 THEN 'crossdock.product.changed' ELSE 'crossdock.stock.changed' END,
       'inventory/' || n, clock_timestamp(), 'key-' || mod(n, 50000), 'bench-' || 1 + n / 100, true,
       ('{"filler": "' || repeat('x', 300) || '"}')::json, clock_timestamp() - interval '20 days' * (1 - n::float8 / %(events)s)
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""

_DEAD_LETTERS = b"""
INSERT INTO dead_letter (subscriber, state, attempts, cause, reason, epoch, xid, position, source, type, subject, time,
                         partition_key, partition, schema_version, data, first_seen_at)
SELECT 'availability', 'dead', 5, 'Cause' || position % 9, 'It cannot be applied', epoch, xid, position, source, type, subject,
       time, partition_key, 0, 1, data, stored_at
  FROM (SELECT * FROM event ORDER BY epoch DESC, xid DESC, position DESC LIMIT 2000) AS newest
"""

_ALERTS = b"""
INSERT INTO alert (kind, subject, message, records, at, seen_at, closed_at)
SELECT 'stream_stale', 'bench.' || n, 'No run of it has succeeded for hours', n, now() - n * interval '9 minutes', now(),
       CASE WHEN n > 40 THEN now() END
  FROM generate_series(1, 5000) AS n
"""
_AUDIT = b"""
INSERT INTO audit_entry (actor, act, subject, detail)
SELECT 'airflow:admin', 'quarantine.fix', 'quarantine/' || n, '{"stream": "commercetools.inventory"}'
  FROM generate_series(1, 20000) AS n
"""
_SUMMARISE = b"""
SELECT brin_summarize_new_values(pg_class.oid) FROM pg_class JOIN pg_am ON pg_am.oid = relam
 WHERE amname = 'brin' AND relkind = 'i'
"""


def fill(store: Store, size: Size, say: Say) -> None:
    """Write the history, and have it vacuumed and analysed as autovacuum would."""
    for what, statement in (
        (f"{size.runs:,} runs", _RUNS),
        (f"{size.quarantine:,} records in quarantine", _QUARANTINE),
        ("their runs", _REJECTIONS),
    ):
        with store.transaction() as work:
            work.execute(statement, {"runs": size.runs, "quarantine": size.quarantine, "partial": size.runs // 11})
        say(f"Written: {what}")
    for first in range(1, size.events + 1, _CHUNK):
        last = min(first + _CHUNK - 1, size.events)
        with store.transaction() as work:
            work.execute(_EVENTS, {"first": first, "last": last, "events": size.events})
        say(f"Written: {last:,} of {size.events:,} events")
    for statement in (_DEAD_LETTERS, _ALERTS, _AUDIT):
        with store.transaction() as work:
            work.execute(statement)
    _count_and_analyse(store)
    say("Counted and analysed")


def _count_and_analyse(store: Store) -> None:
    number = 1
    while number:
        with store.transaction() as work:
            number = counts_repository.count_next(work, limit=200_000)
    with psycopg.connect(store.dsn, autocommit=True) as connection:
        connection.execute(_SUMMARISE)
        connection.execute(b"VACUUM (ANALYZE)")


def ids(store: Store) -> dict[str, str]:
    """Find one run, record, event and dead letter whose pages are opened, too."""
    with store.transaction() as work:
        rows = work.execute(
            b"SELECT (SELECT max(item_id) FROM quarantine_item), (SELECT epoch || '-' || position FROM event "
            b"ORDER BY epoch DESC, xid DESC, position DESC LIMIT 1), (SELECT max(dead_letter_id) FROM dead_letter)"
        ).fetchone()
    item, event, dead_letter = rows or ("", "", "")
    return {"{item}": str(item), "{event}": str(event), "{dead_letter}": str(dead_letter), "{run}": "bench-11"}
