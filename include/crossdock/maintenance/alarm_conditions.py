"""SQL of the alarms: find what is wrong now. Each query only reads, and may run at any time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from crossdock.db.database import Work
from crossdock.http import shared_breaker
from crossdock.http.breaker import Outage
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind

#: Where more events wait, their exact number does not matter.
MOST_COUNTED = 10_000


class Counted(msgspec.Struct, frozen=True):
    """What waits for a person, of one subject."""

    #: Cause → how many, the largest number first.
    causes: dict[str, int]
    #: Some of them, by their IDs.
    examples: tuple[str, ...]

    @property
    def number(self) -> int:
        return sum(self.causes.values())


class UnreadPartition(msgspec.Struct, frozen=True):
    """A key partition without a live consumer, in which events wait."""

    subscriber: str
    partition: int
    since_s: float


class RefusedWebhooks(msgspec.Struct, frozen=True):
    """Webhooks of one integration that failed the signature check."""

    integration: str
    times: int
    #: The most frequent reason.
    reason: str


class RefusingSource(msgspec.Struct, frozen=True):
    """A source that refuses the hub for good, while events wait for it."""

    source: str
    reason: str
    #: How many wait; no more than `MOST_COUNTED` are counted.
    events: int


class UnresolvedAttempts(msgspec.Struct, frozen=True):
    """Calls that write to one integration, whose outcome nobody knows."""

    integration: str
    attempts: int
    #: Since the oldest was sent.
    since_s: float
    #: The IDs of the oldest.
    examples: list[str]


class UnknownPayments(msgspec.Struct, frozen=True):
    """Payments with a call of one gateway whose outcome nobody knows."""

    gateway: str
    payments: int
    #: Since the oldest was called.
    since_s: float
    #: The IDs of some of them.
    examples: list[str]


class WaitingExecutions(msgspec.Struct, frozen=True):
    """Executions of flows whose step a person has to decide about."""

    number: int
    #: Some of them: what each is about, and its step.
    examples: list[str]


class DoubledPayment(msgspec.Struct, frozen=True):
    """A payment for which several authorisations hold money or have taken it."""

    payment_id: str
    reference: str
    authorisations: int


class TakenBackPayment(msgspec.Struct, frozen=True):
    """A payment whose capture a gateway had accepted, and then did not make."""

    payment_id: str
    reference: str
    minor: int
    currency: str


class DisputedPayment(msgspec.Struct, frozen=True):
    """A payment with a dispute that can still be answered."""

    payment_id: str
    reference: str
    gateways: str
    until: datetime


_WAITING = b"""
SELECT count(*), (array_agg(CASE WHEN flow LIKE 'workflow.%%' THEN execution_id ELSE subject END
                            || ': ' || split_part(waits_for, ':', 1) ORDER BY created_at))[1:%(examples)s]
  FROM execution WHERE waits_for IS NOT NULL
"""

_DEAD = b"""
SELECT subscriber, coalesce(cause, 'unknown'), count(*) FROM dead_letter WHERE state = 'dead'
 GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2
"""

#: In the order of the index: to find the newest would read all.
_DEAD_EXAMPLES = b"""
SELECT epoch || '-' || position || ': ' || coalesce(cause, 'unknown') FROM dead_letter
 WHERE state = 'dead' AND subscriber = %(subscriber)s ORDER BY type, subject LIMIT %(limit)s
"""

_REJECTED = b"""
SELECT integration, dataset, cause, count(*) FROM quarantine_item WHERE state = 'open'
 GROUP BY 1, 2, 3 ORDER BY 1, 2, 4 DESC, 3
"""

#: The record's own ID: its key may be an e-mail address. In the order of the index, as above.
_REJECTED_EXAMPLES = b"""
SELECT record_id || ': ' || cause FROM quarantine_item
 WHERE state = 'open' AND integration = %(integration)s AND dataset = %(dataset)s ORDER BY cause LIMIT %(limit)s
"""

#: A released partition has no end of its lease; its cursor was stored just before.
_UNREAD = b"""
SELECT partition, extract(epoch FROM clock_timestamp() - left_at)::float8 FROM (
    SELECT *, CASE WHEN expires_at > '-infinity' THEN greatest(expires_at, moved_at) ELSE moved_at END AS left_at
      FROM event_consumer WHERE subscriber = %(subscriber)s AND expires_at < clock_timestamp()) AS consumer
 WHERE left_at < clock_timestamp() - %(longer_than)s
   AND EXISTS (SELECT FROM event
                WHERE (event.epoch, event.xid, event.position) > (consumer.epoch, consumer.xid, consumer.position)
                  AND NOT silent AND type = ANY(%(types)s)
                  AND (hashtext(partition_key) & 2147483647) %% consumer.partitions = consumer.partition)
 ORDER BY partition
