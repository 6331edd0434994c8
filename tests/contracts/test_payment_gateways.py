"""What an order may expect of every payment gateway, whichever provider is behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crossdock.db.database import Store
from crossdock.integrations.actions.model import Done, Refused, RefusedBy, Unknown
from crossdock.integrations.json_schema import errors_in
from crossdock.integrations.manifests import capability_contract, manifests
from tests.contracts.gateways import CANARY, GATEWAYS, Gateway, GatewayBench
from tests.shop import query

CONTRACT = capability_contract("crossdock.commerce.payments:gateway.json")
REFERENCE = "order-4711"


@pytest.fixture(params=GATEWAYS, ids=lambda gateway: gateway.name)
def gateway(request: pytest.FixtureRequest) -> Gateway:
    found: Gateway = request.param
    return found


@pytest.fixture
def bench(gateway: Gateway, store: Store) -> Iterator[GatewayBench]:
    with gateway.bench(store) as opened:
        yield opened


def to_authorise(method: str, amount_minor: int = 1999) -> dict[str, Any]:
    return {"reference": REFERENCE, "amount_minor": amount_minor, "currency": "EUR", "payment_method": method}


def output_of(ended: Any, action: str) -> dict[str, Any]:
    """The output, which the contract's own schema accepts."""
    assert isinstance(ended, Done), ended
    assert ended.output is not None
    assert list(errors_in(CONTRACT["actions"][action]["output"], ended.output, "")) == []
    return dict(ended.output)


@pytest.fixture
def payment(bench: GatewayBench, gateway: Gateway) -> dict[str, Any]:
    """The reference of an authorised payment, and ours."""
    done = output_of(bench.perform("authorise", to_authorise(gateway.good_method), "a"), "authorise")
    return {"payment_ref": done["payment_ref"], "reference": REFERENCE}


def test_a_gateway_has_all_actions_of_the_contract_as_the_contract_has_them(gateway: Gateway) -> None:
    actions = manifests()[gateway.kind].actions

    assert set(CONTRACT["required"]) <= set(actions)
    for name in set(CONTRACT["actions"]) & set(actions):
        declared = CONTRACT["actions"][name]
        assert (actions[name].input, actions[name].output) == (declared["input"], declared["output"])


def test_a_payment_is_authorised_captured_and_given_back_in_parts(bench: GatewayBench, payment: dict[str, Any]) -> None:
    """Each operation has a reference of its own: their amounts are added up by it."""
    of_capture = output_of(
        bench.perform("capture", payment | {"amount_minor": 1500, "currency": "EUR"}, "c"), "capture"
    )
    refund = payment | {"amount_minor": 400, "currency": "EUR"}
    of_refund = output_of(bench.perform("refund", refund, "r"), "refund")

    assert [move for move in bench.moved() if move[0] != "released"] == [
        ("authorised", 1999),
        ("captured", 1500),
        ("refunded", 400),
    ]
    assert (of_capture["amount_minor"], of_refund["amount_minor"]) == (1500, 400)
    assert len({payment["payment_ref"], of_capture["operation_ref"], of_refund["operation_ref"]}) == 3


def test_a_void_releases_what_is_authorised(bench: GatewayBench, payment: dict[str, Any]) -> None:
    output_of(bench.perform("void", payment, "v"), "void")

    assert bench.moved() == [("authorised", 1999), ("released", 1999)]


def test_a_decline_is_a_decision_and_moves_nothing(bench: GatewayBench, gateway: Gateway) -> None:
    """No other gateway is asked: the money is not there."""
    ended = bench.perform("authorise", to_authorise(gateway.poor_method), "a")

    assert isinstance(ended, Refused)
    assert (ended.by, ended.try_other) == (RefusedBy.DECISION, False)
    assert ended.code
    assert bench.moved() == []


def test_a_repetition_with_the_key_gives_the_same_answer_and_moves_nothing(
    bench: GatewayBench, gateway: Gateway
) -> None:
    given = to_authorise(gateway.good_method)

    first = output_of(bench.perform("authorise", given, "a"), "authorise")

    assert output_of(bench.perform("authorise", given, "a"), "authorise") == first
    assert bench.moved() == [("authorised", 1999)]


def test_another_key_is_another_payment(bench: GatewayBench, gateway: Gateway) -> None:
    for key in ("a", "b"):
        bench.perform("authorise", to_authorise(gateway.good_method), key)

    assert bench.moved() == [("authorised", 1999)] * 2


def test_a_lost_answer_is_unknown_until_a_repetition_resolves_it(bench: GatewayBench, gateway: Gateway) -> None:
    """With the provider away for longer than the hub tries, nobody may go on, here or elsewhere."""
    bench.lose_answers(20)
    lost = bench.perform("authorise", to_authorise(gateway.good_method), "a")

    assert isinstance(lost, Unknown)
    assert not lost.try_other

    bench.lose_answers(0)
    output_of(bench.perform("authorise", to_authorise(gateway.good_method), "a"), "authorise")
    assert bench.moved() == [("authorised", 1999)]


@pytest.mark.usefixtures("payment")
def test_no_secret_is_stored(store: Store) -> None:
    for table in ("attempt", "audit_entry"):
        assert CANARY not in str(query(store, f"SELECT * FROM {table}"))
