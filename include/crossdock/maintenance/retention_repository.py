"""
SQL of the retention: delete expired rows, oldest first, a bounded number per transaction, and never what is still needed.

Each function deletes at most *limit* rows and returns how many; fewer than *limit* means that no more have expired.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from crossdock.db.database import Work

#: Runs that have expired: fetch runs of webhooks at *fetched_before*, which is never earlier than *before*. The condition
#: is there twice, because no index answers the CASE.
_ENDED = """state <> 'running' AND finished_at < %(fetched_before)s AND finished_at < CASE WHEN shard LIKE 'webhook:%%' THEN %(fetched_before)s
       ELSE %(before)s END"""

#: The state is checked twice: a failed run that was reopened in the meantime keeps its pages. Records in quarantine need
#: no pages, since they are stored whole; neither do deferred records, which are read from their source again.
_CLEAR_LANDING = f"""
UPDATE sync_run run SET landing_cleared_at = clock_timestamp()
 WHERE state <> 'running' AND run_id = ANY(ARRAY(
    SELECT run_id FROM sync_run old
     WHERE {_ENDED} AND EXISTS (SELECT FROM sync_range part WHERE part.run_id = old.run_id)
       AND run_id <> ALL(%(but)s)
     ORDER BY finished_at LIMIT %(limit)s))
RETURNING run_id
""".encode()

#: The pages of a fetch were in the memory of its worker, so their index goes with it.
_END_ABANDONED = b"""
WITH ended AS (
    UPDATE sync_run SET state = 'failed', finished_at = clock_timestamp(), landing_cleared_at = clock_timestamp(),
           error = 'Its worker ended before it did. The event was fetched again'
     WHERE state = 'running' AND shard LIKE 'webhook:%%' AND started_at < %(before)s
       AND NOT EXISTS (SELECT FROM lease WHERE holder = run_id AND expires_at > clock_timestamp())
    RETURNING run_id),
gone AS (DELETE FROM sync_range USING ended WHERE sync_range.run_id = ended.run_id)
SELECT count(*) FROM ended
"""

_DELETE_PAGE_INDEX = b"DELETE FROM sync_range WHERE run_id = ANY(%(run_ids)s)"

#: The ledger keeps the newest run of each lease, from which the next run continues; a run that moved a watermark to its
#: value; the runs of open quarantine items and deferred records; and runs with pages. Runs are checked in the order of
#: their ends, each once per round: all at once, half a million of them with as many items take two seconds. The two
#: subqueries on the quarantine are not EXISTS: as a join, the planner reads every item for a thousand runs.
_DELETE_RUNS = f"""
WITH seen AS MATERIALIZED (
    SELECT run_id, integration, dataset, shard, started_at, finished_at FROM sync_run
     WHERE {_ENDED} AND (finished_at, run_id) > (%(seen_at)s, %(seen_id)s)
     ORDER BY finished_at, run_id LIMIT %(limit)s),
gone AS (
    DELETE FROM sync_run WHERE state <> 'running' AND run_id IN (
        SELECT run_id FROM seen old
         WHERE EXISTS (SELECT FROM sync_run newer
                        WHERE newer.integration = old.integration AND newer.dataset = old.dataset
                          AND newer.shard = old.shard AND newer.started_at > old.started_at)
           AND NOT EXISTS (SELECT FROM sync_range part WHERE part.run_id = old.run_id)
           AND NOT EXISTS (SELECT FROM watermark WHERE moved_by = old.run_id)
           AND (SELECT true FROM quarantine_item WHERE state = 'open' AND first_run_id = old.run_id LIMIT 1) IS NULL
           AND (SELECT true FROM quarantine_item WHERE state = 'open' AND last_run_id = old.run_id LIMIT 1) IS NULL
           AND NOT EXISTS (SELECT FROM deferred_record WHERE old.run_id IN (first_run_id, last_run_id)))
    RETURNING run_id)
SELECT finished_at, run_id, (SELECT count(*) FROM gone) FROM seen ORDER BY finished_at DESC, run_id DESC LIMIT 1
""".encode()

_DELETE_IDENTITIES = b"""
DELETE FROM event_identity WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM event_identity WHERE stored_at < %(before)s LIMIT %(limit)s))
"""

_DELETE_ATTEMPTS = b"""
DELETE FROM attempt WHERE attempt_id = ANY(ARRAY(
    SELECT attempt_id FROM attempt WHERE known_at < %(before)s ORDER BY known_at LIMIT %(limit)s))
