"""SQL of payments: their legs and facts, and the last calls of the gateways."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from psycopg.rows import kwargs_row
from psycopg.types.json import Jsonb

from crossdock.commerce.payments.amounts import PaymentState
from crossdock.commerce.payments.books import Account, Balances, Posting
from crossdock.commerce.payments.events import PaymentFact
from crossdock.commerce.payments.health import WINDOW, GatewayHealth
from crossdock.commerce.payments.kinds import Topic
from crossdock.commerce.payments.model import FactOrigin, Leg, LegEnd, Operation, Payment, PaymentRequest, key_of
from crossdock.core.decoding import prepare
from crossdock.core.errors import NotFound
from crossdock.db.database import Work

# The API server's threads read payments.
prepare(Payment, Leg, PaymentFact, Posting, list[Leg], list[PaymentFact])

_PAYMENT = b"""payment_id, reference, amount_minor, currency, payment_methods, customer_reference, return_url, state,
       is_unresolved, live_authorisations, dispute_until, created_at, created_by, changed_at"""

_LEG = b"""leg_id, payment_id, operation, request_key, gateway, account, key, reference, amount_minor, outcome, refused_by, code, message, try_other,
       payment_ref, operation_ref, next_action_url, calls, began_at, called_at, first_failed_at, answered_at, asks_person"""

_FACT = b"gateway, payment_ref, operation_ref, kind, occurred_at, amount_minor, currency, reference, code, due_at"

#: Of two callers with one reference, the second finds the payment of the first.
#: The keys at gateways are made from the ID, and the ID from the reference: a hub that was restored from a backup, and knows
#: nothing of a payment that was made since, makes the same key again, and the gateway answers as it did. Another hub at the
#: same account, with references of its own, makes others.
_ADD = (
    b"""
INSERT INTO payment (payment_id, reference, amount_minor, currency, payment_methods, customer_reference, return_url,
                     state, created_by)
SELECT 'pay_' || left(encode(sha256(convert_to(installation_id || E'\\n' || %(reference)s::text, 'UTF8')), 'hex'), 32),
       %(reference)s, %(amount_minor)s, %(currency)s, %(payment_methods)s, %(customer_reference)s, %(return_url)s, 'open', %(actor)s
  FROM installation
ON CONFLICT (reference) DO NOTHING
RETURNING """
    + _PAYMENT
)

_GET = b"SELECT " + _PAYMENT + b" FROM payment WHERE payment_id = %(payment_id)s"
_LOCK = _GET + b" FOR UPDATE"
_BY_REFERENCE = b"SELECT " + _PAYMENT + b" FROM payment WHERE reference = %(reference)s"

_PAGE = (
    b"SELECT "
    + _PAYMENT
    + b""" FROM payment
 WHERE (%(state)s::text IS NULL OR state = %(state)s) AND (NOT %(unresolved)s OR is_unresolved)
   AND (%(reference)s::text IS NULL OR reference = %(reference)s)
   AND (%(before_at)s::timestamptz IS NULL OR (created_at, payment_id) < (%(before_at)s, %(before_id)s))
 ORDER BY created_at DESC, payment_id DESC LIMIT %(limit)s"""
)

_SET_STATE = (
    b"""
UPDATE payment
   SET state = %(state)s, is_unresolved = %(is_unresolved)s, live_authorisations = %(live_authorisations)s,
       dispute_until = %(dispute_until)s, taken_back_minor = %(taken_back_minor)s, changed_at = clock_timestamp()
 WHERE payment_id = %(payment_id)s
   AND (state, is_unresolved, live_authorisations, dispute_until, taken_back_minor)
       IS DISTINCT FROM (%(state)s, %(is_unresolved)s, %(live_authorisations)s, %(dispute_until)s::timestamptz,
                         %(taken_back_minor)s::bigint)
RETURNING """
    + _PAYMENT
)

#: Authorisations with the reference and the amount of a payment at a gateway that was asked for it, which are not its own:
#: the gateway did twice what it was asked for. What somebody has captured or voided there is another shop's, or over.
_TWINS = b"""
SELECT count(DISTINCT said.payment_ref) FROM payment_leg leg
  JOIN payment_fact said ON (said.gateway, said.reference, said.currency, said.amount_minor)
                          = (leg.gateway, leg.reference, payment.currency, payment.amount_minor)
 WHERE leg.payment_id = payment.payment_id AND leg.operation = 'authorise' AND said.payment_id IS NULL
   AND said.kind = 'authorised'
   AND NOT EXISTS (SELECT FROM payment_fact later
                    WHERE (later.gateway, later.payment_ref) = (said.gateway, said.payment_ref)
                      AND later.payment_id IS NULL AND later.kind IN ('captured', 'voided', 'reversed'))
