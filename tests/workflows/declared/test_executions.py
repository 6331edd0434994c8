"""Executions of declared workflows on a real database: they do what the test run shows, and keep what the engine promises."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from crossdock.app import journeys, shown_journeys
from crossdock.app.personal_data import masked_shows
from crossdock.core.errors import BadRequest, Conflict
from crossdock.db.database import Store, StoreUnavailable, Work
from crossdock.events.model import END, ORIGIN
from crossdock.observability import decisions
from crossdock.observability.decisions import Decision
from crossdock.workflows import service as engine
from crossdock.workflows.declared import executions, listeners_repository, trial
from crossdock.workflows.declared.answers import Answer, Status
from crossdock.workflows.declared.effects import Effects, Making, Scope
from crossdock.workflows.declared.flow import DeclaredFlow
from crossdock.workflows.declared.model import Step, Workflow
from crossdock.workflows.declared.trial_model import StepState as TrialStepState
from crossdock.workflows.model import Driver, ExecutionState, InHub, StepCall, TryEnd
from tests.workflows.declared.systems import (
    HUB,
    Checked,
    Flows,
    Systems,
    answers,
    begun,
    flows_of,
    go_on,
    let_time_pass,
    states,
)
from tests.workflows.declared.test_trial import example, parsed, priced

FAILED, DECLINED, REFUSED, UNKNOWN = (
    Answer(status, message="because") for status in (Status.FAILED, Status.DECLINED, Status.REFUSED, Status.UNKNOWN)
)
ORDER = {
    "reference": "R-1",
    "email": "ada@example.com",
    "sku": "SKU-1",
    "amount_minor": 4200,
    "payment_method": "pm_card_visa",
}
PAID = {
    "payment_ref": "pi_1",
    "state": "authorised",
}


def workflow(text: str, *, version: int = 1, head: str = "") -> Workflow:
    return parsed(workflow_text(text, version=version, head=head))


def workflow_text(text: str, *, version: int = 1, head: str = "") -> str:
    return (
        f"schema: crossdock.workflow/1\nid: w2\nversion: {version}\ntitle: T\n"
        f"integrations: {{crm: hubspot, payments: stripe, mails: smtp_relay}}\n{head}do:\n{text}"
    )


READ = "  - {id: %s, call: crm.find_customer, with: {key: %s}}\n"


def read(name: str, key: str = "\"'ada@example.com'\"") -> str:
    return READ % (name, key)


#: Step → the answers of its tries: what becomes of the order flow.
FATES: dict[str, dict[str, list[Answer]]] = {
    "all is well": {},
    "a read fails twice": answers(check_inventory=[FAILED, FAILED]),
    "a read fails for good": answers(check_inventory=[FAILED] * 10),
    "the payment is declined": answers(authorise=[DECLINED]),
    "the payment is refused": answers(authorise=[REFUSED]),
    "the payment is unknown, then known": answers(authorise=[UNKNOWN]),
    "the capture is refused": answers(capture=[REFUSED]),
    "the capture fails for good": answers(capture=[FAILED] * 10),
    "the mail fails for good": answers(confirm=[FAILED] * 10),
}


class TestAsTheTestRunShows:
    @pytest.mark.parametrize("fate", FATES)
    def test_each_step_of_the_order_flow_ends_as_in_its_test_run(self, store: Store, fate: str) -> None:
        order_flow = example("order_flow")
        shown = trial.run(order_flow, HUB, ORDER, FATES[fate])
        expected: dict[str, str] = {}
        for step in shown.steps:
            expected[step.step] = str(step.state) if not step.is_undo else str(TrialStepState.COMPENSATED)

        systems = Systems({name: list(given) for name, given in FATES[fate].items()})
        flows = flows_of(systems, order_flow)
        execution_id = begun(store, flows["workflow.order_flow.v1"], **ORDER)
        ended = go_on(store, flows, execution_id)

        found = {
            name.partition("@")[0]: state
            for name, state in states(store, flows, execution_id).items()
            if name.partition("@")[0] in expected
        }
        assert found == expected
        assert (ended.state is ExecutionState.COMPLETED) == (str(shown.state) == "COMPLETED")

    def test_it_sends_what_the_test_run_says_that_it_sends(self, store: Store) -> None:
        order_flow = example("order_flow")
        shown = trial.run(order_flow, HUB, ORDER, {})
        requests = [tried.request["input"] for step in shown.steps for tried in step.tries if tried.request]

        systems = Systems()
        flows = flows_of(systems, order_flow)
        go_on(store, flows, begun(store, flows["workflow.order_flow.v1"], **ORDER))

        assert systems.inputs == requests


class TestParams:
    def test_a_missing_param_is_named(self) -> None:
        with pytest.raises(BadRequest, match="Params of order_flow are missing: sku, amount_minor"):
            executions.params_of(
                example("order_flow"), {"reference": "R", "email": "a@b.example", "payment_method": "p"}
            )

    def test_a_default_is_filled_in(self) -> None:
        assert executions.params_of(example("order_flow"), ORDER)["currency"] == "EUR"

    def test_a_wrong_one_is_named_without_its_value(self) -> None:
        with pytest.raises(BadRequest, match="/amount_minor") as refused:
            executions.params_of(example("order_flow"), {**ORDER, "amount_minor": "secret"})
        assert "secret" not in str(refused.value)


class TestLogic:
    def test_a_loop_makes_its_steps_for_each_item_and_a_key_names_the_effect(self, store: Store) -> None:
        systems = Systems()
        flows = flows_of(
            systems,
            workflow(
                "  - id: each\n    for: {each: email, in: params.emails, at_most: 5}\n    do:\n"
                "      - {id: find, call: crm.find_customer, with: {key: email}}\n",
                head="params: {emails: {type: array, items: {type: string, maxLength: 254}}}\n",
            ),
        )
        execution_id = begun(store, flows["workflow.w2.v1"], emails=["a@b.example", "c@d.example"])

        assert go_on(store, flows, execution_id).state is ExecutionState.COMPLETED
        assert systems.inputs == [{"key": "a@b.example"}, {"key": "c@d.example"}]
        assert states(store, flows, execution_id) == {"each": "SUCCESS", "find[0]": "SUCCESS", "find[1]": "SUCCESS"}

    def test_a_step_of_a_long_loop_costs_as_much_as_one_of_a_short_one(self, store: Store) -> None:
        """Each step looked at all the steps before it: 400 items with three steps took a minute."""
        looked = Counter[str]()

        class Counting(Effects):
            def making(self, workflow: Workflow, step: Step, scope: Scope) -> Making:
                looked[step.id] += 1
                return super().making(workflow, step, scope)

        loop = workflow(
            "  - id: each\n    for: {each: item, in: params.numbers, at_most: 50}\n    do:\n"
            "      - {id: keep, set: {n: item}}\n      - {id: find, call: crm.find_customer, with: {key: \"'a@b.example'\"}}\n",
            head="params: {numbers: {type: array, items: {type: integer}}}\n",
        )
        flow = DeclaredFlow(loop, Counting(Systems(), HUB))
        execution_id = begun(store, flow, numbers=list(range(50)))

        assert engine.advance(store, Flows({flow.name: flow}), execution_id).state is ExecutionState.COMPLETED
        assert max(looked.values()) <= 5 * 50

    def test_an_item_whose_transaction_was_rolled_back_is_made_again(self, store: Store) -> None:
        """Whoever remembered it as done would never make it, nor undo what comes after it."""

        class Lost(Effects):
            is_lost = False

            def making(self, workflow: Workflow, step: Step, scope: Scope) -> Making:
                making = super().making(workflow, step, scope)
                return Making(InHub(self._lose)) if step.id == "last" and not self.is_lost else making

            def _lose(self, _work: Work, _call: StepCall) -> TryEnd:
                self.is_lost = True
                raise StoreUnavailable("the connection was lost")

        loop = workflow(
            "  - id: each\n    for: {each: item, in: params.numbers, at_most: 5}\n    do: [{id: keep, set: {n: item}}]\n"
            "  - {id: last, set: {n: 1}}\n",
            head="params: {numbers: {type: array, items: {type: integer}}}\n",
        )
        flow = Checked(loop, Lost(Systems(), HUB))
        flows = Flows({flow.name: flow})
        execution_id = begun(store, flow, numbers=[1, 2, 3])

        with pytest.raises(StoreUnavailable):
            engine.advance(store, flows, execution_id)
        assert states(store, flows, execution_id)["keep[0]"] == "PENDING"
        assert engine.advance(store, flows, execution_id).state is ExecutionState.COMPLETED
        assert {"keep[0]", "keep[1]", "keep[2]"} <= set(states(store, flows, execution_id))

    def test_an_item_is_looked_at_anew_with_other_params(self, store: Store) -> None:
        """What was found of the items belongs to the params that it was found with."""
        text = (
            "  - {id: pay, call: payments.authorise, with: {reference: \"'R'\", amount_minor: 1, currency: \"'EUR'\","
            " payment_method: \"'pm'\"}, pivot: true}\n"
            "  - id: each\n    for: {each: item, in: params.numbers, at_most: 5}\n    do:\n"
            "      - {id: keep, set: {n: item}}\n      - {id: extra, if: 'size(params.numbers) > 1', set: {n: item}}\n"
            + read("find")
        )
        systems = Systems(answers(find=[FAILED] * 10))
        flows = flows_of(systems, workflow(text, head="params: {numbers: {type: array, items: {type: integer}}}\n"))
        execution_id = begun(store, flows["workflow.w2.v1"], numbers=[1])
        assert go_on(store, flows, execution_id).waits_for == "find:act"
        systems.answers.clear()
        params = {"numbers": [1, 2]}
        executions.retry(store, flows, execution_id, newest=False, params=params, reason="one more", actor="ada")

        assert go_on(store, flows, execution_id).state is ExecutionState.COMPLETED
        assert {"extra[0]", "extra[1]"} <= set(states(store, flows, execution_id))

    def test_a_list_that_is_too_long_is_refused_and_named(self, store: Store) -> None:
        flows = flows_of(
            Systems(),
            workflow(
                "  - id: each\n    for: {each: number, in: params.numbers, at_most: 2}\n    do:\n      - {id: keep, set: {n: number}}\n",
                head="params: {numbers: {type: array, items: {type: integer}}}\n",
            ),
        )
        execution_id = begun(store, flows["workflow.w2.v1"], numbers=[1, 2, 3])

        ended = go_on(store, flows, execution_id)
        assert ended.state is ExecutionState.UNDONE
        assert ended.reason == "each: params.numbers: there are 3 items; at_most is 2"

    def test_branches_do_not_wait_for_each_other(self, store: Store) -> None:
        systems = Systems(answers(slow=[FAILED]))
        flows = flows_of(systems, FORKED)
        execution_id = begun(store, flows["workflow.w2.v1"])

        engine.advance(store, flows, execution_id)
        assert [step for step, _ in systems.calls] == ["slow", "quick"]
        assert states(store, flows, execution_id)["after"] == "PENDING"

        assert go_on(store, flows, execution_id).state is ExecutionState.COMPLETED
        assert [step for step, _ in systems.calls] == ["slow", "quick", "slow", "after"]

    def test_a_failed_branch_undoes_what_the_other_did(self, store: Store) -> None:
        paying = (
            "  - id: both\n    fork:\n      branches:\n"
            "        pay:\n          do:\n            - id: authorise\n              call: payments.authorise\n"
            "              with: {reference: \"'R'\", amount_minor: 1, currency: \"'EUR'\", payment_method: \"'pm'\"}\n"
            "              undo: {call: payments.void, with: {payment_ref: output.payment_ref, reference: \"'R'\"}}\n"
            "        look:\n          do:\n            - {id: look, call: crm.find_customer, with: {key: \"'a@b.example'\"}}\n"
        )
        systems = Systems(answers(look=[REFUSED]))
        flows = flows_of(systems, workflow(paying))
        execution_id = begun(store, flows["workflow.w2.v1"])

        assert go_on(store, flows, execution_id).state is ExecutionState.UNDONE
        assert [action for _, action in systems.calls] == ["authorise", "find_customer", "void"]
        assert states(store, flows, execution_id)["authorise"] == "COMPENSATED"

    def test_what_a_branch_did_beside_one_whose_failure_a_handler_takes_is_undone_with_the_rest(
        self, store: Store
    ) -> None:
        """Its steps stay on the way, whichever branch the definition has first, and whatever fails later."""
        text = (
            "  - id: both\n    catch: {handler: note}\n    fork:\n      branches:\n"
            "        look:\n          do: [{id: look, call: crm.find_customer, with: {key: \"'a@b.example'\"}}]\n"
            "        pay:\n          do:\n            - id: authorise\n              call: payments.authorise\n"
            "              with: {reference: \"'R'\", amount_minor: 1, currency: \"'EUR'\", payment_method: \"'pm'\"}\n"
            "              undo: {call: payments.void, with: {payment_ref: output.payment_ref, reference: \"'R'\"}}\n"
            "              retry: {limit: 1, delay: 1s}\n"
            "            - {id: more, call: crm.find_customer, with: {key: \"'a@b.example'\"}}\n" + read("after")
        )
        handler = "handlers: {note: {do: [{id: noted, set: {step: error.step}}]}}\n"
        # The payment is tried once before the look-up has failed for good, and succeeds after that.
        systems = Systems(answers(look=[FAILED, REFUSED], authorise=[UNKNOWN], after=[REFUSED]))
        flows = flows_of(systems, parsed(workflow_text(text) + handler))
        execution_id = begun(store, flows["workflow.w2.v1"])

        assert go_on(store, flows, execution_id).state is ExecutionState.UNDONE
        shown = states(store, flows, execution_id)
        assert (shown["authorise"], shown["noted@both"]) == ("COMPENSATED", "SUCCESS")
        assert ("more", "find_customer") not in systems.calls

    def test_a_wait_takes_its_time_and_no_process(self, store: Store) -> None:
        flows = flows_of(Systems(), workflow("  - {id: pause, wait: 2h}\n" + read("after")))
        execution_id = begun(store, flows["workflow.w2.v1"])

        waiting = engine.advance(store, flows, execution_id)
        assert waiting.next_at is not None
        assert (waiting.next_at - waiting.read_at).total_seconds() == pytest.approx(7200, abs=5)
        assert states(store, flows, execution_id) == {"pause": "RUNNING", "after": "PENDING"}

        let_time_pass(store, execution_id)
        assert engine.advance(store, flows, execution_id).state is ExecutionState.COMPLETED


FORKED = workflow(
    "  - id: both\n    fork:\n      branches:\n"
    "        one: {do: [{id: slow, call: crm.find_customer, with: {key: \"'a@b.example'\"}}]}\n"
    "        two: {do: [{id: quick, call: crm.find_customer, with: {key: \"'a@b.example'\"}}]}\n" + read("after")
)
ASKING = workflow(
    "  - id: ask\n    decide: {question: Go on?, options: [go, stop], default: stop}\n    timeout: 1d\n"
    '  - {id: halt, if: steps.ask.option == "stop", raise: Somebody stopped it}\n' + read("after")
)
LISTENING = workflow(
    "  - id: hear\n    listen: {event: crossdock.order.confirmed, where: event.subject == params.order}\n    timeout: 1h\n"
    + read("after"),
    head="params: {order: {type: string}}\n",
)


class TestTurns:
    def test_an_execution_of_many_calls_leaves_the_others_their_turn_and_goes_on_in_the_next(
        self, store: Store
    ) -> None:
        systems = Systems()
        flows = flows_of(systems, workflow(read("one") + read("two") + read("three")))
        execution_id = begun(store, flows["workflow.w2.v1"])

        engine.go_on(store, flows, execution_id, Driver.EVENTS, for_s=0.0)
        assert [step for step, _ in systems.calls] == ["one"]

        (due,) = engine.take_due(store, Driver.EVENTS)
        assert due.execution_id == execution_id
        assert engine.advance(store, flows, execution_id).state is ExecutionState.COMPLETED


class TestPeople:
    def test_it_waits_for_a_person_and_goes_on_with_their_answer(self, store: Store) -> None:
        flows = flows_of(Systems(), ASKING)
        execution_id = begun(store, flows["workflow.w2.v1"])
        engine.advance(store, flows, execution_id)

        with store.transaction() as work:
            (asked,) = decisions.find(work)
        assert (asked.question, asked.choices, asked.about) == ("T: Go on?", ("go", "stop"), execution_id)

        executions.decide(store, asked, "go", "looks well", "ada")
        ended = engine.advance(store, flows, execution_id)
        assert ended.state is ExecutionState.COMPLETED
        assert states(store, flows, execution_id) == {"ask": "SUCCESS", "halt": "SKIPPED", "after": "SUCCESS"}

    def test_without_an_answer_the_default_counts_and_nobody_is_asked_any_more(self, store: Store) -> None:
        flows = flows_of(Systems(), ASKING)
        execution_id = begun(store, flows["workflow.w2.v1"])

        assert go_on(store, flows, execution_id).state is ExecutionState.UNDONE
        with store.transaction() as work:
            assert decisions.find(work) == []

    def test_a_cancelled_execution_asks_nobody(self, store: Store) -> None:
        flows = flows_of(Systems(), ASKING)
        execution_id = begun(store, flows["workflow.w2.v1"])
        engine.advance(store, flows, execution_id)

        executions.cancel(store, execution_id, reason="wrong one", actor="ada")
        assert engine.advance(store, flows, execution_id).state is ExecutionState.UNDONE
        with store.transaction() as work:
            assert decisions.find(work) == []
            assert executions.status(work, flows, execution_id).state is executions.State.CANCELLED


PAID_FIRST = (
    "  - id: authorise\n    call: payments.authorise\n"
    "    with: {reference: \"'R'\", amount_minor: 1, currency: \"'EUR'\", payment_method: \"'pm'\"}\n"
    "    undo: {call: payments.void, with: {payment_ref: output.payment_ref, reference: \"'R'\"}}\n"
    "  - id: tell\n    call: mails.send_mail\n"
    "    with: {reference: \"'R'\", kind: \"'test'\", from: {address: \"'o@b.example'\"}, to: {address: \"'a@b.example'\"}, subject: \"'S'\", text: \"'T'\"}\n"
    "  - id: ask\n    decide: {question: Go on?, options: [go, stop]}\n    timeout: 1d\n"
)
REFUSABLE = workflow(
    PAID_FIRST
    + "  - id: look\n    switch:\n"
    + '      - {when: steps.ask.option == "stop", do: [{id: halt, cancel: Somebody refused it}]}\n'
    + read("after")
)


def events_of(store: Store) -> list[tuple[str, str | None]]:
    with store.transaction() as work:
        found = work.execute("SELECT type, data::json ->> 'state' FROM event ORDER BY position").fetchall()
    return [(kind, state) for kind, state in found]


class TestCancel:
    """An end that the workflow foresees."""

    def refused(self, store: Store, found: Workflow) -> tuple[Flows, Systems, str]:
        systems = Systems()
        flows = flows_of(systems, found)
        execution_id = begun(store, flows["workflow.w2.v1"])
        engine.advance(store, flows, execution_id)
        with store.transaction() as work:
            (asked,) = decisions.find(work)
        executions.decide(store, asked, "stop", "too dear", "ada")
        go_on(store, flows, execution_id)
        return flows, systems, execution_id

    def test_what_was_done_is_undone_and_what_stays_is_listed(self, store: Store) -> None:
        flows, systems, execution_id = self.refused(store, REFUSABLE)

        with store.transaction() as work:
            found = executions.status(work, flows, execution_id)
        assert (found.state, found.execution.reason) == (executions.State.CANCELLED, "Somebody refused it")
        assert [action for _, action in systems.calls] == ["authorise", "send_mail", "void"]
        assert found.not_undone == ("tell",)
        assert {step.name: str(step.state) for step in found.steps} == {
            "authorise": "COMPENSATED",
            "tell": "SUCCESS",
            "ask": "SUCCESS",
            "look": "SUCCESS",
            "halt": "SUCCESS",
            "after": "SKIPPED",
        }

    def test_nobody_is_told_that_something_failed(self, store: Store) -> None:
        """The event of a failure is what makes a dead letter, and with it an alert."""
        self.refused(store, REFUSABLE)

        assert events_of(store) == [("crossdock.workflow.ended", "CANCELLED")]

    def test_a_raise_at_the_same_place_is_a_failure(self, store: Store) -> None:
        raising = workflow(PAID_FIRST + '  - {id: halt, if: steps.ask.option == "stop", raise: It broke}\n')
        self.refused(store, raising)

        assert [kind for kind, _ in events_of(store)] == ["crossdock.workflow.failed"]

    def test_no_handler_takes_it(self, store: Store) -> None:
        handler = "handlers: {note: {do: [{id: noted, set: {step: error.step}}]}}\n"
        text = PAID_FIRST + "  - {id: halt, cancel: Stop, catch: {handler: note}}\n"
        flows, _, execution_id = self.refused(store, parsed(workflow_text(text) + handler))

        assert states(store, flows, execution_id)["noted"] == "SKIPPED"

    def test_it_is_not_retried(self, store: Store) -> None:
        flows, _, execution_id = self.refused(store, REFUSABLE)

        with pytest.raises(Conflict, match="was cancelled by the workflow: execute the workflow anew"):
            executions.retry(store, flows, execution_id, newest=False, params=None, reason="-", actor="ada")

    def test_it_ends_branches_that_are_at_work(self, store: Store) -> None:
        forked = workflow(
            "  - id: both\n    fork:\n      branches:\n"
            "        one: {do: [{id: pause, wait: 2h}]}\n        two: {do: [{id: halt, cancel: Stop}]}\n"
            + read("after")
        )
        systems = Systems()
        flows = flows_of(systems, forked)
        ended = engine.advance(store, flows, begun(store, flows["workflow.w2.v1"]))

        assert (ended.state, ended.reason, systems.calls) == (ExecutionState.UNDONE, "Stop", [])

    @pytest.mark.parametrize("join", ["[one, two]", "[one]"])
    def test_what_it_is_inside_of_does_not_go_on(self, store: Store, join: str) -> None:
        forked = workflow(
            "  - id: both\n    fork:\n      branches:\n"
            "        one: {do: [{id: choose, switch: [{do: [{id: pause, wait: 2h}]}]}]}\n        two: {do: [{id: halt, cancel: Stop}]}\n"
            f"      join: {join}\n" + read("after")
        )
        flows = flows_of(Systems(), forked)
        execution_id = begun(store, flows["workflow.w2.v1"])
        engine.advance(store, flows, execution_id)

        assert states(store, flows, execution_id) == {
            "both": "SUCCESS",
            "choose": "SUCCESS",
            "pause": "SKIPPED",
            "halt": "SUCCESS",
            "after": "SKIPPED",
        }


def asking_with(shows: str) -> Workflow:
    return workflow(
        f"  - id: ask\n    decide: {{question: Go on?, options: [go, stop], shows: {{{shows}}}}}\n    timeout: 1d\n",
        head="params: {text: {type: string}, number: {type: integer, default: 3}}\n",
    )


class TestShows:
    """What a question is about is read once, when it is asked."""

    def test_a_long_value_is_cut(self, store: Store) -> None:
        flows = flows_of(Systems(), asking_with("text: params.text, number: params.number, all: params"))
        engine.advance(store, flows, begun(store, flows["workflow.w2.v1"], text="x" * 600))

        with store.transaction() as work:
            (asked,) = decisions.find(work)
        cut = "x" * 497 + "..."
        assert asked.shows == {"text": cut, "number": 3, "all": {"text": cut, "number": 3}}

    def test_a_person_in_a_large_value_stays_masked(self, store: Store) -> None:
        """Personal data is found by the names of its fields: a value that became text would have none."""
        person = {"email": "ada@example.com", "last_name": "Lovelace", "points": 3}
        asked = self.asked(store, {"notes": "x" * 600, "customers": [person]})

        masked = masked_shows(asked.shows)["value"]
        assert masked["customers"] == [{"email": "***", "last_name": "***", "points": 3}]

    @pytest.mark.parametrize("value", [["x" * 100] * 1000, {f"field_{n}": [{"n": n}] for n in range(1000)}])
    def test_what_is_shown_of_a_value_has_a_bound_and_says_what_is_left_out(self, store: Store, value: Any) -> None:
        shown = self.asked(store, value).shows["value"]

        assert len(json.dumps(shown)) < 6000
        assert re.fullmatch(r"\.\.\. and \d+ more", shown[-1] if isinstance(shown, list) else list(shown)[-1])

    def asked(self, store: Store, value: Any) -> Decision:
        shows = "  - id: ask\n    decide: {question: Go on?, options: [go, stop], shows: {value: params.value}}\n    timeout: 1d\n"
        flows = flows_of(Systems(), workflow(shows, head="params: {value: {}}\n"))
        engine.advance(store, flows, begun(store, flows["workflow.w2.v1"], value=value))
        with store.transaction() as work:
            (found,) = decisions.find(work)
        return found

    def test_a_value_that_cannot_be_read_is_no_question(self, store: Store) -> None:
        flows = flows_of(Systems(), asking_with("text: \"join(', ', params.text)\""))
        ended = engine.advance(store, flows, begun(store, flows["workflow.w2.v1"], text="x"))

        assert ended.state is ExecutionState.UNDONE
        assert "join() takes" in str(ended.reason)
        with store.transaction() as work:
            assert decisions.find(work) == []


class TestPriceChange:
    """The example of docs/workflows, as the systems and the people answer."""

    FLOW = "workflow.price_change_approval.v1"

    def begun(self, store: Store, amount_minor: int, **given: list[Answer]) -> tuple[Flows, Systems, str]:
        systems = Systems({"read_price": priced(2000), **given})
        flows = flows_of(systems, example("price_change_approval"))
        execution_id = begun(store, flows[self.FLOW], sku="RING-17", amount_minor=amount_minor)
        engine.advance(store, flows, execution_id)
        return flows, systems, execution_id

    def decide(self, store: Store, option: str) -> None:
        with store.transaction() as work:
            (asked,) = decisions.find(work)
        assert asked.question == "Change a price: The change is above the limit. Make it?"
        assert asked.shows == {
            "sku": "RING-17",
            "currency": "EUR",
            "old_amount_minor": 2000,
            "new_amount_minor": 2500,
        }
        executions.decide(store, asked, option, "-", "ada")

    def test_a_small_change_asks_nobody(self, store: Store) -> None:
        flows, systems, execution_id = self.begun(store, 2100)

        assert go_on(store, flows, execution_id).state is ExecutionState.COMPLETED
        assert systems.inputs[-1]["amount_minor"] == 2100

    def test_what_a_person_approved_is_changed_once(self, store: Store) -> None:
        flows, systems, execution_id = self.begun(store, 2500)
        assert [action for _, action in systems.calls] == ["find_price"]

        self.decide(store, "change")

        assert go_on(store, flows, execution_id).state is ExecutionState.COMPLETED
        assert [action for _, action in systems.calls] == ["find_price", "change_price"]
        assert systems.inputs[-1] == {
            "product_id": "product-1",
            "price_id": "price-1",
            "version": 7,
            "currency": "EUR",
            "amount_minor": 2500,
            "rest": {"tiers": []},
        }

    def test_what_a_person_refused_is_not(self, store: Store) -> None:
        flows, systems, execution_id = self.begun(store, 2500)

        self.decide(store, "refuse")

        ended = go_on(store, flows, execution_id)
        assert (ended.state, ended.reason) == (ExecutionState.UNDONE, "Nobody approved the change")
        assert [action for _, action in systems.calls] == ["find_price"]
        with store.transaction() as work:
            assert executions.status(work, flows, execution_id).state is executions.State.CANCELLED

    def test_what_nobody_decided_is_not_after_two_days(self, store: Store) -> None:
        flows, systems, execution_id = self.begun(store, 2500)
        waiting = engine.advance(store, flows, execution_id)
        assert waiting.next_at is not None
        assert (waiting.next_at - waiting.read_at).total_seconds() == pytest.approx(2 * 86_400, abs=30)

        assert go_on(store, flows, execution_id).state is ExecutionState.UNDONE
        assert [action for _, action in systems.calls] == ["find_price"]
        with store.transaction() as work:
            assert decisions.find(work) == []

    def test_a_version_conflict_changes_nothing_and_is_not_tried_again(self, store: Store) -> None:
        """Somebody else changed the product while a person thought about it."""
        flows, systems, execution_id = self.begun(store, 2500, change_price=[REFUSED])

        self.decide(store, "change")

        ended = go_on(store, flows, execution_id)
        assert (ended.state, ended.reason) == (ExecutionState.UNDONE, "change_price: because")
        assert [action for _, action in systems.calls] == ["find_price", "change_price"]
        assert list(systems.effects.values()) == [1], "the read alone"

    def test_an_unknown_outcome_that_becomes_known_is_one_change(self, store: Store) -> None:
        flows, systems, execution_id = self.begun(store, 2100, change_price=[UNKNOWN])

        assert go_on(store, flows, execution_id).state is ExecutionState.COMPLETED
        assert [action for _, action in systems.calls] == ["find_price", "change_price", "change_price"]
        assert list(systems.effects.values()) == [1, 1]


class TestNightlyExport:
    @pytest.mark.parametrize("number", [0, 1, 60])
    def test_each_sku_is_read_once_and_one_mail_is_sent(self, store: Store, number: int) -> None:
        skus = [f"RING-{each}" for each in range(number)]
        systems = Systems()
        flows = flows_of(systems, example("nightly_export"))
        execution_id = begun(store, flows["workflow.nightly_export.v1"], skus=skus, to="ada@example.com")

        assert go_on(store, flows, execution_id).state is ExecutionState.COMPLETED
        assert [given["sku"] for given in systems.inputs[:-1]] == skus
        assert systems.inputs[-1]["to"] == {"address": "ada@example.com"}
        assert systems.inputs[-1]["text"] == "\n".join(["Available units:", *(f"{sku}: 1" for sku in skus)])

    def test_a_stock_that_cannot_be_read_now_is_read_again_and_no_mail_is_sent_without_it(self, store: Store) -> None:
        systems = Systems(answers(read_stock=[Answer(), FAILED]))
        flows = flows_of(systems, example("nightly_export"))
        execution_id = begun(store, flows["workflow.nightly_export.v1"], skus=["RING-1", "RING-2"])

        assert go_on(store, flows, execution_id).state is ExecutionState.COMPLETED
        assert [action for _, action in systems.calls] == ["get_inventory"] * 3 + ["send_mail"]


class TestEvents:
    def test_it_hears_only_the_event_that_it_waits_for(self, store: Store) -> None:
        flows = flows_of(Systems(), LISTENING)
        execution_id = begun(store, flows["workflow.w2.v1"], order="ord_1")
        engine.advance(store, flows, execution_id)

        with store.transaction() as work:
            executions.hear(work, [(END, {"type": "crossdock.order.confirmed", "subject": "ord_2", "data": {}})])
        assert engine.advance(store, flows, execution_id).state is ExecutionState.RUNNING

        with store.transaction() as work:
            executions.hear(work, [(END, {"type": "crossdock.order.confirmed", "subject": "ord_1", "data": {}})])
        assert engine.advance(store, flows, execution_id).state is ExecutionState.COMPLETED
        with store.transaction() as work:
            assert listeners_repository.waiting(work, ["crossdock.order.confirmed"]) == []

    def test_what_was_stored_before_it_waited_is_not_heard(self, store: Store) -> None:
        flows = flows_of(Systems(), LISTENING)
        execution_id = begun(store, flows["workflow.w2.v1"], order="ord_1")
        engine.advance(store, flows, execution_id)

        with store.transaction() as work:
            old = (ORIGIN, {"type": "crossdock.order.confirmed", "subject": "ord_1", "data": {}})
            assert executions.hear(work, [old]) == 0

    def test_what_does_not_come_in_time_fails_the_step(self, store: Store) -> None:
        flows = flows_of(Systems(), LISTENING)
        ended = go_on(store, flows, begun(store, flows["workflow.w2.v1"], order="ord_1"))

        assert ended.state is ExecutionState.UNDONE
        assert "no crossdock.order.confirmed came within 3600 s" in (ended.reason or "")


class TestFailures:
    def stuck(self, store: Store) -> tuple[Any, Systems, str]:
        """Execute the order flow up to a mail that cannot be sent, after its pivot."""
        systems = Systems(answers(confirm=[FAILED] * 6))
        flows = flows_of(systems, example("order_flow"))
        execution_id = begun(store, flows["workflow.order_flow.v1"], **ORDER)
        go_on(store, flows, execution_id)
        return flows, systems, execution_id

    def failed_events(self, store: Store) -> list[dict[str, Any]]:
        with store.transaction() as work:
            rows = work.execute("SELECT data::text FROM event WHERE type = 'crossdock.workflow.failed'").fetchall()
        return [json.loads(row[0]) for row in rows]

    def test_a_step_after_the_pivot_has_failed_for_good_when_its_retries_are_used_up(self, store: Store) -> None:
        flows, systems, execution_id = self.stuck(store)

        with store.transaction() as work:
            found = executions.status(work, flows, execution_id)
        confirm = next(step for step in found.steps if step.name == "confirm")
        assert (found.state, confirm.state, confirm.retries) == ("FAILED", "PERMANENTLY_FAILED", 5)
        (event,) = self.failed_events(store)
        assert (event["step"], event["error"], event["execution_id"]) == ("confirm", "failed", execution_id)
        assert "void" not in [action for _, action in systems.calls]

    def test_retried_with_other_params_it_goes_on_where_it_is(self, store: Store) -> None:
        flows, systems, execution_id = self.stuck(store)
        calls = len(systems.calls)
        executions.retry(
            store,
            flows,
            execution_id,
            newest=False,
            params={**ORDER, "email": "bob@example.com"},
            reason="wrong address",
            actor="ada",
        )

        assert go_on(store, flows, execution_id).state is ExecutionState.COMPLETED
        assert [step for step, _ in systems.calls[calls:]] == ["confirm"]
        assert systems.inputs[-1]["to"] == {"address": "bob@example.com"}

    def test_params_with_which_something_done_would_have_no_place_are_refused(self, store: Store) -> None:
        systems = Systems(answers(second=[FAILED] * 6))
        text = "  - {id: first, if: params.go, call: crm.find_customer, with: {key: \"'a@b.example'\"}}\n"
        pivot = (
            "  - id: charge\n    call: payments.capture\n    pivot: true\n"
            "    with: {payment_ref: \"'pi_1'\", reference: \"'R'\", amount_minor: 1, currency: \"'EUR'\"}\n"
        )
        flows = flows_of(systems, workflow(text + pivot + read("second"), head="params: {go: {type: boolean}}\n"))
        execution_id = begun(store, flows["workflow.w2.v1"], go=True)
        go_on(store, flows, execution_id)

        with pytest.raises(Conflict, match="would not have done first as it did"):
            executions.retry(store, flows, execution_id, newest=False, params={"go": False}, reason="-", actor="ada")

    def test_params_that_something_done_was_given_cannot_change(self, store: Store) -> None:
        """Its undo would name what was never sent."""
        flows, _, execution_id = self.stuck(store)

        with pytest.raises(Conflict, match="would not have done authorise, capture as it did"):
            executions.retry(
                store,
                flows,
                execution_id,
                newest=False,
                params={**ORDER, "amount_minor": 1},
                reason="-",
                actor="ada",
            )

    def test_two_who_retry_what_was_undone_begin_one_execution(self, store: Store) -> None:
        flows = flows_of(Systems(answers(capture=[REFUSED])), example("order_flow"))
        execution_id = begun(store, flows["workflow.order_flow.v1"], **ORDER)
        go_on(store, flows, execution_id)

        one, other = (
            executions.retry(store, flows, execution_id, newest=False, params=None, reason="-", actor=actor)
            for actor in ("ada", "otto")
        )
        assert one.execution_id == other.execution_id

    def test_what_somebody_cancelled_is_not_retried(self, store: Store) -> None:
        flows = flows_of(Systems(), ASKING)
        execution_id = begun(store, flows["workflow.w2.v1"])
        executions.cancel(store, execution_id, reason="-", actor="ada")
        go_on(store, flows, execution_id)

        with pytest.raises(Conflict, match="was cancelled by ada"):
            executions.retry(store, flows, execution_id, newest=False, params=None, reason="-", actor="ada")

    def test_what_was_undone_begins_anew_and_is_an_execution_of_its_own(self, store: Store) -> None:
        systems = Systems(answers(capture=[REFUSED]))
        flows = flows_of(systems, example("order_flow"))
        execution_id = begun(store, flows["workflow.order_flow.v1"], **ORDER)
        assert go_on(store, flows, execution_id).state is ExecutionState.UNDONE
        assert [event["step"] for event in self.failed_events(store)] == ["capture"]

        anew = executions.retry(store, flows, execution_id, newest=False, params=None, reason="-", actor="ada")
        assert anew.execution_id != execution_id
        assert go_on(store, flows, anew.execution_id).state is ExecutionState.COMPLETED

    def test_what_wrote_and_has_no_undo_is_named_when_the_rest_is_undone(self, store: Store) -> None:
        flows = flows_of(Systems(), example("order_flow"))
        execution_id = begun(store, flows["workflow.order_flow.v1"], **ORDER)
        go_on(store, flows, execution_id)
        executions.cancel(store, execution_id, reason="-", actor="ada")
        go_on(store, flows, execution_id)

        with store.transaction() as work:
            found = executions.status(work, flows, execution_id)
        assert (found.state, found.not_undone) == ("CANCELLED", ("capture", "confirm"))

    def test_a_cancelled_execution_is_no_failure(self, store: Store) -> None:
        flows = flows_of(Systems(), example("order_flow"))
        execution_id = begun(store, flows["workflow.order_flow.v1"], **ORDER)
        go_on(store, flows, execution_id)
        executions.cancel(store, execution_id, reason="customer's wish", actor="ada")

        go_on(store, flows, execution_id)
        assert self.failed_events(store) == []


class TestJourney:
    def test_it_has_each_try_each_output_and_what_people_did(self, store: Store) -> None:
        systems = Systems(answers(find=[FAILED]))
        flows = flows_of(systems, workflow(read("find")))
        execution_id = begun(store, flows["workflow.w2.v1"])
        go_on(store, flows, execution_id)
        executions.cancel(store, execution_id, reason="by mistake", actor="ada")
        go_on(store, flows, execution_id)

        found = journeys.read(store, journeys.Subject.EXECUTION, execution_id)

        assert [(entry.kind, entry.name, entry.state) for entry in found.entries if entry.kind != "event"] == [
            ("step", "find", "failed"),
            ("step", "find", "done"),
            ("mapping", "find", None),
            ("act", "execution.cancel", None),
            ("undo", "find", "nothing"),
        ]

    def test_who_may_not_see_personal_data_sees_no_output(self, store: Store) -> None:
        flows = flows_of(Systems(), workflow(read("find")))
        execution_id = begun(store, flows["workflow.w2.v1"])
        go_on(store, flows, execution_id)
        found = journeys.read(store, journeys.Subject.EXECUTION, execution_id)
        (mapping,) = [entry for entry in found.entries if entry.kind == "mapping"]

        shown = shown_journeys.shown(found, mapping, is_revealed=False)

        assert "ada@example.com" in str(mapping.detail)
        assert "ada@example.com" not in str(shown.detail)
