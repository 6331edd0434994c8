"""
SQL of journeys: all that happened to one order, SKU, customer or execution, in one statement.

It is here because it reads the tables of every room, and only `app` may know them all. Nothing is recorded for it: each
part is a table that its room writes anyway. Each part has the columns of `Entry`, and finds its rows by an index. `detail` is
json, not jsonb: the data of an event is whatever its sender wrote, and jsonb refuses a zero byte. IDs of sources have the
collation "C", and those of the hub the default one: the index of a column serves for its own alone, hence each `COLLATE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from psycopg.rows import kwargs_row

from crossdock.app.orders import WRITE_KEY_CHARACTERS
from crossdock.core.ids import order_dag
from crossdock.db.database import Work


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    at: datetime
    #: Tells apart what happened at the same instant, and keeps its order between pages.
    sort: str
    ended_at: datetime | None
    kind: str
    name: str
    state: str | None
    tries: int | None
    message: str | None
    #: The ID by which to look it up: of an event, a run, a payment, a mail.
    ref: str | None
    detail: dict[str, Any]


class Found(msgspec.Struct, frozen=True):
    """An order that a key means: one that was placed at the hub, or one of a platform by its number."""

    order_id: str | None
    order_number: str
    began_at: datetime
    #: The integration that has it; None for an order of the hub that no platform has.
    platform: str | None


#: By the hub's ID, by the caller's reference, or by a platform's number. The platforms' own may come before the hub's.
_FIND_ORDER = b"""
SELECT order_id, reference, created_at, platform FROM placed_order
 WHERE (order_id = %(key)s OR reference = %(key)s)
   AND (%(platform)s::text IS NULL OR platform = %(platform)s OR order_id = %(key)s)
UNION ALL
(SELECT NULL, order_number, placed_at, integration FROM sales_order
  WHERE order_number = %(key)s AND (%(platform)s::text IS NULL OR integration = %(platform)s) LIMIT 1)
 LIMIT 1
"""

#: A number of a platform that was placed at the hub may not be synced yet.
_PLATFORMS = b"""
SELECT integration FROM sales_order WHERE order_number = %(number)s
 UNION SELECT platform FROM placed_order WHERE reference = %(number)s AND platform IS NOT NULL
 ORDER BY 1
"""

#: A customer's addresses and the platforms' IDs of it. A key with an `@` is an address, whether or not a record has it.
_FIND_CUSTOMER = b"""
SELECT array_agg(DISTINCT email), coalesce(array_agg(DISTINCT id) FILTER (WHERE id IS NOT NULL), '{}')
  FROM (SELECT email, id FROM customers WHERE email = %(key)s
        UNION ALL SELECT email, id FROM customers WHERE id = %(key)s
        UNION ALL SELECT %(key)s, NULL WHERE %(key)s LIKE '%%@%%') AS found
