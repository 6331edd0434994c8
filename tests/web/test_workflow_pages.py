"""Workflows and their executions: what each page shows to whom, and what a person does there."""

from __future__ import annotations

import json
import re
from html import unescape
from itertools import pairwise
from pathlib import Path

import pytest

from crossdock import web
from crossdock.app.workflows import read
from crossdock.db.database import Store
from crossdock.web.workflow_graph import graph_of
from crossdock.workflows.declared.answers import Answer, Status
from crossdock.workflows.model import Driver
from tests.api.conftest import Hub
from tests.shop import query
from tests.web.conftest import Found, Visitor
from tests.web.hostile import ATTRIBUTE, SCRIPT
from tests.web.test_quarantine import text_of
from tests.web.workflows import PAYMENT, REFUND, SECOND, SMALL, add, executed, waiting

LOOKED_UP = f"look_up: [{{output: {json.dumps(PAYMENT)}}}]\n"
WORKFLOWS = Path(__file__).parents[2] / "docs/workflows"
#: All is undone; or nobody knows, and a person has to decide.
FAILED, UNKNOWN = (
    {"pay_back": [Answer(status, message="Stripe is away")] * 10} for status in (Status.FAILED, Status.UNKNOWN)
)


@pytest.fixture
def dora(pages_server: Hub) -> Visitor:
    """A developer."""
    return Visitor(pages_server, "dora")


@pytest.fixture
def uma(pages_server: Hub) -> Visitor:
    """A business user."""
    return Visitor(pages_server, "uma")


class TestTheListOfWorkflows:
    def test_each_has_its_versions_and_its_last_executions(self, hub_store: Store, vera: Visitor) -> None:
        add(hub_store)
        executed(hub_store)
        executed(hub_store, answers=FAILED, run_id="run_2")
        add(hub_store, SECOND, deploys=False)
        page = text_of(vera.get("/workflows"))

        assert "Refund a payment refund_with_approval 2 version 1" in page
        assert "2 executions, 1 completed, 1 failed" in page

    def test_only_a_developer_is_offered_a_new_one(self, hub_store: Store, vera: Visitor, dora: Visitor) -> None:  # noqa: ARG002  empty
        assert "New workflow" not in text_of(vera.get("/workflows")).partition("No workflow")[0]
        assert "New workflow" in text_of(dora.get("/workflows")).partition("No workflow")[0]


class TestOneWorkflow:
    def test_the_text_has_line_numbers_and_the_graph_leads_to_them(self, hub_store: Store, vera: Visitor) -> None:
        add(hub_store)
        html = vera.get("/workflows/refund_with_approval")
        line = next(number for number, line in enumerate(REFUND.splitlines(), 1) if "id: pay_back" in line)

        assert f'<span id="L{line}"><i>{line}</i>  - id: pay_back' in html
        assert re.search(rf'<a href="#L{line}"[^>]*aria-label="pay_back', html)
        assert "pivot: no way back" in html
        assert "then: check_answer" in html

    def test_a_tab_that_somebody_may_not_open_is_not_there(
        self, hub_store: Store, vera: Visitor, dora: Visitor, uma: Visitor
    ) -> None:
        add(hub_store)
        tabs = {
            each.name: {link.rpartition("/")[2] for link in Found(each.get("/workflows/refund_with_approval")).links}
            & {"edit", "test", "deploy", "execute"}
            for each in (vera, uma, dora)
        }

        assert tabs == {
            "vera": {"deploy"},
            "uma": {"deploy", "execute"},
            "dora": {"edit", "test", "deploy", "execute"},
        }


