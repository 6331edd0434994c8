"""The simulated provider's objects have the fields and types of the vendor's own samples."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crossdock.sandbox.stripe.provider import FakeStripe
from tests.sandbox.stripe.test_provider import Account

#: Fields of a sample that a card payment does not have, with the reason.
ABSENT = {
    "payment_intent.managed_payments": "a feature that the account has not turned on",
    "charge.refunds": "not sent by default since the version 2022-11-15",
    "charge.payment_method_details.card.amount_authorized": "sent for in-person payments only",
}


@pytest.fixture(scope="module")
def samples() -> dict[str, Any]:
    folder = os.environ.get("HUB_VENDOR_SPECS")
    if not folder:
        pytest.skip(
            "the vendor's samples are not part of the project: download stripe-fixtures3.json and set HUB_VENDOR_SPECS"
            " to its folder"
        )
    found: dict[str, Any] = json.loads(Path(folder, "stripe-fixtures3.json").read_text(encoding="utf-8"))["resources"]
    return found


@pytest.fixture(scope="module")
def objects() -> Iterator[dict[str, Any]]:
    """One of each kind, as the provider answers it."""
    with FakeStripe() as provider:
        account = Account(provider)
        paid = account.paid("pm_card_createDisputeInquiry")
        account.post(f"payment_intents/{paid['id']}/capture")
        refund = account.post("refunds", payment_intent=paid["id"], amount=100).json
        captured = account.get(f"payment_intents/{paid['id']}").json
        yield {
            "payment_intent": captured,
            "charge": account.get(f"charges/{captured['latest_charge']}").json,
            "refund": refund,
            "dispute": account.get(f"disputes/{next(iter(provider.state.disputes))}").json,
            "event": account.get("events").json["data"][0],
        }


def differences(sample: Any, document: Any, where: str) -> Iterator[str]:
    """What the sample has and *document* has not, or has as another type. A field may be null on either side."""
    for name, value in sample.items():
        at = f"{where}.{name}"
        if name not in document:
            if at not in ABSENT:
                yield f"{at} is missing"
        elif None not in (value, document[name]) and kind_of(value) != kind_of(document[name]):
            yield f"{at} is {kind_of(document[name])}, not {kind_of(value)}"
        elif isinstance(value, dict) and document[name] and at in NESTED:
            yield from differences(value, document[name], at)


#: Objects in objects that a client reads; the others hold what the sandbox does not simulate.
NESTED = frozenset({"event.request", "charge.outcome", "charge.billing_details", "refund.destination_details"})


def kind_of(value: Any) -> str:
    return type(value).__name__


@pytest.mark.parametrize("kind", ["payment_intent", "charge", "refund", "dispute", "event"])
def test_an_object_has_the_fields_and_types_of_the_vendors_sample(
    samples: dict[str, Any], objects: dict[str, Any], kind: str
) -> None:
    assert list(differences(samples[kind], objects[kind], kind)) == []


def test_a_missing_field_and_another_type_are_found(samples: dict[str, Any], objects: dict[str, Any]) -> None:
    """A comparison that accepts everything would pass the test above."""
    wrong = {**objects["refund"], "amount": "100"}
    del wrong["charge"]

    assert sorted(differences(samples["refund"], wrong, "refund")) == [
        "refund.amount is str, not int",
        "refund.charge is missing",
    ]