"""

_DELETE_LAST_KNOWN_READS = b"""
DELETE FROM last_known_read WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM last_known_read WHERE read_at < %(before)s LIMIT %(limit)s))
"""

#: The row stays: while it is there, the mail is not sent again. Whom it went to is of no use once it is final, and what nobody
#: has sent in all that time is final, too. A mail whose attempt is unresolved still waits for a person, who may send it then.
#: One whose attempt was resolved as done was sent, though nobody went on with it. The key is that of `effect_key`.
_FORGET_MAILS = b"""
WITH expired AS (
    SELECT mail_id, attempt.outcome FROM mail
      LEFT JOIN attempt ON attempt.integration = mail.mailer
       AND attempt.key = encode(sha256(convert_to(concat_ws(E'\\n', 'mail', kind, business_key), 'UTF8')), 'hex')
     WHERE changed_at < %(before)s AND recipient IS NOT NULL
       AND (state IN ('sent', 'refused') OR attempt.outcome IS NULL OR attempt.outcome NOT IN ('open', 'unknown'))
     LIMIT %(limit)s)
UPDATE mail
   SET recipient = NULL, message = NULL,
       state = CASE WHEN state = 'sent' OR state <> 'refused' AND outcome = 'done' THEN 'sent' ELSE 'refused' END,
       reason = CASE WHEN state IN ('sent', 'refused') OR outcome = 'done' THEN NULL
                     ELSE 'No mailer accepted it, and its text is no longer kept' END
  FROM expired WHERE mail.mail_id = expired.mail_id AND changed_at < %(before)s
"""

#: The token of a payment method and who the customer is are of use while a gateway may be asked to authorise it.
_FORGET_TOKENS = b"""
UPDATE payment SET payment_methods = '{}', customer_reference = NULL, return_url = NULL WHERE payment_id = ANY(ARRAY(
    SELECT payment_id FROM payment
     WHERE changed_at < %(before)s AND NOT is_unresolved AND payment_methods <> '{}' LIMIT %(limit)s))
"""

#: With all that was asked and said of them. What nobody knows, and a dispute that can be answered, is kept however old.
_DELETE_PAYMENTS = b"""
WITH gone AS (
    SELECT payment_id FROM payment
     WHERE changed_at < %(before)s AND NOT is_unresolved AND coalesce(dispute_until < clock_timestamp(), true)
     ORDER BY changed_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
facts AS (DELETE FROM payment_fact USING gone WHERE payment_fact.payment_id = gone.payment_id),
legs AS (DELETE FROM payment_leg USING gone WHERE payment_leg.payment_id = gone.payment_id)
DELETE FROM payment USING gone WHERE payment.payment_id = gone.payment_id
"""

#: Who ordered, and with what token, is of use while an order can go on.
_FORGET_CUSTOMERS = b"""
UPDATE placed_order
   SET email = NULL, customer_name = NULL, customer_reference = NULL, payment_methods = '{}', return_url = NULL
 WHERE order_id = ANY(ARRAY(
    SELECT order_id FROM placed_order
     WHERE changed_at < %(before)s AND state IN ('confirmed', 'cancelled') AND email IS NOT NULL LIMIT %(limit)s))
"""

#: With its execution and what was held for it. Stock that was sold stays sold.
_DELETE_ORDERS = b"""
WITH gone AS (
    SELECT order_id FROM placed_order
     WHERE changed_at < %(before)s AND state IN ('confirmed', 'cancelled')
       AND NOT EXISTS (SELECT FROM execution WHERE subject = order_id AND ended_at IS NULL)
     ORDER BY changed_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
executions AS (DELETE FROM execution USING gone WHERE execution.subject = gone.order_id),
holds AS (DELETE FROM stock_hold USING gone WHERE stock_hold.order_id = gone.order_id)
DELETE FROM placed_order USING gone WHERE placed_order.order_id = gone.order_id
"""

#: Of declared workflows, with their steps; an order's goes with its order.
_DELETE_EXECUTIONS = b"""
DELETE FROM execution WHERE execution_id = ANY(ARRAY(
    SELECT execution_id FROM execution WHERE flow LIKE 'workflow.%%' AND ended_at < %(before)s ORDER BY ended_at LIMIT %(limit)s))
"""

_DELETE_DECISIONS = b"""
DELETE FROM decision WHERE decision_id = ANY(ARRAY(
    SELECT decision_id FROM decision WHERE decided_at < %(before)s ORDER BY decided_at LIMIT %(limit)s))
"""

_DELETE_UNMATCHED_FACTS = b"""
DELETE FROM payment_fact WHERE fact_id = ANY(ARRAY(
    SELECT fact_id FROM payment_fact WHERE payment_id IS NULL AND received_at < %(before)s LIMIT %(limit)s))
"""

#: A row that recovered is history only. The others say which data a subscriber had instead of the event's, or that it
#: never had the event: a rebuilt read model needs them as long as the store has the event.
_DELETE_DEAD_LETTERS = b"""
DELETE FROM dead_letter WHERE dead_letter_id = ANY(ARRAY(
    SELECT dead_letter_id FROM dead_letter
     WHERE closed_at < %(before)s AND state IN ('recovered', 'replayed', 'discarded', 'superseded')
       AND (state = 'recovered' AND edited_data IS NULL
            OR NOT EXISTS (SELECT FROM event WHERE (event.epoch, event.xid, event.position)
                                                 = (dead_letter.epoch, dead_letter.xid, dead_letter.position)))
     ORDER BY closed_at LIMIT %(limit)s))
"""

_DELETE_REPLAYS = b"""
DELETE FROM event_replay WHERE replay_id = ANY(ARRAY(
    SELECT replay_id FROM event_replay WHERE state <> 'open' AND ended_at < %(before)s ORDER BY replay_id LIMIT %(limit)s))
"""

_DELETE_REFUSED_WEBHOOKS = b"""
DELETE FROM refused_webhook WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM refused_webhook WHERE hour < %(before)s LIMIT %(limit)s))
"""

_DELETE_ALERTS = b"""
DELETE FROM alert WHERE alert_id = ANY(ARRAY(
    SELECT alert_id FROM alert WHERE closed_at < %(before)s ORDER BY alert_id LIMIT %(limit)s))