"""
#: All that is known of a payment, in one statement. It follows `_LOCK`: with FOR UPDATE, it would not see what was committed
#: while it waited.
_KNOWN = (
    b"SELECT "
    + _PAYMENT
    + b""", taken_back_minor,
       (SELECT coalesce(json_agg(one ORDER BY leg_id), '[]')
          FROM (SELECT """
    + _LEG
    + b""" FROM payment_leg WHERE payment_leg.payment_id = payment.payment_id) AS one) AS legs,
       (SELECT coalesce(json_agg(one ORDER BY fact_id), '[]')
          FROM (SELECT fact_id, """
    + _FACT
    + b""" FROM payment_fact WHERE payment_fact.payment_id = payment.payment_id) AS one) AS facts,
       (SELECT coalesce(json_agg(json_build_array(account, gateway, amount_minor)), '[]')
          FROM (SELECT account, gateway, sum(amount_minor)::bigint AS amount_minor FROM posting
                 WHERE posting.payment_id = payment.payment_id GROUP BY account, gateway) AS one) AS balances,
       ("""
    + _TWINS
    + b""") AS twins
  FROM payment WHERE payment_id = %(payment_id)s"""
)

#: All lines of one entry at once: that they add up to zero is checked when the transaction ends.
_POST = b"""
INSERT INTO posting (entry_id, payment_id, account, gateway, amount_minor)
SELECT entry.entry_id, %(payment_id)s, account, gateway, amount_minor
  FROM (SELECT nextval('posting_entry') AS entry_id) AS entry,
       unnest(%(accounts)s::text[], %(gateways)s::text[], %(amounts)s::bigint[]) AS line (account, gateway, amount_minor)
"""
_POSTINGS = b"""
SELECT entry_id, account, gateway, amount_minor, posted_at FROM posting WHERE payment_id = %(payment_id)s
 ORDER BY entry_id, account, gateway
"""

_LEGS = b"SELECT " + _LEG + b" FROM payment_leg WHERE payment_id = %(payment_id)s ORDER BY leg_id"

#: A leg whose outcome is unknown stays so while it is repeated: only the repetition's end may change that.
_BEGIN = (
    b"""
INSERT INTO payment_leg AS known (payment_id, operation, request_key, gateway, account, key, reference, amount_minor,
                                  payment_ref, asks_person)
VALUES (%(payment_id)s, %(operation)s, %(request_key)s, %(gateway)s, %(account)s, %(key)s, %(reference)s,
        %(amount_minor)s, %(payment_ref)s, %(asks_person)s)
ON CONFLICT (payment_id, operation, request_key, gateway) DO UPDATE
   SET account = excluded.account, calls = known.calls + 1, called_at = clock_timestamp(), refused_by = NULL, code = NULL, try_other = false,
       outcome = CASE WHEN known.outcome = 'unknown' THEN 'unknown' ELSE 'open' END
RETURNING """
    + _LEG
)

_CALL_AGAIN = (
    b"UPDATE payment_leg SET calls = calls + 1, called_at = clock_timestamp() WHERE leg_id = %(leg_id)s RETURNING "
    + _LEG
)

_FIND_LEG = (
    b"SELECT "
    + _LEG
    + b""" FROM payment_leg
 WHERE payment_id = %(payment_id)s AND operation = %(operation)s AND request_key = %(request_key)s"""
)

#: An event may have said in the meantime what became of it: that stays. So does a reference that is known.
_END = b"""
UPDATE payment_leg
   SET outcome = %(outcome)s, refused_by = %(refused_by)s, code = %(code)s, message = %(message)s,
       try_other = %(try_other)s, payment_ref = coalesce(%(payment_ref)s, payment_ref),
       operation_ref = coalesce(%(operation_ref)s, operation_ref),
       next_action_url = coalesce(%(next_action_url)s, next_action_url),
       first_failed_at = CASE WHEN %(outcome)s IN ('failed', 'unknown') THEN coalesce(first_failed_at, clock_timestamp())
                              ELSE first_failed_at END,
       answered_at = CASE WHEN %(outcome)s IN ('done', 'refused') THEN coalesce(answered_at, clock_timestamp())
                          ELSE answered_at END
 WHERE leg_id = %(leg_id)s AND calls = %(calls)s AND outcome IN ('open', 'unknown')