"""

#: Of one key there are few events among millions, which the planner does not know. As in `events.store`, only the filters
#: by key are left; the other tables' indexes serve as bitmaps.
_BY_KEY = (
    b"SELECT set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'off', true),"
    b" set_config('enable_indexonlyscan', 'off', true)"
)

#: Names and types of the columns; a NULL of a part takes its type from here.
_COLUMNS = """
SELECT NULL::timestamptz AS at, ''::text AS sort, NULL::timestamptz AS ended_at, ''::text AS kind, ''::text AS name,
       NULL::text AS state, NULL::int AS tries, NULL::text AS message, NULL::text AS ref, NULL::json AS detail WHERE false"""

_PLACED = """
SELECT created_at, 'order:' || order_id, NULL, 'order', 'placed', state, NULL, reason, order_id,
       jsonb_build_object('reference', reference, 'total_minor', total_minor, 'currency', currency, 'lines', lines,
                          'email', email, 'customer_name', customer_name, 'created_by', created_by)::json
  FROM placed_order"""

_EVENTS = """
SELECT stored_at, concat_ws(':', 'event', epoch, lpad(position::text, 18, '0')), NULL, 'event', type, NULL, NULL, NULL,
       concat_ws('-', epoch, position), data
  FROM event WHERE partition_key = ANY(ARRAY({keys}) COLLATE "C") AND stored_at >= %(since)s
   AND (%(platform)s::text IS NULL OR split_part(source, '/', 2) NOT IN ('integrations', 'webhooks')
        OR split_part(source, '/', 3) = %(platform)s)"""

#: The name of a step for a cursor: in a loop it may have any character.
_STEP_IN_CURSOR = "regexp_replace(step.step, '[^a-z0-9_]', '-', 'g') || left(md5(step.step), 6)"

#: Each try that has ended is in the log of its step; one that is open, was skipped or lost its process is not.
_STEPS = f"""
SELECT coalesce((try->>'began_at')::timestamptz, step.called_at),
       concat_ws(':', 'step', {_STEP_IN_CURSOR}, step.direction, lpad(coalesce(try->>'number', step.tries::text), 6, '0')),
       coalesce((try->>'ended_at')::timestamptz, step.ended_at),
       CASE step.direction WHEN 'act' THEN 'step' ELSE 'undo' END, step.step, coalesce(try->>'state', step.state),
       coalesce((try->>'number')::int, step.tries),
       CASE WHEN try IS NULL THEN step.message ELSE try->>'message' END, step.execution_id,
       json_build_object('flow', execution.flow, 'driver', execution.driver)
  FROM execution JOIN execution_step step USING (execution_id)
 CROSS JOIN LATERAL (SELECT value FROM jsonb_array_elements(step.log)
                     UNION ALL SELECT NULL WHERE NOT step.log @> jsonb_build_array(jsonb_build_object('number', step.tries)))
            AS tried (try)
 WHERE execution.subject = %(order_id)s"""

#: What a step hands to those after it.
_MAPPINGS = f"""
SELECT step.ended_at, 'step:' || {_STEP_IN_CURSOR} || ':mapping', NULL, 'mapping', step.step, NULL, NULL, NULL, step.execution_id, step.output::json
  FROM execution JOIN execution_step step USING (execution_id)
 WHERE execution.subject = %(order_id)s AND step.direction = 'act' AND step.output IS NOT NULL AND step.ended_at IS NOT NULL"""

#: Who looked at personal data did nothing to the order.
_ACTS = """
SELECT at, 'act:' || lpad(entry_id::text, 18, '0'), NULL, 'act', act, NULL, NULL, NULL, entry_id::text,
       (detail || jsonb_build_object('actor', actor))::json
  FROM audit_entry
 WHERE subject = ANY(ARRAY(SELECT 'order/' || %(order_id)s
                            UNION ALL SELECT 'execution/' || execution_id FROM execution WHERE subject = %(order_id)s
                            UNION ALL SELECT 'payment/' || payment_id FROM payment WHERE reference = %(order_id)s) COLLATE "default")
   AND act <> 'personal_data.reveal'"""

_CALLS = """
SELECT leg.began_at, 'call:' || lpad(leg.leg_id::text, 18, '0'), leg.answered_at, 'call', leg.gateway || ' ' || leg.operation,
       leg.outcome, leg.calls, leg.message, leg.payment_id,
       json_build_object('amount_minor', leg.amount_minor, 'code', leg.code, 'payment_ref', leg.payment_ref,
                          'attempt_id', attempt.attempt_id, 'resolution', attempt.resolution)
  FROM payment JOIN payment_leg leg USING (payment_id)
  LEFT JOIN attempt ON attempt.integration = leg.gateway AND attempt.key = leg.key
 WHERE payment.reference = %(order_id)s"""

#: To the platform that has the order: the keys of its writes begin with that of their step.
_WRITES = f"""
SELECT attempt.sent_at, 'call:attempt:' || lpad(attempt_id::text, 18, '0'), attempt.known_at, 'call', integration || ' ' || action,
       CASE WHEN outcome = 'open' AND open_until < clock_timestamp() THEN 'unknown' ELSE outcome END, NULL, NULL, attempt_id::text,
       json_build_object('attempt_id', attempt_id, 'resolution', resolution, 'step', step.step)
  FROM placed_order JOIN execution ON execution.subject = placed_order.order_id JOIN execution_step step USING (execution_id)
  JOIN attempt ON attempt.integration = placed_order.platform COLLATE "C"
   AND attempt.key > (left(step.key, {WRITE_KEY_CHARACTERS}) || '.') COLLATE "C"
   AND attempt.key < (left(step.key, {WRITE_KEY_CHARACTERS}) || '/') COLLATE "C"
 WHERE placed_order.order_id = %(order_id)s"""

#: The runs of the DAG that have taken it. What became of a run, Airflow says.
_ORDER_RUNS = """
SELECT taken_at, 'run:' || md5(run_id), NULL, 'run', %(order_dag)s, NULL, NULL, NULL, run_id,
       json_build_object('dag_run_id', run_id)
  FROM execution JOIN execution_run USING (execution_id)
 WHERE execution.subject = %(order_id)s"""

_FACTS = """
SELECT fact.received_at, 'fact:' || lpad(fact.fact_id::text, 18, '0'), NULL, 'fact', fact.kind, NULL, NULL, fact.code,
       fact.payment_id,
       json_build_object('gateway', fact.gateway, 'amount_minor', fact.amount_minor, 'currency', fact.currency,
                          'occurred_at', fact.occurred_at, 'origin', fact.origin, 'operation_ref', fact.operation_ref)
  FROM payment JOIN payment_fact fact USING (payment_id)
 WHERE payment.reference = %(order_id)s"""

#: The lines of an entry are one entry here, too.
_POSTINGS = """
SELECT min(posted_at), 'posting:' || lpad(entry_id::text, 18, '0'), NULL, 'posting', 'entry ' || entry_id, NULL, NULL, NULL,
       min(payment_id), json_object_agg(posting.account || ' ' || posting.gateway, posting.amount_minor)
  FROM payment JOIN posting USING (payment_id)
 WHERE payment.reference = %(order_id)s GROUP BY entry_id"""

#: Each state that a hold had, not only the one that it has.
_HOLDS = """
SELECT (was->>'at')::timestamptz, concat_ws(':', 'stock', md5(concat_ws('/', order_id, sku, warehouse_id)), lpad(number::text, 6, '0')),
       NULL, 'stock', was->>'state', state, NULL, NULL, order_id,
       json_build_object('sku', sku, 'warehouse_id', regexp_replace(warehouse_id, '^/integrations/', ''), 'quantity', (was->>'quantity')::bigint)
  FROM stock_hold CROSS JOIN LATERAL jsonb_array_elements(log) WITH ORDINALITY AS logged (was, number) WHERE {of}"""

_MAILS = """
SELECT created_at, 'mail:' || lpad(mail_id::text, 18, '0'), CASE WHEN state = 'sent' THEN changed_at END, 'mail', kind, state, NULL,
       reason, mail_id::text, json_build_object('mailer', mailer, 'recipient', recipient, 'business_key', business_key)
  FROM mail WHERE {of}"""

#: The versions of records, as they came: when the hub knew them. Rows from before the column have the time of their batch.
_RECORDS = """
SELECT coalesce(known_at, loaded_at, last_modified_at), concat_ws(':', 'record', lpad(version::text, 18, '0'), md5(stream || '/' || id)), NULL, 'record',
       stream, NULL, NULL, NULL, run_id, (fields || jsonb_build_object('id', id, 'version', version))::json
  FROM version LEFT JOIN sync_batch USING (batch_id)"""

_RUNS = """
SELECT started_at, 'run:' || md5(run_id), finished_at, 'run', coalesce(dag_id, integration || '.' || dataset), state, attempt, error, run_id,
       json_build_object('dag_run_id', dag_run_id, 'mode', mode, 'read', read, 'inserted', inserted, 'updated', updated,
                          'unchanged', unchanged, 'stale', stale, 'rejected', rejected, 'held', held)
  FROM sync_run
 WHERE run_id = ANY(ARRAY(SELECT run_id FROM version JOIN sync_batch USING (batch_id)
                           UNION SELECT first_run_id FROM item UNION SELECT last_run_id FROM item))"""

_ITEMS = """
SELECT first_seen_at, 'quarantine:' || lpad(item_id::text, 18, '0'), closed_at, 'quarantine', integration || '.' || dataset, state,
       times_seen, cause, item_id::text, json_build_object('id', record_id, 'version', version, 'run', last_run_id)
  FROM item"""

_VERSIONS = """
SELECT integration || '.{dataset}' AS stream, id, version, batch_id, known_at, last_modified_at, jsonb_build_object({fields}) AS fields
  FROM {table} WHERE {of} AND (%(platform)s::text IS NULL OR integration = %(platform)s)"""

#: A product has the SKUs of all its variants.
_PRODUCT_KEYS = "SELECT key FROM product WHERE jsonb_path_query_array(variants, '$[*].sku') ? %(sku)s"

#: Items in quarantine, of records with such a key.
_ITEMS_OF = """
SELECT * FROM quarantine_item
 WHERE record_key = {keys} AND dataset IN ({datasets}) AND (%(platform)s::text IS NULL OR integration = %(platform)s)"""


def _versions(dataset: str, table: str, of: str, *names: str) -> str:
    """Select the versions of a dataset's records, the current ones and those before, with some of their fields."""
    fields = ", ".join(f"'{name}', {name}" for name in names)
    return "\nUNION ALL".join(
        _VERSIONS.format(dataset=dataset, table=found, of=of, fields=fields) for found in (table, f"{table}_history")
    )


