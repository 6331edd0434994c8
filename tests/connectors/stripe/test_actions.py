"""The actions of Stripe on the sandbox: what each does, and what a decline, a refusal and a strange answer mean."""

from __future__ import annotations

from typing import Any

import pytest

from crossdock.integrations.actions.model import Done, InputInvalid, Refused, RefusedBy, Unknown
from crossdock.integrations.attempts.model import Outcome
from crossdock.integrations.manifests import manifests
from tests.connectors.stripe.cases import CASES, WRITES
from tests.connectors.stripe.payments import Payments

KIND = manifests()["stripe"]
each_action = pytest.mark.parametrize("payments", CASES, indirect=True)


def output_of(ended: Any) -> dict[str, Any]:
    assert isinstance(ended, Done), ended
    assert ended.output is not None
    return dict(ended.output)


def test_each_action_has_a_case_here() -> None:
    assert set(CASES) == set(KIND.actions)


@each_action
def test_an_action_does_what_it_says(payments: Payments) -> None:
    output = output_of(payments.perform())

    assert payments.effects == list(payments.case.moves)
    if payments.name in WRITES:
        assert payments.attempt() == (Outcome.DONE, None)
        assert output["state"] in {"authorised", "done"}
