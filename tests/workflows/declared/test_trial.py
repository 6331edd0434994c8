"""A test run makes every step as it would be made, takes no time, and has no effect outside."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from crossdock.app.workflow_catalog import WorkflowCatalog
from crossdock.core.errors import BadRequest
from crossdock.integrations.json_schema import errors_in
from crossdock.integrations.manifests import manifests
from crossdock.workflows.declared import answers, trial
from crossdock.workflows.declared.answers import Answer, Status
from crossdock.workflows.declared.model import Workflow
from crossdock.workflows.declared.samples import answer_of
from crossdock.workflows.declared.trial_model import StepState, Trial, TrialState
from crossdock.workflows.declared.validator import validate

FOLDER = Path(__file__).parents[3] / "docs/workflows"
HUB = WorkflowCatalog()


@pytest.fixture(autouse=True)
def _no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every socket of this process."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a test run opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def parsed(text: str) -> Workflow:
    found = validate(text, HUB)
    assert found.workflow is not None
    assert [str(finding) for finding in found.findings] == []
    return found.workflow


def example(name: str) -> Workflow:
    return parsed((FOLDER / f"{name}.yaml").read_text())


def steps(text: str, head: str = "") -> Workflow:
    return parsed(f"schema: crossdock.workflow/1\nid: w2\nversion: 1\ntitle: T\n{head}do:\n{text}")


def ran(workflow: Workflow, given: dict[str, list[Answer]] | None = None, **params: Any) -> Trial:
    return trial.run(workflow, HUB, params, given or {})


def states(found: Trial) -> dict[str, str]:
    return {f"undo {step.step}" if step.is_undo else step.step: str(step.state) for step in found.steps}


class TestSamples:
    @pytest.mark.parametrize(
        "name", ["order_flow", "low_stock_alert", "customer_merge", "price_change_approval", "nightly_export"]
    )
    def test_an_example_completes_on_the_samples_of_its_connectors(self, name: str) -> None:
        assert ran(example(name)).state is TrialState.COMPLETED

    def test_each_action_of_each_connector_has_a_sample_that_its_schema_takes(self) -> None:
        wrong = [
            (kind, name, error)
            for kind, manifest in manifests().items()
            for name, action in manifest.actions.items()
            for error in errors_in(action.output, answer_of(action, {}), "")
        ]

        assert wrong == []


class TestRefund:
    def test_its_answers_drive_a_wait_for_a_person_and_a_retry_in_no_time(self) -> None:
        workflow = example("refund_with_approval")
        given = answers.read((FOLDER / "refund_with_approval.answers.yaml").read_text(), workflow)

        found = ran(workflow, given)

        assert (found.state, found.lasted_s) == (TrialState.COMPLETED, 86_410)
        (paid,) = [step for step in found.steps if step.step == "pay_back"]
        assert (paid.state, paid.retries) == (StepState.SUCCESS, 1)

    def test_when_nobody_decides_the_default_counts_at_the_end_of_the_time(self) -> None:
        workflow = example("refund_with_approval")
        given = answers.read((FOLDER / "refund_with_approval.answers.yaml").read_text(), workflow)

        found = ran(workflow, {**given, "approve": [Answer(delay_s=1e7)]})

        assert (found.state, found.message) == (TrialState.CANCELLED, "A person refused the refund")
        assert found.lasted_s == 3 * 86_400


def priced(amount_minor: int) -> list[Answer]:
    """The shop's answer about a price of that amount."""
    price = {
        "product_id": "product-1",
        "price_id": "price-1",
        "version": 7,
        "sku": "RING-17",
        "currency": "EUR",
        "amount_minor": amount_minor,
        "country": None,
        "channel": None,
        "rest": {"tiers": []},
    }
    return [Answer(output={"price": price})]


def decided(option: str) -> list[Answer]:
    return [Answer(output={"option": option, "decided_by": "ada"}, delay_s=3600)]