def _journey(parts: tuple[str, ...], *, before: Mapping[str, str]) -> bytes:
    named = ", ".join(f"{name} AS MATERIALIZED ({select})" for name, select in before.items())
    return f"""
{f"WITH {named}" if named else ""}
SELECT * FROM ({" UNION ALL ".join((_COLUMNS, *parts))}) AS entry
 WHERE at >= %(since)s AND (%(after_at)s::timestamptz IS NULL OR (at, sort COLLATE "C") > (%(after_at)s, %(after)s COLLATE "C"))
 ORDER BY at, sort COLLATE "C" LIMIT %(limit)s""".encode()


_WEBHOOK_KEYS = "SELECT DISTINCT stream || '/' || id FROM version"

_OF_ORDER = _journey(
    (
        _PLACED + " WHERE order_id = %(order_id)s",
        _EVENTS.format(
            keys="SELECT %(order_id)s UNION SELECT %(order_number)s UNION "
            "SELECT DISTINCT stream || '/' || %(order_number)s FROM version UNION " + _WEBHOOK_KEYS
        ),
        _STEPS,
        _MAPPINGS,
        _ACTS,
        _CALLS,
        _WRITES,
        _FACTS,
        _POSTINGS,
        _HOLDS.format(of="order_id = %(order_id)s"),
        _MAILS.format(of="business_key = %(order_id)s"),
        _RECORDS,
        _RUNS,
        _ORDER_RUNS,
        _ITEMS,
    ),
    before={
        "version": _versions(
            "orders",
            "sales_order",
            "order_number = %(order_number)s",
            *("order_state", "payment_state", "shipment_state", "total_minor", "currency"),
        ),
        "item": _ITEMS_OF.format(keys="%(order_number)s", datasets="'orders'"),
    },
)