"""

#: A message about an open alert stays: without it the alert would be new to its route.
_DELETE_ALERT_MESSAGES = b"""
DELETE FROM alert_message WHERE message_no = ANY(ARRAY(
    SELECT message_no FROM alert_message
     WHERE ended_at < %(before)s
       AND NOT EXISTS (SELECT FROM alert_message_cause JOIN alert USING (alert_id)
                        WHERE alert_message_cause.message_no = alert_message.message_no AND closed_at IS NULL)
     ORDER BY message_no LIMIT %(limit)s))
"""

_DELETE_ALERT_MUTES = b"""
DELETE FROM alert_mute WHERE mute_id = ANY(ARRAY(
    SELECT mute_id FROM alert_mute WHERE until < %(before)s ORDER BY mute_id LIMIT %(limit)s))
"""

#: A live consumer sends several heartbeats in the life of its lease, with or without events.
_REMOVED = b"""
SELECT subscriber FROM event_consumer WHERE subscriber <> ALL(%(known)s)
 GROUP BY subscriber HAVING max(moved_at) < %(before)s AND max(expires_at) < clock_timestamp() ORDER BY subscriber
"""

_DELETE_INBOX = b"""
DELETE FROM event_inbox WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM event_inbox WHERE subscriber = %(subscriber)s LIMIT %(limit)s))
"""

_DELETE_CONSUMER = b"DELETE FROM event_consumer WHERE subscriber = %(subscriber)s AND moved_at < %(before)s"


def clear_landing(
    work: Work, before: datetime, fetched_before: datetime, *, but: Collection[str] = (), limit: int
) -> list[str]:
    """
    Mark runs whose pages have expired as cleared, except the runs in *but*; from the commit on, none of them can continue.

    The same runs are returned until `delete_page_index` is called for them.
    """
    values = {"before": before, "fetched_before": fetched_before, "but": list(but), "limit": limit}
    return [run_id for (run_id,) in work.execute(_CLEAR_LANDING, values)]


def delete_page_index(work: Work, run_ids: Collection[str]) -> None:
    """Delete the index of the pages of these runs, whose files are deleted."""
    work.execute(_DELETE_PAGE_INDEX, {"run_ids": list(run_ids)})


def end_abandoned_fetches(work: Work, before: datetime) -> int:
    """End the fetches that began before that and whose worker has no lease any more; return how many."""
    row = work.execute(_END_ABANDONED, {"before": before}).fetchone()
    return int(row[0]) if row else 0


#: Before all runs.
FIRST_RUN = (datetime(1, 1, 1, tzinfo=UTC), "")


def delete_runs(
    work: Work, before: datetime, fetched_before: datetime, seen: tuple[datetime, str], *, limit: int
) -> tuple[int, tuple[datetime, str] | None]:
    """
    Delete what has expired of the next *limit* runs that ended after *seen*.

    Return how many were deleted, and the last run that was checked; None after the last one.
    """
    values = {"before": before, "fetched_before": fetched_before, "limit": limit}
    row = work.execute(_DELETE_RUNS, {**values, "seen_at": seen[0], "seen_id": seen[1]}).fetchone()
    return (int(row[2]), (row[0], row[1])) if row else (0, None)


def delete_identities(work: Work, before: datetime, *, limit: int) -> int:
    """Delete ids of received events: from then on, a repetition of such an event counts as new."""
    return work.execute(_DELETE_IDENTITIES, {"before": before, "limit": limit}).rowcount


def delete_attempts(work: Work, before: datetime, *, limit: int) -> int:
    """Delete attempts whose outcome is known; the others wait until somebody resolves them, however long."""
    return work.execute(_DELETE_ATTEMPTS, {"before": before, "limit": limit}).rowcount


def delete_last_known_reads(work: Work, before: datetime, *, limit: int) -> int:
    """Delete what reads gave so long ago that none falls back to it."""
    return work.execute(_DELETE_LAST_KNOWN_READS, {"before": before, "limit": limit}).rowcount


def forget_mails(work: Work, before: datetime, *, limit: int) -> int:
    """Delete the recipients and texts of mails that were sent or refused; the rows stay, so that none is sent again."""
    return work.execute(_FORGET_MAILS, {"before": before, "limit": limit}).rowcount


def forget_tokens(work: Work, before: datetime, *, limit: int) -> int:
    """Delete the tokens and customers of payments; the rows stay, so that none is placed again."""
    return work.execute(_FORGET_TOKENS, {"before": before, "limit": limit}).rowcount


def delete_payments(work: Work, before: datetime, *, limit: int) -> int:
    """Delete payments with their calls and facts; those that wait for a person stay, however old."""
    return work.execute(_DELETE_PAYMENTS, {"before": before, "limit": limit}).rowcount


def forget_customers(work: Work, before: datetime, *, limit: int) -> int:
    """Delete who ordered, and with what token, of orders that have ended."""
    return work.execute(_FORGET_CUSTOMERS, {"before": before, "limit": limit}).rowcount


def delete_orders(work: Work, before: datetime, *, limit: int) -> int:
    """Delete orders that have ended, with their executions; those that wait for a person stay, however old."""
    return work.execute(_DELETE_ORDERS, {"before": before, "limit": limit}).rowcount


def delete_executions(work: Work, before: datetime, *, limit: int) -> int:
    """Delete at most *limit* executions of workflows that ended before that time, with what was put into them and what came out."""
    return work.execute(_DELETE_EXECUTIONS, {"before": before, "limit": limit}).rowcount


def delete_decisions(work: Work, before: datetime, *, limit: int) -> int:
    """Delete what was decided; what is open waits for a person, however long."""
    return work.execute(_DELETE_DECISIONS, {"before": before, "limit": limit}).rowcount


def delete_unmatched_facts(work: Work, before: datetime, *, limit: int) -> int:
    """Delete facts of payments that the hub does not know."""
    return work.execute(_DELETE_UNMATCHED_FACTS, {"before": before, "limit": limit}).rowcount


def delete_dead_letters(work: Work, before: datetime, *, limit: int) -> int:
    """Delete closed dead letters; open ones wait for a person, however long."""
    return work.execute(_DELETE_DEAD_LETTERS, {"before": before, "limit": limit}).rowcount


def delete_replays(work: Work, before: datetime, *, limit: int) -> int:
    """Delete ended replays."""
    return work.execute(_DELETE_REPLAYS, {"before": before, "limit": limit}).rowcount


def delete_refused_webhooks(work: Work, before: datetime, *, limit: int) -> int:
    """Delete the counts of refused webhooks."""
    return work.execute(_DELETE_REFUSED_WEBHOOKS, {"before": before, "limit": limit}).rowcount


def delete_alerts(work: Work, before: datetime, *, limit: int) -> int:
    """Delete closed alerts."""
    return work.execute(_DELETE_ALERTS, {"before": before, "limit": limit}).rowcount


def delete_alert_messages(work: Work, before: datetime, *, limit: int) -> int:
    """Delete messages of alerts that were sent or refused."""
    return work.execute(_DELETE_ALERT_MESSAGES, {"before": before, "limit": limit}).rowcount


def delete_alert_mutes(work: Work, before: datetime, *, limit: int) -> int:
    """Delete mutes that have ended."""
    return work.execute(_DELETE_ALERT_MUTES, {"before": before, "limit": limit}).rowcount


def removed_subscribers(work: Work, known: Collection[str], before: datetime) -> list[str]:
    """Find subscribers that are not *known* and have had no consumer since *before*."""
    values = {"known": list(known), "before": before}
    return [subscriber for (subscriber,) in work.execute(_REMOVED, values)]


def delete_inbox(work: Work, subscriber: str, *, limit: int) -> int:
    """Delete inbox rows of a removed subscriber."""
    return work.execute(_DELETE_INBOX, {"subscriber": subscriber, "limit": limit}).rowcount


def delete_consumer(work: Work, subscriber: str, before: datetime) -> None:
    """
    Delete the cursors of a removed subscriber, which keep every partition that it has not read.

    Added to the code again, it begins at the first event.
    """
    work.execute(_DELETE_CONSUMER, {"subscriber": subscriber, "before": before})
