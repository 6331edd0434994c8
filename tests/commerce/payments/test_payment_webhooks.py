"""Webhooks of payment gateways, end to end: a signed request to the hub's own route, and the amounts of the payment follow."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from crossdock.commerce.payments import repository
from crossdock.commerce.payments.amounts import Amounts, amounts_of
from crossdock.commerce.payments.model import Payment
from crossdock.db.database import Store
from crossdock.events.webhooks_in.service import Receiver, receiver_from
from crossdock.integrations.actions.model import Done
from crossdock.integrations.attempts.service import begins_always
from crossdock.integrations.manifests import manifests
from crossdock.sandbox.adyen.webhooks import notification
from crossdock.sandbox.adyen.webhooks import signature as adyen_signature
from crossdock.sandbox.engine import codec
from crossdock.sandbox.stripe.webhooks import signature as stripe_signature
from tests.commerce.payments.real_gateways import ADYEN, METHODS, STRIPE, RealGateways, connected
from tests.events.webhooks_in.test_webhooks import WebhookClient, served
from tests.events.worlds import delivery, eventually
from tests.shop import query
from tests.third_party.installs import HERE, sdk_python

#: All orders of the first three deliveries, or of four.
ORDERS = {False: list(itertools.permutations(range(3))), True: list(itertools.permutations(range(4)))}


@dataclass(frozen=True)
class Signed:
    """A delivery as the provider sends it."""

    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


Sign = Callable[[Sequence[Any]], list[Signed]]


class GatewayWebhooks(WebhookClient):
    """The hub's route, with the connections of both gateways."""

    def __init__(self, dsn: str, gateways: RealGateways) -> None:
        super().__init__(dsn)
        self.gateways = gateways

    def _find(self, integration: str) -> Receiver:
        kind, secret = {
            STRIPE: ("stripe", self.gateways.stripe.webhooks.secret),
            ADYEN: ("adyen", self.gateways.adyen.outbox.hmac_key),
        }[integration]
        return receiver_from(integration, secret, {"scheme": kind}, (), manifests()[kind].provided("webhook"))

    def statuses(self, gateway: str, deliveries: Sequence[Signed]) -> set[int]:
        return {self.post(each.body, list(each.headers), gateway).status_code for each in deliveries}


@pytest.fixture
def gateways(store: Store) -> Iterator[RealGateways]:
    with connected(store) as opened:
        yield opened


@pytest.fixture
def route(hub_dsn: str, gateways: RealGateways) -> Iterator[GatewayWebhooks]:
    with served(GatewayWebhooks(hub_dsn, gateways)) as opened:
        yield opened