"""

#: Until the transaction ends that opens the attempt: whoever takes the leg over later finds the attempt.
_HOLD = b"""
SELECT 1 FROM payment_leg WHERE leg_id = %(leg_id)s AND calls = %(calls)s AND outcome IN ('open', 'unknown') FOR SHARE
"""

#: A person or an answer said that there was no effect, and the gateway says that there is one.
_CORRECT = b"""
UPDATE payment_leg
   SET outcome = 'done', refused_by = NULL, code = NULL, message = NULL, try_other = false,
       payment_ref = coalesce(%(payment_ref)s, payment_ref), operation_ref = coalesce(%(operation_ref)s, operation_ref),
       answered_at = coalesce(answered_at, clock_timestamp())
 WHERE leg_id = %(leg_id)s AND outcome IN ('failed', 'refused')
"""

#: Facts and legs of one payment of a gateway: so that of an event and an answer at once, the second sees the first.
_LOCK_REF = b"SELECT pg_advisory_xact_lock(hashtextextended('payment_ref:' || %(name)s, 0))"

#: By our reference, which is committed before the call; or by the gateway's, which an answer brought. Another shop's
#: payment at the same gateway may have the same reference of its own: what is in another currency, or of more than was
#: asked, is not ours, nor is what another account says.
_MATCH = b"""
SELECT payment_id FROM payment_leg JOIN payment USING (payment_id)
 WHERE gateway = %(gateway)s
   AND (payment_ref = %(payment_ref)s
        OR payment_leg.reference = %(reference)s AND payment_ref IS NULL
           AND coalesce(account = %(account)s, true)
           AND (%(currency)s::text IS NULL OR currency = %(currency)s)
           AND (%(amount_minor)s::bigint IS NULL OR %(amount_minor)s <= payment.amount_minor))
 ORDER BY payment_ref = %(payment_ref)s DESC NULLS LAST, leg_id LIMIT 1
"""

#: The same fact may come from an answer and an event, and each may know what the other does not. That of another payment
#: stays as it is.
_ADD_FACT = b"""
INSERT INTO payment_fact AS known (payment_id, gateway, payment_ref, operation_ref, kind, occurred_at, amount_minor,
                                   currency, reference, code, due_at, origin)
VALUES (%(payment_id)s, %(gateway)s, %(payment_ref)s, %(operation_ref)s, %(kind)s, %(occurred_at)s, %(amount_minor)s,
        %(currency)s, %(reference)s, %(code)s, %(due_at)s, %(origin)s)
ON CONFLICT (gateway, operation_ref, kind) DO UPDATE
   SET payment_id = coalesce(known.payment_id, excluded.payment_id),
       amount_minor = greatest(known.amount_minor, excluded.amount_minor),
       occurred_at = least(known.occurred_at, excluded.occurred_at),
       currency = coalesce(known.currency, excluded.currency),
       reference = coalesce(known.reference, excluded.reference),
       code = coalesce(known.code, excluded.code),
       due_at = greatest(known.due_at, excluded.due_at)
 WHERE known.payment_id IS NULL OR known.payment_id = excluded.payment_id
"""

#: What a person names must be of this call: neither another payment's, nor of another call of its kind.
_TAKEN_REF = b"""
SELECT payment_id FROM payment_leg
 WHERE gateway = %(gateway)s AND leg_id <> %(leg_id)s
   AND (payment_id <> %(payment_id)s AND %(ref)s IN (payment_ref, operation_ref)
        OR operation = %(operation)s AND operation_ref = %(ref)s)
UNION ALL
SELECT payment_id FROM payment_fact
 WHERE gateway = %(gateway)s AND payment_id <> %(payment_id)s AND %(ref)s IN (payment_ref, operation_ref)
 LIMIT 1
"""

#: A gateway that names a payment only once the customer has acted: until then, its facts have our reference for its.
_NAME_LEG = b"""
UPDATE payment_leg SET payment_ref = %(payment_ref)s, operation_ref = %(operation_ref)s
 WHERE payment_id = %(payment_id)s AND gateway = %(gateway)s AND operation IN ('authorise', 'finish')
   AND payment_ref IS NULL AND outcome IN ('open', 'done', 'unknown')