class TestTheEditor:
    def test_problems_are_shown_with_their_lines_and_nothing_is_stored(self, hub_store: Store, dora: Visitor) -> None:
        query(hub_store, "SELECT 1")
        html = check(
            dora,
            "schema: crossdock.workflow/1\nid: w1\nversion: 1\ntitle: T\ndo:\n  - {id: a, wait: 1s}\n  - {id: a}\n",
        )

        assert 'data-line="7"' in html
        assert "needs exactly one of call" in text_of(html)
        assert query(hub_store, "SELECT count(*) FROM workflow_version") == [(0,)]

    def test_a_valid_text_is_said_to_be_valid_and_drawn(self, hub_store: Store, dora: Visitor) -> None:
        add(hub_store, deploys=False)
        html = check(dora, SECOND)

        assert "The text is valid" in html
        assert 'aria-label="pay_back' in html

    def test_what_is_probably_not_meant_is_a_warning_beside_a_valid_text(self, hub_store: Store, dora: Visitor) -> None:
        add(hub_store, deploys=False)
        call = "    call: payments.get_payment\n"
        html = check(dora, SECOND.replace(call, f"    if: params.amount_minor > 5\n{call}"))

        assert "The text is valid" in html
        assert "look_up may be skipped (it has a condition): this reads null then" in html
        assert '<ul class="findings">' not in html, "its lines would be marked as wrong"

    def test_the_example_to_start_from_is_valid_and_is_stored_as_it_is(self, hub_store: Store, dora: Visitor) -> None:
        assert "The text is valid" in dora.get("/workflow-editor")
        page = save(dora, "/workflow-editor")

        assert "Test run of version 1" in page
        ((stored,),) = query(hub_store, "SELECT definition FROM workflow_version")
        assert stored.startswith("# An example")
        assert "\r" not in stored
        assert stored.endswith("\n")

    def test_one_begins_with_the_next_version(self, hub_store: Store, dora: Visitor) -> None:
        add(hub_store)
        html = dora.get("/workflows/refund_with_approval/edit")

        assert unescape(html.partition("<textarea")[2]).count("\nversion: 2\n") == 1
        save(dora, "/workflows/refund_with_approval/edit")
        assert query(hub_store, "SELECT version FROM workflow_version ORDER BY version") == [(1,), (2,)]

    def test_what_is_refused_stays_as_it_was_typed(self, hub_store: Store, dora: Visitor) -> None:
        add(hub_store)
        changed = REFUND.replace("Refund this amount?", "Really?")
        page = save(dora, "/workflow-editor", changed)

        assert dora.status == 409
        assert "Give this text the version 2" in text_of(page)
        assert "question: Really?" in page
        wrong = save(dora, "/workflow-editor", changed.replace("version: 1", "version: none"))
        assert dora.status == 400
        assert "line 4" in text_of(wrong)

    def test_the_words_to_complete_have_fields_and_actions_with_their_arguments(
        self, hub_store: Store, dora: Visitor
    ) -> None:
        add(hub_store, deploys=False)
        words = json.loads(unescape(re.findall(r'data-words="([^"]*)"', dora.get("/workflow-editor"))[0]))

        assert "amount_minor" in words["actions"]["payments.refund"]["with"]
        assert {"call", "switch", "undo", "pivot"} <= set(words["fields"]["do"])
        assert {"limit", "delay"} <= set(words["fields"]["retry"])
        assert "crossdock.order.confirmed" in words["events"]


def check(visitor: Visitor, text: str) -> str:
    token = re.findall(r'name="session_token" value="(\w+)"', visitor.get("/workflow-editor"))[0]
    fields = {"session_token": token, "definition": text.replace("\n", "\r\n")}
    return visitor.send("POST", "/workflow-checks", data=fields, headers={"Origin": visitor.hub.url}).text


def save(visitor: Visitor, page: str, text: str | None = None) -> str:
    html = visitor.get(page)
    shown = unescape(html.partition("<textarea")[2].partition(">")[2].partition("</textarea>")[0])
    typed = (shown if text is None else text).strip("\n")
    return visitor.post(page, "/pages/workflows", definition=typed.replace("\n", "\r\n"))


def test_the_script_of_the_editor_stays_small() -> None:
    assert len((Path(web.__file__).parent / "static/workflow-editor.js").read_bytes()) <= 8 * 1024


