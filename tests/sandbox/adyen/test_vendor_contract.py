"""The simulated Adyen's notifications match the vendor's own OpenAPI document of webhooks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from crossdock.sandbox.adyen.platform import FakeAdyen
from crossdock.sandbox.adyen.state import DISPUTE_STAGES
from crossdock.sandbox.adyen.stored_methods import STORED_METHODS
from crossdock.sandbox.adyen.webhooks import notification


@pytest.fixture(scope="module")
def vendor() -> dict[str, Any]:
    path = Path(os.environ.get("HUB_VENDOR_SPECS") or "/nowhere", "adyen-webhooks-v1.json")
    if not path.exists():
        pytest.skip(
            "the vendor's OpenAPI document is not part of the project: download json/Webhooks-v1.json of"
            " Adyen/adyen-openapi as adyen-webhooks-v1.json and set HUB_VENDOR_SPECS to its folder"
        )
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def items() -> Iterator[list[dict[str, Any]]]:
    """One of each notification that the platform makes."""
    with FakeAdyen() as platform:
        state, good = platform.state, STORED_METHODS["stored_authorised"]
        paid = state.pay("order-1", 100, "EUR", good).psp_reference
        state.pay("order-2", 100, "EUR", STORED_METHODS["stored_refused"])
        captured = state.modify("captures", paid, "part-1", 100)
        refunded = state.modify("refunds", paid, "part-2", 10)
        state.modify("cancels", paid, "void-1", None)
        for operation in (refunded, captured):
            state.fail_later(operation.psp_reference)
        dispute = None
        for stage in DISPUTE_STAGES:
            dispute = state.dispute(paid, stage, dispute)
        yield [sending.item for sending in platform.outbox.sendings]


def faults_in(vendor: dict[str, Any], item: dict[str, Any]) -> list[str]:
    operation = vendor["webhooks"][f"/{item['eventCode']}"]["post"]
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    registry = Registry().with_resource("urn:vendor", Resource(contents=vendor, specification=DRAFT202012))
    validator = Draft202012Validator({"$ref": f"urn:vendor{reference}"}, registry=registry)
    return [error.message for error in validator.iter_errors(json.loads(notification([item])))]


def test_each_notification_keeps_the_contract(vendor: dict[str, Any], items: list[dict[str, Any]]) -> None:
    assert len({item["eventCode"] for item in items}) == 10
    for item in items:
        assert faults_in(vendor, item) == []


def test_the_contract_finds_what_is_wrong(vendor: dict[str, Any], items: list[dict[str, Any]]) -> None:
    """A validator that accepts everything would pass the test above."""
    assert faults_in(vendor, {**items[0], "amount": {"value": "1", "currency": "EUR"}})
    assert faults_in(vendor, {**items[0], "success": True})
    assert faults_in(vendor, {name: value for name, value in items[0].items() if name != "pspReference"})


def test_the_status_of_the_answer_is_all_that_it_asks_for(vendor: dict[str, Any]) -> None:
    """So the hub's 202 with a body of its own is accepted."""
    answers = vendor["webhooks"]["/AUTHORISATION"]["post"]["responses"]

    assert set(answers) == {"200"}
    assert "status code" in answers["200"]["description"]