class TestPriceChange:
    def ran(self, amount_minor: int, *, limit_percent: int = 10, **given: list[Answer]) -> Trial:
        workflow = example("price_change_approval")
        answers = {"read_price": priced(2000), **given}
        return ran(workflow, answers, sku="RING-17", amount_minor=amount_minor, limit_percent=limit_percent)

    @pytest.mark.parametrize(
        ("amount_minor", "limit_percent", "is_asked"),
        [
            (2200, 10, False),
            (2201, 10, True),
            (1800, 10, False),
            (1799, 10, True),
            (2000, 0, False),
            (2001, 0, True),
            (1, 100, False),
            (4000, 100, False),
            (4001, 100, True),
            (1, 150, False),
        ],
    )
    def test_a_person_is_asked_about_a_change_above_the_limit_in_either_direction(
        self, amount_minor: int, limit_percent: int, *, is_asked: bool
    ) -> None:
        found = self.ran(amount_minor, limit_percent=limit_percent, approve=decided("change"))

        assert found.state is TrialState.COMPLETED
        assert ("approve" in states(found)) is is_asked

    def test_what_was_read_is_what_is_changed(self) -> None:
        found = self.ran(2500, approve=decided("change"))

        assert found.steps[-1].input == {
            "product_id": "product-1",
            "price_id": "price-1",
            "version": 7,
            "currency": "EUR",
            "amount_minor": 2500,
            "rest": {"tiers": []},
        }

    def test_a_refusal_changes_nothing(self) -> None:
        found = self.ran(2500, approve=decided("refuse"))

        assert (found.state, found.message) == (TrialState.CANCELLED, "Nobody approved the change")
        assert states(found)["refuse_unwanted"] == states(found)["compare"] == "SUCCESS"
        assert "change_price" not in states(found)

    def test_when_nobody_decides_it_is_refused_after_two_days(self) -> None:
        found = self.ran(2500, approve=[Answer(delay_s=1e7)])

        assert (found.state, found.lasted_s) == (TrialState.CANCELLED, 2 * 86_400)
        assert found.message == "Nobody approved the change"

    def test_a_price_that_the_shop_does_not_have_is_named(self) -> None:
        found = self.ran(2500, read_price=[Answer(output={"price": None})])

        assert found.message == "refuse_missing: The shop has no such price"

    def test_a_version_conflict_is_the_end_and_is_not_retried(self) -> None:
        """To change it with a newer version would be a change that nobody looked at."""
        found = self.ran(2100, change_price=[Answer(Status.REFUSED, message="409: another version")])

        assert (found.state, found.message) == (TrialState.FAILED, "change_price: 409: another version")
        assert found.steps[-1].retries == 0


class TestNightlyExport:
    @pytest.mark.parametrize("number", [0, 1, 3, 200])
    def test_one_mail_has_a_line_for_each_sku(self, number: int) -> None:
        skus = [f"RING-{each}" for each in range(number)]
        found = ran(example("nightly_export"), skus=skus)

        (mail,) = [step for step in found.steps if step.step == "mail_report"]
        assert found.state is TrialState.COMPLETED
        assert mail.input["text"].split("\n") == ["Available units:", *(f"{sku}: 1" for sku in skus)]
        assert mail.input["subject"] == f"Available units of {number} SKUs"

    def test_the_units_of_all_places_count_and_none_are_none(self) -> None:
        entry = {
            "id": "e",
            "key": None,
            "version": 1,
            "sku": "RING-17",
            "supply_channel": None,
            "quantity_on_stock": 9,
        }
        entries = [{**entry, "available_quantity": units} for units in (4, -1)]
        stocks = [Answer(output={"entries": entries}), Answer(output={"entries": []})]
        found = ran(example("nightly_export"), {"read_stock": stocks}, skus=["RING-17", "RING-18"])

        (mail,) = [step for step in found.steps if step.step == "mail_report"]
        assert mail.input["text"] == "Available units:\nRING-17: 3\nRING-18: 0"


class TestOrderFlow:
    def test_each_step_shows_its_input_request_answer_output_and_expressions(self) -> None:
        found = ran(example("order_flow"), amount_minor=4200, reference="order-1")

        (step,) = [step for step in found.steps if step.step == "capture"]
        assert step.input == {
            "payment_ref": "sample-1",
            "reference": "order-1",
            "amount_minor": 4200,
            "currency": "EUR",
        }
        (tried,) = step.tries
        assert tried.request == {"integration": "payments", "action": "capture", "input": step.input, "key": None}
        assert tried.answer.is_sample
        assert step.output["amount_minor"] == 4200
        assert ("/do/6/with/reference", "params.reference", "order-1") in [
            (each.at, each.expression, each.value) for each in step.expressions
        ]

    def test_a_failure_before_the_pivot_undoes_what_was_done(self) -> None:
        found = ran(example("order_flow"), {"capture": [Answer(Status.DECLINED, message="no funds")]})

        assert found.state is TrialState.FAILED
        assert states(found)["undo authorise"] == "COMPENSATED"
        assert found.message == "capture: no funds"

    def test_after_the_pivot_nothing_is_undone_and_the_step_has_failed_for_good(self) -> None:
        found = ran(example("order_flow"), {"confirm": [Answer(Status.FAILED)] * 6})

        assert states(found)["confirm"] == "PERMANENTLY_FAILED"
        assert "undo authorise" not in states(found)
        assert found.lasted_s == 1 + 2 + 4 + 8 + 16

    def test_an_unknown_outcome_is_undone_by_nobody(self) -> None:
        found = ran(example("order_flow"), {"capture": [Answer(Status.UNKNOWN)] * 6})

        assert states(found)["capture"] == "PERMANENTLY_FAILED"
        assert "undo authorise" not in states(found)

    def test_a_declined_payment_is_handled_and_the_next_step_follows(self) -> None:
        found = ran(example("order_flow"), {"authorise": [Answer(Status.DECLINED, message="no funds")]})

        assert states(found)["send_refusal"] == "SUCCESS"
        (mail,) = [step for step in found.steps if step.step == "send_refusal"]
        assert mail.input["text"] == "no funds"
        assert found.state is TrialState.FAILED  # refuse_unpaid reads what is not there