class TestTheTestRun:
    def test_each_step_is_shown_with_its_expressions_and_answers(self, hub_store: Store, dora: Visitor) -> None:
        add(hub_store, deploys=False)
        answers = LOOKED_UP + "pay_back:\n  - {status: failed, message: Stripe is away}\n"
        page = dora.post(
            "/workflows/refund_with_approval/test", "/test", params="amount_minor: 1\nreference: R-1", answers=answers
        )
        text = text_of(page)

        assert "Completed" in text
        assert "pay_back Success 1 retry" in text
        assert "Failed, Stripe is away" in text
        assert "steps.look_up.currency" in text
        assert "amount_minor: 1\nreference: R-1" in unescape(page)
        assert query(hub_store, "SELECT tested_at IS NOT NULL FROM workflow_version") == [(True,)]

    def test_one_that_fails_is_shown_with_its_reason(self, hub_store: Store, dora: Visitor) -> None:
        add(hub_store, deploys=False)
        answers = "look_up: [{status: refused, message: No such payment}]\n"
        page = dora.post("/workflows/refund_with_approval/test", "/test", params="amount_minor: 1", answers=answers)

        assert dora.status == 200
        assert "Failed : look_up: No such payment" in text_of(page)
        assert query(hub_store, "SELECT tested_at FROM workflow_version") == [(None,)]

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ("amount_minor: none", "/amount_minor"),
            ("other: 1", "is not a param"),
            ("{", "cannot be read"),
            ("reference: 2026-12-01", "JSON has not"),
            ("reference: '4111 1111 1111 1111'", "card number"),
        ],
    )
    def test_what_it_cannot_take_is_named_beside_what_was_typed(
        self, hub_store: Store, dora: Visitor, params: str, message: str
    ) -> None:
        add(hub_store, deploys=False)
        page = dora.post("/workflows/refund_with_approval/test", "/test", params=params)

        assert message in text_of(page)
        assert query(hub_store, "SELECT tested_at FROM workflow_version") == [(None,)]


class TestTheDeployment:
    def test_the_checklist_names_what_is_missing(self, hub_store: Store, otto: Visitor) -> None:
        add(hub_store, deploys=False)
        query(hub_store, "UPDATE integration SET test_passed = false RETURNING 1")
        page = otto.get("/workflows/refund_with_approval/deploy")

        assert "Open Tested — no test run of it has completed" in text_of(page)
        assert "its connection has not passed a test" in text_of(page)
        assert "<form" not in page

    def test_it_shows_what_changes_and_deploys_the_version_that_was_shown(
        self, hub_store: Store, dora: Visitor, otto: Visitor
    ) -> None:
        add(hub_store)
        add(hub_store, SECOND, deploys=False)
        dora.post("/workflows/refund_with_approval/test", "/test", params="amount_minor: 1", answers=LOOKED_UP)
        page = otto.get("/workflows/refund_with_approval/deploy")

        assert '<span class="minus">-    timeout: 3d</span>' in page
        assert '<span class="plus">+    timeout: 2d</span>' in page
        otto.post("/workflows/refund_with_approval/deploy", "/deploy")
        assert otto.status == 303
        assert query(hub_store, "SELECT version, deployed_by FROM workflow_deployment") == [(2, "airflow:otto")]
        assert "This version is deployed" in otto.get("/workflows/refund_with_approval/deploy")


class TestExecute:
    def test_the_form_has_a_field_for_each_param(self, hub_store: Store, uma: Visitor) -> None:
        add(hub_store)
        (form,) = Found(uma.get("/workflows/refund_with_approval/execute")).forms
        page = uma.post(
            "/workflows/refund_with_approval/execute",
            "/execute",
            **{f"param_{name}": str(value) for name, value in SMALL.items()},
        )

        assert form["param_limit_minor"] == "10000"
        assert "version 1" in text_of(page)
        assert query(hub_store, "SELECT input, created_by FROM execution") == [
            ({**SMALL, "limit_minor": 10_000}, "airflow:uma")
        ]

    def test_the_same_form_sent_twice_starts_one(self, hub_store: Store, uma: Visitor) -> None:
        add(hub_store)
        fields = {f"param_{name}": str(value) for name, value in SMALL.items()}
        for _ in range(2):
            uma.post("/workflows/refund_with_approval/execute", "/execute", attempt="0" * 32, **fields)

        assert query(hub_store, "SELECT count(*) FROM execution") == [(1,)]

    @pytest.mark.parametrize(
        ("field", "value"), [("param_amount_minor", "much"), ("param_amount_minor", "0"), ("attempt", "x")]
    )
    def test_what_it_cannot_take_is_named(self, hub_store: Store, uma: Visitor, field: str, value: str) -> None:
        add(hub_store)
        fields = {f"param_{name}": str(each) for name, each in SMALL.items()}
        page = uma.post("/workflows/refund_with_approval/execute", "/execute", **{**fields, field: value})

        assert uma.status == 400
        assert "/amount_minor" in page or "not complete" in page
        assert query(hub_store, "SELECT count(*) FROM execution") == [(0,)]

    def test_one_that_is_not_deployed_says_so(self, hub_store: Store, uma: Visitor) -> None:
        add(hub_store, deploys=False)

        assert "No version is deployed" in uma.get("/workflows/refund_with_approval/execute")