"""

#: Since it left `closed`: a half-open breaker lets one call through, and the system has not recovered yet.
_BROKEN = b"""
SELECT integration FROM (
    SELECT integration, coalesce((SELECT max(at) FROM breaker_change change
                                   WHERE change.integration = breaker.integration AND from_phase = 'closed'),
                                 changed_at) AS since
      FROM breaker WHERE state->>'phase' <> 'closed') AS broken
 WHERE since < clock_timestamp() - %(longer_than)s ORDER BY integration
"""

#: Counted to a limit: an outage of a weekend has hundreds of thousands.
_REFUSING = b"""
SELECT source, (array_agg(reason ORDER BY since))[1],
       (SELECT count(*) FROM (SELECT FROM dead_letter
                               WHERE dead_letter.source = outage.source AND state IN ('trying', 'retrying', 'waiting')
                               LIMIT %(limit)s) AS counted)
  FROM source_outage outage WHERE cause = ANY(%(causes)s) GROUP BY source ORDER BY source
"""

_REFUSED = b"""
SELECT integration, sum(times)::bigint, (array_agg(reason ORDER BY times DESC))[1] FROM refused_webhook
 WHERE hour >= date_trunc('hour', clock_timestamp(), 'UTC') - interval '1 hour'
   AND last_at > clock_timestamp() - interval '1 hour'
 GROUP BY integration HAVING sum(times) >= %(at_least)s ORDER BY integration
"""

#: As the attempt log reads them: an open attempt is unknown from the moment at which its call would have ended.
_UNRESOLVED = b"""
SELECT integration, count(*), extract(epoch FROM clock_timestamp() - min(sent_at))::float8,
       (array_agg(attempt_id::text ORDER BY sent_at))[1:%(examples)s]
  FROM attempt
 WHERE outcome IN ('open', 'unknown') AND (outcome = 'unknown' OR open_until < clock_timestamp())
 GROUP BY integration HAVING min(sent_at) < clock_timestamp() - %(longer_than)s ORDER BY integration
"""

#: From the first call without an answer: to ask again finds out, or changes nothing. Also what a gateway has done, but
#: nobody knows of what: in another currency, or without a fact.
_UNKNOWN_PAYMENTS = b"""
SELECT gateway, count(DISTINCT payment_id), extract(epoch FROM clock_timestamp() - min(since))::float8,
       (array_agg(DISTINCT payment_id))[1:%(examples)s]
  FROM (SELECT gateway, payment_id,
               CASE outcome WHEN 'open' THEN called_at ELSE coalesce(first_failed_at, began_at) END AS since
          FROM payment_leg WHERE outcome IN ('open', 'unknown')
        UNION ALL
        SELECT gateway, payment_id, coalesce(first_failed_at, answered_at, began_at)
          FROM payment_leg JOIN payment USING (payment_id)
         WHERE is_unresolved AND state = 'unknown' AND operation = 'authorise' AND outcome = 'done') AS leg
 WHERE since < clock_timestamp() - %(longer_than)s
 GROUP BY gateway ORDER BY gateway
"""

_DOUBLED = b"""
SELECT payment_id, reference, live_authorisations FROM payment WHERE live_authorisations > 1 ORDER BY payment_id
"""

#: Of an order that is cancelled, nothing is owed any more.
_TAKEN_BACK = b"""
SELECT payment_id, reference, taken_back_minor, currency FROM payment
 WHERE taken_back_minor > 0
   AND NOT EXISTS (SELECT FROM placed_order WHERE order_id = payment.reference AND state IN ('cancelling', 'cancelled'))
 ORDER BY payment_id
"""

_DISPUTED = b"""
SELECT payment_id, reference, (SELECT string_agg(DISTINCT gateway, ', ') FROM payment_fact
                                WHERE payment_fact.payment_id = payment.payment_id AND kind IN ('dispute_opened', 'charged_back')),
       dispute_until
  FROM payment WHERE dispute_until > clock_timestamp() ORDER BY payment_id
"""

#: A DAG run that never reached the ledger, because it failed before, is given up after a day.
_STILL_LATE = b"""
SELECT subject FROM alert
 WHERE kind = 'run_late' AND closed_at IS NULL
   AND (EXISTS (SELECT FROM sync_run WHERE state = 'running' AND dag_id || '/' || dag_run_id = subject)
        OR at > clock_timestamp() - interval '1 day'
           AND NOT EXISTS (SELECT FROM sync_run WHERE dag_id || '/' || dag_run_id = subject))