_OF_SKU = _journey(
    (
        _EVENTS.format(
            keys=f"SELECT %(sku)s UNION {_PRODUCT_KEYS} UNION "
            "SELECT DISTINCT stream || '/' || %(sku)s FROM version UNION " + _WEBHOOK_KEYS
        ),
        _HOLDS.format(of="sku = %(sku)s"),
        _RECORDS,
        _RUNS,
        _ITEMS,
    ),
    before={
        "version": "\nUNION ALL".join(
            (
                _versions(
                    "inventory",
                    "inventory",
                    "sku = %(sku)s",
                    "supply_channel",
                    "quantity_on_stock",
                    "available_quantity",
                ),
                _versions("prices", "prices", "sku = %(sku)s", "amount_minor", "currency", "country", "active"),
                _versions(
                    "products",
                    "product",
                    f"key = ANY(ARRAY({_PRODUCT_KEYS}))",
                    *("key", "published"),
                ),
            )
        ),
        "item": _ITEMS_OF.format(
            keys=f'ANY(ARRAY(SELECT %(sku)s UNION {_PRODUCT_KEYS}) COLLATE "default")',
            datasets="'inventory', 'prices', 'products'",
        ),
    },
)

_OF_CUSTOMER = _journey(
    (
        _PLACED + " WHERE email = ANY(%(emails)s)",
        _EVENTS.format(
            keys="SELECT unnest(%(emails)s::text[]) UNION "
            "SELECT DISTINCT stream || '/' || unnest(%(emails)s::text[]) FROM version UNION " + _WEBHOOK_KEYS
        ),
        _MAILS.format(of="recipient = ANY(%(emails)s)"),
        _RECORDS,
        _RUNS,
        _ITEMS,
    ),
    before={
        "version": "\nUNION ALL".join(
            (
                _versions("customers", "customers", "email = ANY(%(emails)s)", "customer_number", "email_verified"),
                _VERSIONS.format(
                    dataset="orders",
                    table="sales_order",
                    of="customer_id = ANY(%(ids)s)",
                    fields="'order_number', order_number, 'order_state', order_state, 'total_minor', total_minor,"
                    " 'currency', currency",
                ),
            )
        ),
        "item": _ITEMS_OF.format(keys="ANY(%(emails)s)", datasets="'customers'"),
    },
)