class TestExecutions:
    def test_filters_stand_in_the_address(self, pages: Hub, hub_store: Store, vera: Visitor) -> None:
        add(hub_store)
        good, bad = executed(hub_store), executed(hub_store, answers=FAILED, run_id="run_2")

        def listed(path: str) -> set[str]:
            return set(re.findall(r"/executions/(exe_\w+)", vera.get(path)))

        assert listed("/executions") == {good.execution_id, bad.execution_id}
        assert listed("/executions?workflow_id=&state=COMPLETED") == {good.execution_id}
        assert listed("/executions?workflow_id=refund_with_approval&state=FAILED") == {bad.execution_id}
        of_api = pages.call("GET", "/v1/executions?state=FAILED", "vera").json()["executions"]
        assert [each["execution_id"] for each in of_api] == [bad.execution_id]
        assert listed("/executions?state=RUNNING") == listed("/executions?state=CANCELLED") == set()

    def test_one_shows_each_step_with_its_tries_and_leads_to_its_question(
        self, hub_store: Store, vera: Visitor
    ) -> None:
        add(hub_store)
        failed = executed(hub_store, answers=UNKNOWN)
        html = vera.get(f"/executions/{failed.execution_id}")
        page = text_of(html)

        assert "pay_back Failed for good 5 Stripe is away" in page
        assert "approve Skipped" in page
        assert re.search(r'<rect class="g-node bad', html)
        assert "It waits for a person to decide about pay back" in page
        link = next(link for link in Found(html).links if "/decisions?about=" in link)
        decisions = vera.get(link.removeprefix("/hub/pages"))
        assert f"/executions/{failed.execution_id}" in decisions

    def test_a_question_of_the_workflow_leads_there_and_back(self, hub_store: Store, vera: Visitor) -> None:
        add(hub_store)
        asks = waiting(hub_store)
        html = vera.get(f"/executions/{asks.execution_id}")

        assert "It waits for a person" in text_of(html)
        assert f"/decisions?about={asks.execution_id}" in html
        assert f"/executions/{asks.execution_id}" in vera.get(f"/decisions?about={asks.execution_id}")

    def test_params_and_outputs_are_shown_to_operators_and_that_is_recorded(
        self, hub_store: Store, vera: Visitor, dora: Visitor, otto: Visitor
    ) -> None:
        add(hub_store)
        found = executed(hub_store, {**SMALL, "reference": "for-ada"})
        path = f"/executions/{found.execution_id}"

        for each in (vera, dora):
            assert "for-ada" not in each.get(path)
        assert "for-ada" not in otto.get("/executions")
        assert "for-ada" in otto.get(path)
        revealed = "SELECT actor FROM audit_entry WHERE act = 'personal_data.reveal' AND subject = %s"
        assert query(hub_store, revealed, f"execution/{found.execution_id}") == [("airflow:otto",)]

    def test_the_dag_run_leads_to_it_and_it_to_the_dag_run(self, hub_store: Store, vera: Visitor) -> None:
        add(hub_store)
        found = executed(hub_store, run_id="api__1", driver=Driver.DAG)

        assert "/dags/workflow_refund_with_approval/runs/api__1" in vera.get(f"/executions/{found.execution_id}")
        page = vera.get("/dag-run?dag_id=workflow_refund_with_approval&run_id=api__1")
        assert found.execution_id in page
        assert "The hub has no run" in vera.get("/dag-run?dag_id=workflow_refund_with_approval&run_id=api__2")

    def test_its_dead_letter_is_linked_and_leads_back(self, hub_store: Store, otto: Visitor) -> None:
        add(hub_store)
        failed = executed(hub_store, answers=FAILED)
        letter = dead_letter(hub_store, failed.execution_id)

        assert f"/dead-letters/{letter}" in otto.get(f"/executions/{failed.execution_id}")
        assert f"/executions/{failed.execution_id}" in otto.get(f"/dead-letters/{letter}")

    def test_one_is_cancelled_with_a_reason(self, hub_store: Store, otto: Visitor, vera: Visitor) -> None:
        add(hub_store)
        asks = waiting(hub_store)
        otto.post(f"/executions/{asks.execution_id}", "/cancel", reason="not needed")

        assert otto.status == 303
        assert query(hub_store, "SELECT cancelled_by FROM execution") == [("airflow:otto",)]
        assert "not needed" not in vera.get(f"/executions/{asks.execution_id}")
        assert "its cancellation has begun · by airflow:otto: not needed" in text_of(
            otto.get(f"/executions/{asks.execution_id}")
        )

    def test_one_is_retried_with_the_deployed_version(self, hub_store: Store, otto: Visitor) -> None:
        add(hub_store)
        failed = executed(hub_store, answers=UNKNOWN)
        add(hub_store, SECOND)
        otto.post(f"/executions/{failed.execution_id}", "/retry", version="deployed", reason="it is mended")

        assert otto.status == 303
        assert query(hub_store, "SELECT flow, waits_for FROM execution") == [("workflow.refund_with_approval.v2", None)]

    def test_params_that_a_write_of_unknown_outcome_was_given_stay(self, hub_store: Store, otto: Visitor) -> None:
        add(hub_store)
        failed = executed(hub_store, answers=UNKNOWN)
        page = otto.post(
            f"/executions/{failed.execution_id}", "/retry", param_reference="R-2", reason="wrong reference"
        )

        assert otto.status == 409
        assert "would not have done pay_back as it did" in page

    def test_one_that_was_undone_begins_anew(self, hub_store: Store, otto: Visitor) -> None:
        add(hub_store)
        failed = executed(hub_store, answers=FAILED)
        page = otto.post(f"/executions/{failed.execution_id}", "/retry", reason="it answers again")

        assert failed.execution_id not in page
        assert query(hub_store, "SELECT flow, subject LIKE '%%/retry\\_\\_%%' FROM execution ORDER BY created_at") == [
            ("workflow.refund_with_approval.v1", False),
            ("workflow.refund_with_approval.v1", True),
        ]

    def test_a_viewer_is_offered_nothing(self, hub_store: Store, vera: Visitor) -> None:
        add(hub_store)

        assert "<form" not in vera.get(f"/executions/{executed(hub_store).execution_id}")