def by_the_sdk(name: str, secret: dict[str, str], given: list[Any]) -> list[str]:
    ended = subprocess.run(
        [str(sdk_python(name)), str(HERE / name / "sign.py")],
        env={"PATH": os.defpath, **secret},
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: list[str] = json.loads(ended.stdout)
    return found


def signed_events(gateways: RealGateways, events: Sequence[Any], *, by_sdk: bool = False) -> list[Signed]:
    """Sign events of Stripe."""
    bodies, secret = [codec.encode(event) for event in events], gateways.stripe.webhooks.secret
    if by_sdk:
        headers = by_the_sdk("stripe", {"SANDBOX_STRIPE_SECRET": secret}, [body.decode() for body in bodies])
    else:
        headers = [stripe_signature(secret, body, int(time.time())) for body in bodies]
    return [Signed(body, (("stripe-signature", text),)) for body, text in zip(bodies, headers, strict=True)]


def signed_items(gateways: RealGateways, items: Sequence[Any], *, by_sdk: bool = False) -> list[Any]:
    """Sign items of Adyen."""
    bare = [{name: value for name, value in item.items() if name != "additionalData"} for item in items]
    key = gateways.adyen.outbox.hmac_key
    if by_sdk:
        signatures = by_the_sdk("adyen", {"SANDBOX_ADYEN_HMAC_KEY": key}, bare)
    else:
        signatures = [adyen_signature(item, key) for item in bare]
    return [{**item, "additionalData": {"hmacSignature": text}} for item, text in zip(bare, signatures, strict=True)]


def signed_notifications(gateways: RealGateways, items: Sequence[Any], *, by_sdk: bool = False) -> list[Signed]:
    return [Signed(notification([item])) for item in signed_items(gateways, items, by_sdk=by_sdk)]


SIGNED = {STRIPE: signed_events, ADYEN: signed_notifications}


def lived(gateways: RealGateways, gateway: str, reference: str) -> tuple[Payment, list[Any]]:
    """Authorise a payment by the hub, and take and give back parts of it behind its back; return also what the provider says."""
    payment = gateways.place(reference, payment_methods={gateway: METHODS[gateway]})
    with gateways.store.transaction() as work:
        (leg,) = repository.legs_of(work, payment.payment_id)
    for action, amount_minor in (("capture", 3_000), ("refund", 1_000)):
        given = {"payment_ref": leg.payment_ref, "reference": f"{action}-{reference}", "currency": "EUR"}
        key = f"{reference}-{action}"
        ended = gateways.payments.perform(gateway, action, given | {"amount_minor": amount_minor}, key, begins_always)
        assert isinstance(ended, Done)
    if gateway == STRIPE:
        told = list(gateways.stripe.state.events.values())
    else:
        gateways.adyen.state.dispute(str(leg.payment_ref), "CHARGEBACK", None)
        told = [sending.item for sending in gateways.adyen.outbox.sendings]
    return payment, [each for each in told if str(leg.payment_ref) in json.dumps(each)]


def amounts(store: Store, payment: Payment) -> Amounts:
    with store.transaction() as work:
        return amounts_of(repository.facts_of(work, payment.payment_id), payment.currency)


def moved(store: Store, payment: Payment) -> tuple[int, int, int]:
    found = amounts(store, payment)
    return found.authorised_minor, found.captured_minor, found.refunded_minor


@pytest.mark.parametrize(
    "by_sdk",
    [
        False,
        pytest.param(True, marks=[pytest.mark.deep, pytest.mark.xdist_group("third_party")], id="signed by the SDK"),
    ],
)
@pytest.mark.parametrize("gateway", [STRIPE, ADYEN])
def test_the_amounts_of_a_payment_follow_from_its_webhooks_in_any_order(
    route: GatewayWebhooks, gateways: RealGateways, hub_dsn: str, gateway: str, *, by_sdk: bool
) -> None:
    """What was done in the provider's dashboard; each delivery comes twice, and each payment has an order of its own."""
    payments, chance = [], random.Random(4711)  # noqa: S311  the same orders each time
    with delivery(hub_dsn):
        for number, order in enumerate(ORDERS[by_sdk]):
            payment, said = lived(gateways, gateway, f"order-{number}")
            assert moved(gateways.store, payment) == (4_990, 0, 0)
            deliveries = SIGNED[gateway](gateways, said, by_sdk=by_sdk)
            in_order = [deliveries[at] for at in order] + chance.sample(rest := deliveries[len(order) :], len(rest))
            assert route.statuses(gateway, in_order + in_order[::-1]) == {202}
            payments.append(payment)
        eventually(lambda: {moved(gateways.store, payment) for payment in payments}, {(4_990, 3_000, 1_000)}, 60)
        eventually(lambda: len({repr(amounts(gateways.store, payment)) for payment in payments}), 1, 60)

    assert query(gateways.store, "SELECT count(*) FROM dead_letter") == [(0,)]
    assert query(gateways.store, "SELECT count(*) FROM refused_webhook") == [(0,)]


@pytest.mark.parametrize("gateway", [STRIPE, ADYEN])
def test_a_webhook_that_is_not_signed_by_its_sender_changes_nothing(
    route: GatewayWebhooks, gateways: RealGateways, gateway: str
) -> None:
    """A forged refund, a signature of another delivery, and none at all."""
    _, said = lived(gateways, gateway, "order-1")
    first, second, *_ = SIGNED[gateway](gateways, said)
    forged = replace(first, body=first.body.replace(b"4990", b"4991"))
    swapped = replace(first, body=second.body) if gateway == STRIPE else Signed(with_signature_of(second, first))
    bare = Signed(first.body if gateway == STRIPE else first.body.replace(b"hmacSignature", b"other"))
    assert forged != first

    assert route.statuses(gateway, [forged, swapped, bare]) == {401}
    assert query(gateways.store, "SELECT count(*) FROM event") == [(0,)]
    assert query(gateways.store, "SELECT sum(times)::int FROM refused_webhook") == [(3,)]


def with_signature_of(taken: Signed, other: Signed) -> bytes:
    document, stolen = json.loads(taken.body), json.loads(other.body)
    items = [each["notificationItems"][0]["NotificationRequestItem"] for each in (document, stolen)]
    items[0]["additionalData"] = items[1]["additionalData"]
    return json.dumps(document).encode()


@pytest.mark.parametrize("gateway", [STRIPE, ADYEN])
def test_a_signed_message_of_an_unknown_type_is_taken_and_counted(
    route: GatewayWebhooks, gateways: RealGateways, gateway: str
) -> None:
    """Refused, the provider would send it again for days; Adyen takes any 2xx for accepted, whatever the body."""
    _, (first, *_) = lived(gateways, gateway, "order-1")
    name = "type" if gateway == STRIPE else "eventCode"
    deliveries = SIGNED[gateway](gateways, [first | {name: "REPORT_AVAILABLE"}])

    assert route.statuses(gateway, deliveries * 2) == {202}
    assert query(gateways.store, "SELECT type, data::json ->> 'message_type' FROM event") == [
        ("crossdock.webhook.ignored", "REPORT_AVAILABLE")
    ]


class TestSeveralItems:
    """Adyen sends one item in JSON today; its format is a list of them."""

    @pytest.fixture
    def items(self, gateways: RealGateways) -> list[Any]:
        return signed_items(gateways, lived(gateways, ADYEN, "order-1")[1])

    def test_each_of_them_is_an_event(self, route: GatewayWebhooks, gateways: RealGateways, items: list[Any]) -> None:
        assert route.statuses(ADYEN, [Signed(notification(items))]) == {202}
        assert query(gateways.store, "SELECT count(*) FROM event") == [(len(items),)]

    def test_one_that_is_not_signed_refuses_all(
        self, route: GatewayWebhooks, gateways: RealGateways, items: list[Any]
    ) -> None:
        forged = items[1] | {"amount": {"value": 1, "currency": "EUR"}}

        assert route.statuses(ADYEN, [Signed(notification([items[0], forged, *items[2:]]))]) == {401}
        assert query(gateways.store, "SELECT count(*) FROM event") == [(0,)]

    def test_one_that_cannot_be_read_refuses_all_and_the_others_are_taken_when_they_come_alone(
        self, route: GatewayWebhooks, gateways: RealGateways, items: list[Any]
    ) -> None:
        """Taken, it would be lost without a trace."""
        (bad,) = signed_items(gateways, [items[1] | {"eventDate": "yesterday"}])

        assert route.statuses(ADYEN, [Signed(notification([items[0], bad]))]) == {400}
        assert query(gateways.store, "SELECT count(*) FROM event") == [(0,)]
        assert route.statuses(ADYEN, [Signed(notification([items[0]]))]) == {202}

    def test_one_of_an_unknown_type_does_not_hide_the_others(
        self, route: GatewayWebhooks, gateways: RealGateways, items: list[Any]
    ) -> None:
        other = signed_items(gateways, [items[0] | {"eventCode": "REPORT_AVAILABLE"}])

        assert route.statuses(ADYEN, [Signed(notification([*other, items[1]]))]) == {202}
        assert query(gateways.store, "SELECT subject FROM event WHERE type = 'crossdock.webhook.ignored'") == [
            ("message/REPORT_AVAILABLE",)
        ]
        assert query(gateways.store, "SELECT count(*) FROM event") == [(2,)]