"""
_NAME_FACTS = b"""
UPDATE payment_fact SET payment_ref = %(payment_ref)s, operation_ref = %(operation_ref)s
 WHERE payment_id = %(payment_id)s AND gateway = %(gateway)s AND payment_ref = %(unnamed)s
"""

_ADOPT = b"""
UPDATE payment_fact SET payment_id = %(payment_id)s
 WHERE payment_id IS NULL AND gateway = %(gateway)s AND payment_ref = %(payment_ref)s
"""

_WITH_TWIN = b"""
SELECT DISTINCT leg.payment_id FROM payment_fact said
  JOIN payment_leg leg ON (leg.gateway, leg.reference) = (said.gateway, said.reference)
 WHERE (said.gateway, said.payment_ref) = (%(gateway)s, %(payment_ref)s) AND said.payment_id IS NULL
   AND said.kind = 'authorised' AND leg.operation = 'authorise'
 ORDER BY leg.payment_id
"""

_FACTS = b"SELECT " + _FACT + b" FROM payment_fact WHERE payment_id = %(payment_id)s ORDER BY fact_id"

_REFERENCES = b"""
SELECT DISTINCT payment.reference
  FROM unnest(%(gateways)s::text[], %(payment_refs)s::text[]) AS said (gateway, payment_ref)
  JOIN payment_fact fact ON (fact.gateway, fact.payment_ref) = (said.gateway, said.payment_ref)
  JOIN payment ON payment.payment_id = fact.payment_id
 ORDER BY payment.reference
"""

_UNMATCHED = (
    b"SELECT fact_id, "
    + _FACT
    + b" FROM payment_fact WHERE payment_id IS NULL AND fact_id > %(after)s ORDER BY fact_id LIMIT %(limit)s"
)

#: While this session is connected, and for no longer than it: a process that dies lets others go on.
_TRY_LOCK = b"SELECT pg_try_advisory_lock(hashtextextended('payment:' || %(name)s, 0))"
_UNLOCK = b"SELECT pg_advisory_unlock(hashtextextended('payment:' || %(name)s, 0))"

_BEGIN_CALL = b"INSERT INTO gateway_call (gateway) VALUES (%(gateway)s) RETURNING call_id"

_END_CALL = b"""
UPDATE gateway_call
   SET answered = %(answered)s, took_ms = round(extract(epoch FROM clock_timestamp() - began_at) * 1000)::int
 WHERE call_id = %(call_id)s
"""

_FORGET_CALL = b"DELETE FROM gateway_call WHERE call_id = %(call_id)s"

_FORGET_CALLS = b"""
DELETE FROM gateway_call
 WHERE gateway = %(gateway)s
   AND call_id <= (SELECT call_id FROM gateway_call WHERE gateway = %(gateway)s
                    ORDER BY call_id DESC OFFSET %(kept)s LIMIT 1)
"""

#: A call whose process died never ends: it counts for nothing, except that it was made.
_HEALTH = b"""
SELECT gateway, coalesce(calls, 0) AS calls, coalesce(answered, 0) AS answered, latency_ms, last_answered,
       (SELECT extract(epoch FROM clock_timestamp() - max(began_at))::float8 FROM gateway_call
         WHERE gateway_call.gateway = asked.gateway) AS idle_s
  FROM unnest(%(gateways)s::text[]) AS asked(gateway)
  LEFT JOIN LATERAL (
    SELECT count(*) AS calls, count(*) FILTER (WHERE answered) AS answered,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY took_ms) FILTER (WHERE answered) AS latency_ms,
           (array_agg(answered ORDER BY call_id DESC))[1] AS last_answered
      FROM (SELECT call_id, answered, took_ms FROM gateway_call
             WHERE gateway_call.gateway = asked.gateway AND answered IS NOT NULL
             ORDER BY call_id DESC LIMIT %(window)s) AS last) AS counted ON true
 ORDER BY gateway
