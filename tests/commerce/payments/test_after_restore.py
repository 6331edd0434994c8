"""A hub that was restored from a backup knows nothing of the payments that were made since: nobody is charged twice for that."""

from __future__ import annotations

from crossdock.commerce.payments.amounts import PaymentState
from tests.commerce.payments.gateways import Gateways
from tests.shop import query


def forget(gateways: Gateways) -> None:
    """Take the hub back to before its first payment. Its measurements go back, too: the same gateway is asked first."""
    for table in ("payment_fact", "payment_leg", "payment", "attempt", "gateway_call"):
        query(gateways.store, f"DELETE FROM {table} RETURNING 1")


def test_a_payment_that_a_restored_hub_has_forgotten_is_asked_for_with_the_same_key(gateways: Gateways) -> None:
    """The gateway replays its answer. With a random ID in the key, the customer paid twice."""
    before = gateways.authorise()
    forget(gateways)

    again = gateways.authorise()

    assert again.state is PaymentState.AUTHORISED
    assert again.payment_id == before.payment_id
    assert gateways.effects() == 1


def test_hubs_at_one_account_use_different_keys_for_the_same_reference(gateways: Gateways) -> None:
    """Otherwise the answer to another hub's payment would count as ours."""
    before = gateways.authorise()
    forget(gateways)
    query(gateways.store, "UPDATE installation SET installation_id = gen_random_uuid() RETURNING 1")

    assert gateways.authorise().payment_id != before.payment_id