def dead_letter(store: Store, execution_id: str) -> int:
    """Have the event of a failed execution be dead."""
    ((found,),) = query(
        store,
        """
        INSERT INTO dead_letter (subscriber, state, attempts, next_attempt_at, cause, reason, epoch, xid, position, event_id,
                                 source, type, subject, time, partition_key, partition, correlation_id, schema_version, data)
        SELECT 'failed_executions', 'dead', 1, now(), 'StepFailedForGood', 'failed', epoch, xid, position, event_id,
               source, type, subject, time, partition_key, 0, correlation_id, schema_version, data
          FROM event WHERE type = 'crossdock.workflow.failed' AND subject = %s RETURNING dead_letter_id
        """,
        execution_id,
    )
    return int(found)


class TestHostileText:
    @pytest.mark.parametrize("text", [SCRIPT, ATTRIBUTE])
    def test_no_field_of_a_definition_runs(self, hub_store: Store, dora: Visitor, otto: Visitor, text: str) -> None:
        said = json.dumps(text)
        definition = (
            f"schema: crossdock.workflow/1\nid: hostile\nversion: 1\ntitle: {said}\ndescription: {said}\n"
            f"params: {{p1: {{type: string, title: {said}, description: {said}, default: {said}, examples: [{said}]}}}}\n"
            f"do:\n  - id: ask\n    decide: {{question: {said}, options: [aa, bb]}}\n    timeout: 1d\n"
            f"  - id: choose\n    switch: [{{when: {json.dumps(f'params.p1 == {said}')}, do: [{{id: w1, wait: 1s}}]}}]\n"
            f"  - {{id: stop, if: 'false', raise: {said}}}\n"
        )
        pages = [
            check(dora, definition),
            check(dora, f"{definition}{text}: 1\n"),
            save(dora, "/workflow-editor", definition),
        ]
        pages.append(dora.post("/workflows/hostile/test", "/test", params=json.dumps({"p1": text}), answers=text))
        pages.append(dora.post("/workflows/hostile/test", "/test", params=json.dumps({"p1": text})))
        otto.post("/workflows/hostile/deploy", "/deploy")
        found = executed(hub_store, {"p1": text}, workflow_id="hostile")
        pages += [dora.get(f"/workflows/hostile{tab}") for tab in ("", "/edit", "/test", "/deploy", "/execute")]
        pages += [otto.get("/workflows"), otto.get(f"/executions/{found.execution_id}"), otto.get("/executions")]

        for page in pages:
            assert text not in page
        assert text in unescape(pages[-2])