"""

#: Calls of a gateway that are kept: some times the window, since those that run do not count.
_KEPT_CALLS = 4 * WINDOW
#: To forget costs a look at all calls that are kept: one call in so many does it, at random, since their numbers are those of all gateways.
_FORGET_EVERY = WINDOW


class UnmatchedFact(msgspec.Struct, frozen=True):
    """A fact of a payment that the hub does not know."""

    fact_id: int
    fact: PaymentFact


def add(work: Work, request: PaymentRequest, *, actor: str) -> tuple[Payment, bool]:
    """Add a payment; return it, and whether it is new: false if its reference was there before."""
    values = {**msgspec.structs.asdict(request), "payment_methods": Jsonb(request.payment_methods), "actor": actor}
    if added := _payments(work).execute(_ADD, values).fetchone():
        return added, True
    found = _payments(work).execute(_BY_REFERENCE, {"reference": request.reference}).fetchone()
    assert found is not None  # noqa: S101  a conflict found it
    return found, False


def get(work: Work, payment_id: str) -> Payment:
    """
    Read a payment.

    Raises:
        NotFound: there is none with that ID.

    """
    return _found(_payments(work).execute(_GET, {"payment_id": payment_id}).fetchone(), payment_id)


def lock(work: Work, payment_id: str) -> Payment:
    """
    Read a payment, and lock it until the transaction ends.

    Raises:
        NotFound: there is none with that ID.

    """
    return _found(_payments(work).execute(_LOCK, {"payment_id": payment_id}).fetchone(), payment_id)


def page(
    work: Work,
    *,
    state: PaymentState | None = None,
    unresolved: bool = False,
    reference: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 100,
) -> list[Payment]:
    """List payments, newest first: at most *limit* before a time and ID."""
    at, payment_id = before or (None, None)
    values = {
        "state": state,
        "unresolved": unresolved,
        "reference": reference,
        "before_at": at,
        "before_id": payment_id,
        "limit": limit,
    }
    return _payments(work).execute(_PAGE, values).fetchall()


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a payment."""

    payment: Payment
    #: What is stored of that.
    taken_back_minor: int
    legs: list[Leg]
    facts: list[PaymentFact]
    #: Without those that hold nothing.
    balances: Balances
    #: Authorisations that look like its own, and are not.
    twins: int


def known(work: Work, payment_id: str) -> Known:
    """
    Read all that is known of a payment at once.

    Raises:
        NotFound: there is none with that ID.

    """
    found = work.cursor(row_factory=kwargs_row(_known)).execute(_KNOWN, {"payment_id": payment_id}).fetchone()
    if found is None:
        raise NotFound(f"There is no payment {payment_id!r}")
    return found


def set_state(
    work: Work,
    payment_id: str,
    state: PaymentState,
    *,
    is_unresolved: bool,
    live_authorisations: int,
    dispute_until: datetime | None,
    taken_back_minor: int,
) -> Payment | None:
    """Store what follows from legs and facts; return the payment, or None if it had all of it already."""
    values = {
        "payment_id": payment_id,
        "state": state,
        "is_unresolved": is_unresolved,
        "live_authorisations": live_authorisations,
        "dispute_until": dispute_until,
        "taken_back_minor": taken_back_minor,
    }
    return _payments(work).execute(_SET_STATE, values).fetchone()


def post(work: Work, payment_id: str, lines: Balances) -> None:
    """Post one entry of *lines*, which add up to zero; the caller has locked the payment."""
    values = {
        "payment_id": payment_id,
        "accounts": [account for account, _ in lines],
        "gateways": [gateway for _, gateway in lines],
        "amounts": list(lines.values()),
    }
    work.execute(_POST, values)


def postings_of(work: Work, payment_id: str) -> list[Posting]:
    """Read the postings of a payment, in the order in which they were made."""
    rows = work.cursor(row_factory=kwargs_row(_posting)).execute(_POSTINGS, {"payment_id": payment_id})
    return rows.fetchall()


def legs_of(work: Work, payment_id: str) -> list[Leg]:
    """Read the legs of a payment, in the order in which they began."""
    return _legs(work).execute(_LEGS, {"payment_id": payment_id}).fetchall()


def leg(work: Work, known: Leg) -> Leg:
    """Read *known* again, as it is now."""
    return next(found for found in legs_of(work, known.payment_id) if found.leg_id == known.leg_id)


def begin_leg(
    work: Work,
    payment: Payment,
    operation: Operation,
    gateway: str,
    *,
    account: str | None,
    request_key: str = "",
    amount_minor: int | None = None,
    payment_ref: str | None = None,
    asks_person: bool = False,
) -> Leg:
    """
    Add a leg, or count another call of one that is there. Commit it before the call.

    Who is asked about it stays as the first caller had it: an order's step asks itself, whoever repeats its call.
    """
    key = key_of(payment.payment_id, operation, request_key, gateway)
    values = {
        "payment_id": payment.payment_id,
        "operation": operation,
        "request_key": request_key,
        "gateway": gateway,
        "account": account,
        "key": key,
        "reference": payment.reference if operation.topic is Topic.AUTHORISATION else f"{operation}-{key[:32]}",
        "amount_minor": amount_minor,
        "payment_ref": payment_ref,
        "asks_person": asks_person,
    }
    found = _legs(work).execute(_BEGIN, values).fetchone()
    assert found is not None  # noqa: S101  it was inserted or updated
    return found


