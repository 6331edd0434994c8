"""What every payment gateway promises, whatever its provider does. A rule here is a rule for all of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest

from crossdock.commerce.payments.amounts import amounts_of
from crossdock.core.errors import Conflict
from crossdock.db.database import Store
from crossdock.integrations.actions.model import Done, Refused, RefusedBy, Unknown
from crossdock.integrations.json_schema import errors_in
from crossdock.integrations.manifests import capability_contract, manifests
from tests.contracts.gateways import CANARY, GATEWAYS, Bench, Gateway, facts
from tests.shop import query

CONTRACT = capability_contract("crossdock.commerce.payments:gateway.json")


@pytest.fixture(params=GATEWAYS, ids=lambda gateway: gateway.name)
def gateway(request: pytest.FixtureRequest) -> Gateway:
    found: Gateway = request.param
    return found


@pytest.fixture
def bench(gateway: Gateway, store: Store) -> Iterator[Bench]:
    with gateway.bench(store) as opened:
        yield opened


_keys = itertools.count()


def done(bench: Bench, action: str, given: dict[str, Any]) -> dict[str, Any]:
    ended = bench.perform(action, given, key=f"step-{next(_keys)}")
    assert isinstance(ended, Done), ended
    assert list(errors_in(CONTRACT["actions"][action]["output"], ended.output, "")) == []
    return dict(ended.output or {})


def authorised(bench: Bench) -> str:
    return str(done(bench, "authorise", bench.payment("good"))["payment_ref"])


def operation(payment_ref: str, amount_minor: int | None = None) -> dict[str, Any]:
    given = {"payment_ref": payment_ref, "reference": "order-4711-1"}
    return given if amount_minor is None else {**given, "amount_minor": amount_minor, "currency": "EUR"}


def test_a_gateway_has_all_actions_of_the_contract_as_the_contract_has_them(gateway: Gateway) -> None:
    actions = manifests()[gateway.kind].actions

    assert set(CONTRACT["required"]) <= set(actions)
    for name in set(CONTRACT["actions"]) & set(actions):
        declared = CONTRACT["actions"][name]
        assert (actions[name].input, actions[name].output) == (declared["input"], declared["output"])


def test_it_says_by_which_references_it_names_its_effects(gateway: Gateway, bench: Bench) -> None:
    """A person who gives another one would make two effects of one, with its event."""
    paid = done(bench, "authorise", bench.payment("good"))
    named = {"authorise": paid, "capture": done(bench, "capture", operation(paid["payment_ref"], 1200))}
    named["refund"] = done(bench, "refund", operation(paid["payment_ref"], 500))
    other = authorised(bench)
    named["void"] = done(bench, "void", operation(other))

    for action, output in named.items():
        form = manifests()[gateway.kind].actions[action].names_effect
        assert form, action
        assert re.fullmatch(form, output["operation_ref"])


def test_an_authorisation_moves_no_money(bench: Bench) -> None:
    output = done(bench, "authorise", bench.payment("good"))

    assert (output["state"], output["amount_minor"], output["currency"]) == ("authorised", 1999, "EUR")
    assert bench.money(output["payment_ref"])[:2] == (0, 0)


def test_a_decline_is_a_decision_with_the_providers_word_and_no_effect(bench: Bench) -> None:
    ended = bench.perform("authorise", bench.payment("declined"), key="k-1")

    assert isinstance(ended, Refused)
    assert ended.by is RefusedBy.DECISION
    assert ended.code
    assert not ended.try_other, "the money is not there for another gateway either"
    assert bench.effects() == 0


def test_a_payment_that_needs_the_customer_is_not_authorised(bench: Bench) -> None:
    output = done(bench, "authorise", bench.payment("needs_action"))

    assert output["state"] == "requires_action"
    assert bench.effects() == 0


def test_a_part_is_captured_and_a_part_of_it_refunded(bench: Bench) -> None:
    paid = authorised(bench)
    done(bench, "capture", operation(paid, 1200))
    done(bench, "refund", operation(paid, 500))

    assert bench.money(paid)[:2] == (1200, 500)


def test_a_payment_is_authorised_once_its_customer_has_acted(bench: Bench) -> None:
    waiting = done(bench, "authorise", bench.payment("needs_action"))
    given = bench.customer_acts(waiting["payment_ref"])

    output = done(bench, "finish", given)

    assert (output["state"], output["payment_ref"]) == ("authorised", waiting["payment_ref"])
    assert bench.effects() == 1


def test_what_is_voided_is_not_captured(bench: Bench) -> None:
    paid = authorised(bench)
    done(bench, "void", operation(paid))
    bench.perform("capture", operation(paid, 1999), key="k-1")

    assert bench.money(paid) == (0, 0, True)


@pytest.mark.parametrize("action", ["authorise", "capture", "void", "refund"])
def test_a_key_has_one_effect_and_one_answer(bench: Bench, action: str) -> None:
    given = bench.payment("good")
    if action != "authorise":
        paid = authorised(bench)
        given = operation(paid, None if action == "void" else 1999)
        if action == "refund":
            done(bench, "capture", operation(paid, 1999))
    before = bench.effects()

    first, again = (bench.perform(action, given, key="k-1") for _ in range(2))

    assert isinstance(first, Done)
    assert first == again
    assert bench.effects() == before + 1


def test_another_input_with_the_key_is_a_conflict(bench: Bench) -> None:
    bench.perform("authorise", bench.payment("good"), key="k-1")

    with pytest.raises(Conflict):
        bench.perform("authorise", bench.payment("good", amount_minor=1), key="k-1")
    assert bench.effects() == 1


def test_an_answer_and_its_event_are_one_fact(bench: Bench) -> None:
    """By the reference of the operation, which each has for itself: otherwise a capture would count twice."""
    paid = authorised(bench)
    captured = done(bench, "capture", operation(paid, 1200))["operation_ref"]
    refunded = done(bench, "refund", operation(paid, 500))["operation_ref"]

    told = {(fact.payment_ref, fact.operation_ref, fact.kind) for fact in facts(bench.events())}
    assert len({paid, captured, refunded}) == 3
    assert told >= {(paid, captured, "captured"), (paid, refunded, "refunded")}
    assert any(kind == "authorised" and payment == paid for payment, _, kind in told)


def test_the_amounts_of_the_events_are_the_providers_in_any_order(bench: Bench) -> None:
    paid = authorised(bench)
    done(bench, "capture", operation(paid, 1200))
    done(bench, "refund", operation(paid, 500))
    told = facts(bench.events())
    has = bench.money(paid)

    for order in (told, told[::-1], told * 2):
        amounts = amounts_of(order)
        assert (amounts.captured_minor, amounts.refunded_minor) == (has.captured_minor, has.refunded_minor)


def test_the_same_webhook_is_the_same_event(bench: Bench) -> None:
    authorised(bench)

    first, again = (
        [(event.source, event.event_id, event.partition_key, event.data) for event in bench.events()] for _ in range(2)
    )
    assert first == again
    assert len({event_id for _, event_id, _, _ in first}) == len(first) > 0


def test_another_key_is_another_payment(bench: Bench) -> None:
    for key in ("a", "b"):
        bench.perform("authorise", bench.payment("good"), key=key)

    assert bench.effects() == 2


def test_a_lost_answer_is_unknown_until_a_repetition_resolves_it(bench: Bench) -> None:
    """With the provider away for longer than the hub tries, nobody may go on, here or elsewhere."""
    bench.lose_answers(20)
    lost = bench.perform("authorise", bench.payment("good"), key="a")

    assert isinstance(lost, Unknown)
    assert not lost.try_other

    bench.lose_answers(0)
    assert isinstance(bench.perform("authorise", bench.payment("good"), key="a"), Done)
    assert bench.effects() == 1


def test_no_secret_is_stored(bench: Bench, store: Store) -> None:
    authorised(bench)

    for table in ("attempt", "audit_entry"):
        assert CANARY not in str(query(store, f"SELECT * FROM {table}"))