class TestTheGraph:
    def test_no_two_steps_overlap_and_all_are_inside(self) -> None:
        drawn = graph_of(read(NESTED))
        boxes = [(node.x, node.y, node.x + 224, node.y + node.height) for node in drawn.nodes]

        for number, (left, top, right, bottom) in enumerate(boxes):
            assert 0 <= left < right <= drawn.width
            assert 0 <= top < bottom <= drawn.height
            for other in boxes[number + 1 :]:
                assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
        assert {node.step for node in drawn.nodes} == {
            "",
            "s1",
            "a1",
            "b1",
            "b2",
            "v1",
            "v2",
            "each",
            "w1",
            "f1",
            "x1",
            "y1",
            "last",
            "h1",
        }

    def test_every_way_ends_at_a_step_or_where_a_way_leads_by(self) -> None:
        drawn = graph_of(read(NESTED))
        tops = {(node.x + 112, node.y - 4) for node in drawn.nodes}
        ends = {corners(edge.path)[-1] for edge in drawn.edges if not edge.is_jump}

        assert len(ends - tops) == 1, "no case of the switch may be taken"
        reached = {node.step for node in drawn.nodes if (node.x + 112, node.y - 4) in ends}
        assert reached == {node.step for node in drawn.nodes} - {"h1"}, "a handler is named by its step"

    @pytest.mark.parametrize("name", ["nested", "order_flow", "refund_with_approval"])
    def test_no_way_crosses_a_step(self, name: str) -> None:
        drawn = graph_of(read(NESTED if name == "nested" else (WORKFLOWS / f"{name}.yaml").read_text()))

        for edge in drawn.edges:
            for (x1, y1), (x2, y2) in pairwise(corners(edge.path)):
                for node in drawn.nodes:
                    is_beside = max(x1, x2) <= node.x or min(x1, x2) >= node.x + 224
                    is_apart = max(y1, y2) <= node.y or min(y1, y2) >= node.y + node.height
                    assert is_beside or is_apart, f"{edge.path} crosses {node.step}"


def corners(path: str) -> list[tuple[float, float]]:
    """Read the corners of a path of straight lines."""
    found: list[tuple[float, float]] = []
    for kind, at, other in re.findall(r"([MHV])([-\d.]+)(?: ([-\d.]+))?", path):
        last = found[-1] if found else (0.0, 0.0)
        found.append({"M": (float(at), float(other or 0)), "H": (float(at), last[1]), "V": (last[0], float(at))}[kind])
    return found


NESTED = """
schema: crossdock.workflow/1
id: nested
version: 1
title: T
do:
  - id: s1
    switch:
      - when: "true"
        do: [{id: a1, wait: 1s}]
      - when: "false"
        do:
          - {id: b1, if: "true", wait: 1s, then: each}
          - id: b2
            fork: {branches: {v: {do: [{id: v1, wait: 1s}]}, w: {do: [{id: v2, wait: 1s}]}}}
          - id: each
            for: {each: item, in: "[]", at_most: 3}
            do: [{id: w1, wait: 1s}]
  - id: f1
    fork:
      branches:
        x: {do: [{id: x1, wait: 1s}]}
        y: {do: [{id: y1, wait: 1s}]}
  - {id: last, wait: 1s}
handlers:
  h: {do: [{id: h1, wait: 1s}]}
"""