def call_again(work: Work, leg: Leg) -> Leg:
    """Count another call of *leg*, whose outcome stays unknown meanwhile. Commit it before the call."""
    found = _legs(work).execute(_CALL_AGAIN, {"leg_id": leg.leg_id}).fetchone()
    assert found is not None  # noqa: S101  no leg is deleted
    return found


def find_leg(work: Work, payment_id: str, operation: Operation, request_key: str) -> Leg | None:
    """Find the leg of a caller's request; None if that has none yet."""
    values = {"payment_id": payment_id, "operation": operation, "request_key": request_key}
    return _legs(work).execute(_FIND_LEG, values).fetchone()


def end_leg(work: Work, leg: Leg, end: LegEnd) -> bool:
    """Write how the call of *leg* ended; return false if a later call was made, or its outcome became known otherwise."""
    values = {**msgspec.structs.asdict(end), "leg_id": leg.leg_id, "calls": leg.calls}
    return work.execute(_END, values).rowcount > 0


def holds_leg(work: Work, leg: Leg) -> bool:
    """Check whether the call of *leg* is its last one and has no outcome yet; if so, keep it that until the transaction ends."""
    return work.execute(_HOLD, {"leg_id": leg.leg_id, "calls": leg.calls}).fetchone() is not None


def correct_leg(work: Work, leg: Leg, end: LegEnd) -> None:
    """Write that the call of *leg* had its effect after all. One that was done, or is unresolved, stays as it is."""
    work.execute(_CORRECT, {**msgspec.structs.asdict(end), "leg_id": leg.leg_id})


def lock_refs(work: Work, refs: Iterable[tuple[str, str]]) -> None:
    """Lock payments of gateways, as (gateway, payment_ref), until the transaction ends; before any payment is locked."""
    for gateway, payment_ref in sorted(set(refs)):
        work.execute(_LOCK_REF, {"name": f"{gateway}:{payment_ref}"})


def match(work: Work, fact: PaymentFact, account: str | None) -> str | None:
    """Find the ID of the payment that *fact* is about, said by *account* of its gateway; None if the hub knows none."""
    row = work.execute(_MATCH, {**msgspec.structs.asdict(fact), "account": account}).fetchone()
    return str(row[0]) if row else None


def add_fact(work: Work, payment_id: str | None, fact: PaymentFact, origin: FactOrigin) -> bool:
    """
    Keep a fact; return false if it is that of another payment, which stays as it is.

    Idempotent: one that comes again adds what was missing.
    """
    values = {**msgspec.structs.asdict(fact), "payment_id": payment_id, "origin": origin}
    return work.execute(_ADD_FACT, values).rowcount > 0


def taken_by(work: Work, leg: Leg, ref: str) -> str | None:
    """Find the payment that the gateway's reference *ref* belongs to, if that is not the call of *leg*; None if it is free."""
    values = {
        "gateway": leg.gateway,
        "leg_id": leg.leg_id,
        "payment_id": leg.payment_id,
        "operation": leg.operation,
        "ref": ref,
    }
    row = work.execute(_TAKEN_REF, values).fetchone()
    return str(row[0]) if row else None


def name_payment(work: Work, payment: Payment, fact: PaymentFact) -> None:
    """Give the gateway's references, which *fact* brings, to an authorisation that had none yet."""
    values = {
        "payment_id": payment.payment_id,
        "gateway": fact.gateway,
        "payment_ref": fact.payment_ref,
        "operation_ref": fact.operation_ref,
        "unnamed": payment.reference,
    }
    if work.execute(_NAME_LEG, values).rowcount:
        work.execute(_NAME_FACTS, values)


def adopt_facts(work: Work, payment_id: str, gateway: str, payment_ref: str) -> None:
    """Give the facts that came before the gateway's reference was known to their payment."""
    work.execute(_ADOPT, {"payment_id": payment_id, "gateway": gateway, "payment_ref": payment_ref})