class TestTime:
    def test_an_answer_after_the_timeout_of_a_read_is_a_timeout_and_is_retried(self) -> None:
        found = ran(example("order_flow"), {"check_inventory": [Answer(delay_s=31)]})

        (step,) = [step for step in found.steps if step.step == "check_inventory"]
        assert [tried.answer.status for tried in step.tries] == [Status.TIMEOUT, Status.DONE]
        assert step.ended_at_s == 31

    def test_branches_take_the_time_of_the_longest_that_is_waited_for(self) -> None:
        text = "  - id: f1\n    fork:\n      branches:\n        a: {do: [{id: a1, wait: 5s}]}\n        b: {do: [{id: b1, wait: 9s}]}\n"

        assert ran(steps(text)).lasted_s == 9
        assert ran(steps(text + "      join: [a]\n")).lasted_s == 5

    def test_a_workflow_that_takes_too_long_before_its_pivot_fails(self) -> None:
        found = ran(steps("  - {id: w1, wait: 2h}\n  - {id: w3, wait: 1s}\n", "timeout: 1h\n"))

        assert found.message == "w3: the workflow's timeout of 3600 s is over"

    def test_an_event_that_does_not_match_is_waited_for_until_the_timeout(self) -> None:
        text = (
            "  - {id: l1, listen: {event: crossdock.order.confirmed, where: event.data.outcome == 'x'}, timeout: 1m}\n"
        )

        assert ran(steps(text)).message == "l1: nothing came within 60 s"
        matching = Answer(output={"data": {"outcome": "x"}}, delay_s=3)
        assert ran(steps(text), {"l1": [matching]}).lasted_s == 3


class TestControl:
    LOOP = "  - {id: l1, for: {each: sku, in: params.skus, at_most: 2}, do: [{id: s1, set: {x: sku}}]}\n"
    SKUS = "params: {skus: {type: array, default: [A, B]}}\n"

    def test_a_loop_puts_out_a_list_and_shows_each_item(self) -> None:
        found = ran(steps(self.LOOP, self.SKUS))

        assert [step.output for step in found.steps] == [{"x": "A"}, {"x": "B"}, [{"x": "A"}, {"x": "B"}]]

    def test_a_loop_over_more_items_than_its_bound_fails(self) -> None:
        assert ran(steps(self.LOOP, self.SKUS), skus=["A"] * 3).message == "l1: there are 3 items; at_most is 2"

    def test_loops_in_loops_end(self) -> None:
        inner = "{id: l2, for: {each: bb, in: params.skus, at_most: 1000}, do: [{id: w1, call: crm.get_standing, with: {key: \"'k'\"}}]}"
        text = f"  - {{id: l1, for: {{each: aa, in: params.skus, at_most: 1000}}, do: [{inner}]}}\n"

        found = ran(steps(text, "integrations: {crm: hubspot}\n" + self.SKUS), skus=["A"] * 1000)

        assert f"has {trial.MOST_TRIES:,} tries at most" in (found.message or "")

    def test_values_that_are_shown_are_bounded_together(self) -> None:
        text = "  - {id: l1, for: {each: sku, in: params.skus, at_most: 1000}, do: [{id: s1, set: {x: params.skus}}]}\n"

        found = ran(steps(text, self.SKUS), skus=["A" * 20] * 1000)

        assert f"shows {trial.MOST_SHOWN:,} characters at most" in (found.message or "")

    def test_an_input_that_the_action_refuses_is_not_sent(self) -> None:
        found = ran(example("order_flow"), reference="not a reference")

        (step,) = [step for step in found.steps if step.step == "authorise"]
        assert (step.state, step.tries) == (StepState.FAILED, ())
        assert "/with/reference" in (step.message or "")

    def test_end_skips_the_rest(self) -> None:
        found = ran(steps("  - {id: w1, wait: 1s, if: 1 > 0, then: end}\n  - {id: w3, wait: 1s}\n"))

        assert states(found) == {"w1": "SUCCESS"}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("nobody: []", "/nobody"),
        ("confirm: 3", "/confirm"),
        ("confirm: [{state: done}]", "/confirm/0"),
        ("confirm: [{status: perhaps}]", "/confirm/0/status"),
        ("confirm: [{delay_s: -1}]", "/confirm/0/delay_s"),
        ("confirm: [{delay_s: .nan}]", "/confirm/0/delay_s"),
        ("[]", "object"),
        ("{", "not valid"),
    ],
)
def test_wrong_answers_are_refused_with_their_place(text: str, place: str) -> None:
    with pytest.raises(BadRequest, match=place):
        answers.read(text, example("order_flow"))
