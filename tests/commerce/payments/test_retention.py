"""What is kept of payments, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from crossdock.commerce.payments import service
from crossdock.commerce.payments.events import FactKind
from crossdock.db.database import Store
from crossdock.maintenance.retention import RetentionPeriods, purge_expired
from tests.commerce.payments.gateways import Gateways
from tests.commerce.payments.test_facts import fact, report
from tests.shop import query

KEEP = RetentionPeriods()
DAY = timedelta(days=1)
TABLES = ("payment", "payment_leg", "payment_fact")


def purge(store: Store, after: timedelta) -> None:
    for _ in purge_expired(store, None, KEEP, subscribers=[], now=datetime.now(UTC) + after):
        pass


def rows(store: Store) -> list[int]:
    return [query(store, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES]


def test_a_payment_goes_with_all_that_was_said_of_it(gateways: Gateways) -> None:
    gateways.capture(gateways.authorise())
    purge(gateways.store, KEEP.payments - DAY)
    kept = rows(gateways.store)
    purge(gateways.store, KEEP.payments + DAY)

    assert (kept, rows(gateways.store)) == ([1, 2, 2], [0, 0, 0])


@pytest.mark.parametrize("waiting", ["unknown", "disputed"])
def test_what_waits_for_a_person_stays_however_old(gateways: Gateways, waiting: str) -> None:
    if waiting == "unknown":
        gateways.fault("alpha", *[{"reset": "after"}] * 2)
    gateways.authorise()
    if waiting == "disputed":
        report(
            gateways.store,
            fact(FactKind.DISPUTE_OPENED, "dp_1", payment_ref="pay_alpha_authorise_1", occurred_at=datetime.now(UTC)),
        )
    purge(gateways.store, KEEP.payments + DAY)

    assert rows(gateways.store)[0] == 1


def test_tokens_and_customers_are_forgotten_and_the_payment_can_still_be_refunded(gateways: Gateways) -> None:
    """They are of no use once it is authorised. Placed again, it is another request: nothing is charged twice."""
    payment = gateways.authorise()
    gateways.capture(payment)
    purge(gateways.store, KEEP.closed + DAY)

    assert service.show(gateways.store, payment.payment_id).payment_methods == {}
    assert gateways.refund(payment).outcome == "done"


def test_facts_of_unknown_payments_go_with_the_ids_of_their_events(gateways: Gateways) -> None:
    report(gateways.store, fact(FactKind.CAPTURED, payment_ref="pay_of_the_till"))
    purge(gateways.store, KEEP.identities - DAY)
    kept = rows(gateways.store)
    purge(gateways.store, KEEP.identities + DAY)

    assert (kept, rows(gateways.store)) == ([0, 0, 1], [0, 0, 0])