#: Subject → its statement.
#: The key of a call is that of its step.
_STEP_CALLS = """
SELECT attempt.sent_at, 'call:attempt:' || lpad(attempt_id::text, 18, '0'), attempt.known_at, 'call', integration || ' ' || action,
       CASE WHEN outcome = 'open' AND open_until < clock_timestamp() THEN 'unknown' ELSE outcome END, NULL, NULL, attempt_id::text,
       json_build_object('attempt_id', attempt_id, 'resolution', resolution, 'step', step.step)
  FROM execution_step step CROSS JOIN integration
  JOIN attempt ON attempt.integration = integration.integration_id COLLATE "C" AND attempt.key = step.key
 WHERE step.execution_id = %(execution_id)s"""

_WORKFLOW_RUNS = """
SELECT taken_at, 'run:' || md5(run_id), NULL, 'run', 'workflow_' || split_part(%(order_id)s, '/', 1), NULL, NULL, NULL, run_id,
       json_build_object('dag_run_id', run_id)
  FROM execution_run WHERE execution_id = %(execution_id)s"""

_OF_EXECUTION = _journey(
    (
        _EVENTS.format(keys="SELECT %(execution_id)s"),
        _STEPS,
        _MAPPINGS,
        _ACTS,
        _STEP_CALLS,
        _WORKFLOW_RUNS,
    ),
    before={},
)

STATEMENTS: Mapping[str, bytes] = {
    "order": _OF_ORDER,
    "sku": _OF_SKU,
    "customer": _OF_CUSTOMER,
    "execution": _OF_EXECUTION,
}


def find_order(work: Work, key: str, platform: str | None) -> Found | None:
    """
    Find the order that *key* means: an ID or a reference of the hub, or a platform's order number; None if there is none.

    Two shops may have one number: with a *platform*, it is that of its order.
    """
    row = work.execute(_FIND_ORDER, {"key": key, "platform": platform}).fetchone()
    return Found(*row) if row else None


def platforms_with(work: Work, number: str) -> list[str]:
    """List the integrations that have an order of this number, by ID."""
    return [integration for (integration,) in work.execute(_PLATFORMS, {"number": number})]


def find_customer(work: Work, key: str) -> tuple[list[str], list[str]]:
    """Find the addresses and IDs of the customer that *key*, an address or a platform's ID, means."""
    row = work.execute(_FIND_CUSTOMER, {"key": key}).fetchone()
    assert row is not None  # noqa: S101  an aggregate has one row
    return list(row[0] or []), list(row[1])


def entries(
    work: Work,
    subject: str,
    values: Mapping[str, Any],
    *,
    since: datetime,
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[Entry]:
    """
    Read at most *limit* entries of the journey of a *subject*, in time order.

    Args:
        work: A transaction of its own: how it plans is changed until its end.
        subject: A key of `STATEMENTS`.
        values: What the parts are found by.
        since: From this instant on.
        after: The instant and the `sort` of the last entry that is known.
        limit: How many at most.

    """
    after_at, after_sort = after or (None, None)
    given = {
        "platform": None,
        **values,
        "order_dag": order_dag(),
        "since": since,
        "after_at": after_at,
        "after": after_sort,
        "limit": limit,
    }
    work.execute(_BY_KEY)
    return work.cursor(row_factory=kwargs_row(_entry)).execute(STATEMENTS[subject], given).fetchall()


def _entry(*, detail: Any, **fields: Any) -> Entry:
    """Build an entry. The body of a webhook may be large, and its event has it."""
    known = detail if isinstance(detail, dict) else {"data": detail}
    return Entry(**fields, detail={name: value for name, value in known.items() if name != "body"})