def facts_of(work: Work, payment_id: str) -> list[PaymentFact]:
    """Read the facts of a payment, in the order of their arrival."""
    rows = work.cursor(row_factory=kwargs_row(_fact)).execute(_FACTS, {"payment_id": payment_id})
    return rows.fetchall()


def references_of(work: Work, refs: Collection[tuple[str, str]]) -> list[str]:
    """Find the references of the payments that have facts of gateways' payments, given as (gateway, payment_ref)."""
    values = {"gateways": [gateway for gateway, _ in refs], "payment_refs": [ref for _, ref in refs]}
    return [reference for (reference,) in work.execute(_REFERENCES, values)]


def with_twin(work: Work, fact: PaymentFact) -> list[str]:
    """Find the payments that an unmatched *fact* looks like one of, by ID."""
    values = {"gateway": fact.gateway, "payment_ref": fact.payment_ref}
    return [payment_id for (payment_id,) in work.execute(_WITH_TWIN, values)]


def unmatched_facts(work: Work, *, after: int = 0, limit: int = 100) -> list[UnmatchedFact]:
    """List the facts of payments that the hub does not know, oldest first: at most *limit* after an ID."""
    rows = work.execute(_UNMATCHED, {"after": after, "limit": limit})
    names = PaymentFact.__struct_fields__
    return [UnmatchedFact(fact_id, _fact(**dict(zip(names, fields, strict=True)))) for fact_id, *fields in rows]


def try_lock_session(session: Work, name: str) -> bool:
    """Lock *name* for this session; return false if another one has it."""
    row = session.execute(_TRY_LOCK, {"name": name}).fetchone()
    return bool(row and row[0])


def unlock_session(session: Work, name: str) -> None:
    """Unlock *name*. A session that ended has unlocked it already."""
    session.execute(_UNLOCK, {"name": name})


def begin_call(work: Work, gateway: str) -> int:
    """Note that a call of *gateway* begins; return its number."""
    row = work.execute(_BEGIN_CALL, {"gateway": gateway}).fetchone()
    assert row is not None  # noqa: S101  it was inserted
    return int(row[0])


def end_call(work: Work, gateway: str, call_id: int, *, answered: bool) -> None:
    """Note how a call ended and how long it took; now and then, forget old ones of its gateway."""
    work.execute(_END_CALL, {"call_id": call_id, "answered": answered})
    if random.randrange(_FORGET_EVERY) == 0:  # noqa: S311  no secret
        work.execute(_FORGET_CALLS, {"gateway": gateway, "kept": _KEPT_CALLS})


def forget_call(work: Work, call_id: int) -> None:
    """Forget a call that was not made: it says nothing of the gateway."""
    work.execute(_FORGET_CALL, {"call_id": call_id})


def health_of(work: Work, gateways: Collection[str]) -> list[GatewayHealth]:
    """Read how each of *gateways* answered its last calls."""
    values: dict[str, Any] = {"gateways": sorted(gateways), "window": WINDOW}
    rows = work.cursor(row_factory=kwargs_row(GatewayHealth)).execute(_HEALTH, values)
    return rows.fetchall()


def _payments(work: Work) -> psycopg.Cursor[Payment]:
    return work.cursor(row_factory=kwargs_row(_payment))


def _payment(**fields: Any) -> Payment:
    return msgspec.convert(fields, Payment)


def _known(
    *, taken_back_minor: int, legs: Any, facts: Any, balances: list[tuple[str, str, int]], twins: int, **payment: Any
) -> Known:
    return Known(
        payment=_payment(**payment),
        taken_back_minor=taken_back_minor,
        legs=msgspec.convert(legs, list[Leg]),
        facts=msgspec.convert(facts, list[PaymentFact]),
        balances={(Account(account), gateway): amount for account, gateway, amount in balances if amount},
        twins=twins,
    )


def _legs(work: Work) -> psycopg.Cursor[Leg]:
    return work.cursor(row_factory=kwargs_row(_leg))


def _leg(**fields: Any) -> Leg:
    return msgspec.convert(fields, Leg)


def _posting(**fields: Any) -> Posting:
    return msgspec.convert(fields, Posting)


def _fact(**fields: Any) -> PaymentFact:
    return msgspec.convert(fields, PaymentFact)


def _found(payment: Payment | None, payment_id: str) -> Payment:
    if payment is None:
        raise NotFound(f"There is no payment {payment_id!r}")
    return payment