"""


def dead_letters(work: Work) -> dict[str, Counted]:
    """Count the dead letters by subscriber and cause."""
    causes: dict[str, dict[str, int]] = {}
    for subscriber, cause, number in work.execute(_DEAD).fetchall():
        causes.setdefault(subscriber, {})[cause] = number
    return {
        subscriber: Counted(of_subscriber, _texts(work, _DEAD_EXAMPLES, {"subscriber": subscriber}))
        for subscriber, of_subscriber in causes.items()
    }


def rejected(work: Work) -> dict[tuple[str, str], Counted]:
    """Count the records in quarantine by stream (integration, dataset) and cause."""
    causes: dict[tuple[str, str], dict[str, int]] = {}
    for integration, dataset, cause, number in work.execute(_REJECTED).fetchall():
        causes.setdefault((integration, dataset), {})[cause] = number
    return {
        key: Counted(of_stream, _texts(work, _REJECTED_EXAMPLES, {"integration": key[0], "dataset": key[1]}))
        for key, of_stream in causes.items()
    }


def _texts(work: Work, statement: bytes, values: dict[str, str]) -> tuple[str, ...]:
    return tuple(text for (text,) in work.execute(statement, {**values, "limit": alerts.EXAMPLES}))


def unread(work: Work, subscriber: str, types: Sequence[str], longer_than: timedelta) -> list[UnreadPartition]:
    """Find partitions of *subscriber* without a live consumer for *longer_than*, in which an event waits."""
    values = {"subscriber": subscriber, "types": list(types), "longer_than": longer_than}
    return [UnreadPartition(subscriber, partition, since_s) for partition, since_s in work.execute(_UNREAD, values)]


def broken(work: Work, longer_than: timedelta) -> dict[str, Outage | None]:
    """Find circuit breakers that have not been closed for *longer_than*; return integration → why, if it is known."""
    names = {name for (name,) in work.execute(_BROKEN, {"longer_than": longer_than})}
    return {name: outage for name, outage in shared_breaker.outages(work).items() if name in names}


def refusing_sources(work: Work, causes: Sequence[str]) -> list[RefusingSource]:
    """Find the sources whose events wait because of one of *causes*."""
    values = {"causes": list(causes), "limit": MOST_COUNTED}
    return [RefusingSource(*row) for row in work.execute(_REFUSING, values)]


def refused_webhooks(work: Work, at_least: int) -> list[RefusedWebhooks]:
    """Find integrations with at least *at_least* refused webhooks within the last hour."""
    return [RefusedWebhooks(*row) for row in work.execute(_REFUSED, {"at_least": at_least})]


def unresolved_attempts(work: Work, longer_than: timedelta) -> list[UnresolvedAttempts]:
    """Find integrations with a call whose outcome nobody has known for *longer_than*."""
    values = {"longer_than": longer_than, "examples": alerts.EXAMPLES}
    return [UnresolvedAttempts(*row) for row in work.execute(_UNRESOLVED, values)]


def unknown_payments(work: Work, longer_than: timedelta) -> list[UnknownPayments]:
    """Find gateways with payments of which nobody has known for *longer_than* what became of a call."""
    values = {"longer_than": longer_than, "examples": alerts.EXAMPLES}
    return [UnknownPayments(*row) for row in work.execute(_UNKNOWN_PAYMENTS, values)]


def waiting_executions(work: Work) -> WaitingExecutions:
    """Count the executions that wait for a person, the longest first among the examples."""
    row = work.execute(_WAITING, {"examples": alerts.EXAMPLES}).fetchone()
    return WaitingExecutions(row[0], row[1] or []) if row else WaitingExecutions(0, [])


def doubled_payments(work: Work) -> list[DoubledPayment]:
    """Find payments that were authorised more than once, and of which none was released since."""
    return [DoubledPayment(*row) for row in work.execute(_DOUBLED)]


def taken_back_payments(work: Work) -> list[TakenBackPayment]:
    """Find payments of which a capture was taken back, and that were neither captured again nor given up."""
    return [TakenBackPayment(*row) for row in work.execute(_TAKEN_BACK)]


def disputed_payments(work: Work) -> list[DisputedPayment]:
    """Find payments with a dispute whose deadline has not passed."""
    return [DisputedPayment(*row) for row in work.execute(_DISPUTED)]


def still_late(work: Work) -> dict[str, Found]:
    """Find the open alerts of late runs that are still true, by subject (`dag/run`)."""
    true = {subject for (subject,) in work.execute(_STILL_LATE)}
    return {subject: found for subject, found in alerts.open_of(work, Kind.RUN_LATE).items() if subject in true}
