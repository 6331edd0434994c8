"""Workflows over HTTP: every mistake at once, versions that never change, and test runs without an effect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from crossdock.api.access import ACTS_AS, Caller
from crossdock.api.app import create_app
from crossdock.api.dependencies import open_store
from crossdock.core.roles import Role
from crossdock.db.database import Store
from tests.api.test_idempotency import new_key
from tests.shop import query

EXAMPLE = (Path(__file__).parents[2] / "docs/workflows/refund_with_approval.yaml").read_text()


class AsDora:
    """What stands between the network and the app: dora, a developer, has been authenticated."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["caller"] = Caller("dora", ACTS_AS[Role.DEVELOPER])
        await self.app(scope, receive, send)


@pytest.fixture
def api(hub_dsn: str) -> Iterator[TestClient]:
    """The real app in this process, on a real database with a tested gateway."""

    def opened() -> Iterator[Store]:
        with Store(hub_dsn) as store:
            yield store

    app = create_app()
    app.dependency_overrides[open_store] = opened
    with TestClient(AsDora(app)) as client:
        yield client


@pytest.fixture
def payments(store: Store) -> None:
    add_integration(store, "payments", "stripe", tested=True)


def add_integration(store: Store, name: str, kind: str, *, tested: bool) -> None:
    values = (name, kind, name, tested)
    query(
        store,
        """
        INSERT INTO integration (integration_id, kind, name, settings, connection_id, created_by, updated_by, tested_at, test_passed)
        SELECT %s, %s, %s, '{}', 'c', 'ada', 'ada', now(), %s RETURNING 1
        """,
        *values,
    )


def post(api: TestClient, path: str, body: Any, key: str | None = None) -> Any:
    return api.post(path, json=body, headers={"Idempotency-Key": key or new_key()})


def add(api: TestClient, definition: str = EXAMPLE) -> Any:
    return post(api, "/v1/workflows", {"definition": definition})


@pytest.mark.usefixtures("payments")
class TestVersions:
    def test_a_valid_definition_is_a_version_with_who_added_it(self, api: TestClient, store: Store) -> None:
        answer = add(api)

        assert (answer.status_code, answer.json()["workflow_id"], answer.json()["version"]) == (
            201,
            "refund_with_approval",
            1,
        )
        shown = api.get("/v1/workflows/refund_with_approval").json()
        assert (shown["definition"], shown["versions"], shown["created_by"]) == (EXAMPLE, [1], "airflow:dora")
        assert query(store, "SELECT act, detail FROM audit_entry WHERE subject = 'workflow/refund_with_approval'") == [
            ("workflow.add", {"version": 1})
        ]

    def test_what_is_probably_not_meant_is_answered_and_not_refused(self, api: TestClient) -> None:
        assert add(api).json()["warnings"] == []
        call = "    call: payments.get_payment\n"

        answer = add(
            api, EXAMPLE.replace("version: 1", "version: 2").replace(call, f"    if: params.amount_minor > 5\n{call}")
        )

        assert answer.status_code == 201
        first = answer.json()["warnings"][0]
        assert (first["rule"], first["line"], first["pointer"]) == ("may_be_null", 19, "/do/1/if")
        assert first["message"] == "look_up may be skipped (it has a condition): this reads null then"

    def test_the_same_text_again_is_the_same_version(self, api: TestClient) -> None:
        assert add(api).json() == add(api).json()

    def test_a_version_never_changes(self, api: TestClient) -> None:
        add(api)

        answer = add(api, EXAMPLE + "# changed\n")

        assert answer.status_code == 409
        assert "Give this text the version 2" in answer.json()["detail"]
        assert api.get("/v1/workflows/refund_with_approval").json()["definition"] == EXAMPLE

    def test_two_versions_are_compared_line_by_line(self, api: TestClient) -> None:
        add(api)
        add(api, EXAMPLE.replace("version: 1", "version: 2").replace("3d", "2d"))

        diff = api.get("/v1/workflows/refund_with_approval/diff", params={"before": 1, "after": 2}).json()["diff"]

        assert "-    timeout: 3d\n+    timeout: 2d" in diff
        assert api.get("/v1/workflows/refund_with_approval").json()["versions"] == [2, 1]
        first = api.get("/v1/workflows/refund_with_approval", params={"version": 1}).json()
        assert first["definition"] == EXAMPLE
        (listed,) = api.get("/v1/workflows").json()["workflows"]
        assert (listed["version"], listed["deployed"]) == (2, None)

    def test_a_list_has_pages(self, api: TestClient) -> None:
        for name in "w_a", "w_b", "w_c":
            add(api, EXAMPLE.replace("id: refund_with_approval", f"id: {name}"))

        page = api.get("/v1/workflows", params={"limit": 2}).json()
        rest = api.get("/v1/workflows", params={"limit": 2, "cursor": page["next_cursor"]}).json()

        assert [each["workflow_id"] for each in (*page["workflows"], *rest["workflows"])] == ["w_a", "w_b", "w_c"]
        assert rest["next_cursor"] is None

    def test_a_webhook_starts_one_workflow(self, api: TestClient) -> None:
        head = (
            "schema: crossdock.workflow/1\nversion: 1\ntitle: T\ntriggers: [{webhook: pay}]\ndo: [{id: w1, wait: 1s}]\n"
        )
        assert add(api, head + "id: first\n").status_code == 201

        (error,) = add(api, head + "id: second\n").json()["errors"]

        assert error["pointer"] == "/triggers/0/webhook"
        assert "belongs to the workflow first" in error["message"]


class TestMistakes:
    def test_all_are_answered_at_once_with_pointer_and_line(self, api: TestClient, store: Store) -> None:
        add_integration(store, "payments", "stripe", tested=False)

        answer = add(api, EXAMPLE.replace("timeout: 3d", "timeout: 0d").replace("payments.refund", "payments.refunds"))

        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (400, "workflow-invalid")
        found = {error["pointer"]: error["message"] for error in answer.json()["errors"]}
        assert set(found) == {"/integrations/payments", "/do/2/timeout", "/do/5/call"}
        assert "has not passed a test" in found["/integrations/payments"]
        assert found["/do/2/timeout"].startswith("line 31: must be more than zero")

    @pytest.mark.parametrize("text", ["\\ud800", "\\u0000", "title: \\ud800", "a: \\uffff", "\\ud83d\\ude00"])
    def test_a_character_that_is_none_is_refused(self, api: TestClient, text: str) -> None:
        headers = {"Idempotency-Key": new_key(), "Content-Type": "application/json"}

        assert api.post("/v1/workflows", content=f'{{"definition": "{text}"}}', headers=headers).status_code in (
            400,
            422,
        )

    def test_nothing_is_stored(self, api: TestClient) -> None:
        assert add(api, "do: 3").status_code == 400
        assert api.get("/v1/workflows").json()["workflows"] == []

    @pytest.mark.parametrize("path", ["/v1/workflows/not_there", "/v1/workflows/not_there/diff?before=1&after=2"])
    def test_a_workflow_that_is_not_there_is_404(self, api: TestClient, path: str) -> None:
        assert api.get(path).status_code == 404


@pytest.mark.usefixtures("payments")
class TestTestRun:
    def test_it_runs_against_the_answers_and_stores_nothing(self, api: TestClient, store: Store) -> None:
        add(api)
        before = query(store, "SELECT count(*) FROM attempt")
        look_up = {
            **dict.fromkeys(("authorised_minor", "refunded_minor"), 0),
            "payment_ref": "pi_1",
            "state": "captured",
            "currency": "EUR",
            "captured_minor": 500,
            "capture_ref": "ch_1",
            "capture_reference": None,
        }
        body = {
            "params": {"payment_ref": "pi_1", "reference": "r-1", "amount_minor": 500},
            "answers": {"look_up": [{"output": look_up}], "pay_back": [{"status": "failed", "message": "down"}]},
        }

        answer = post(api, "/v1/workflows/refund_with_approval/test", body)

        assert answer.status_code == 200, answer.text
        found = answer.json()
        (paid,) = [step for step in found["steps"] if step["step"] == "pay_back"]
        assert (found["state"], [tried["answer"]["status"] for tried in paid["tries"]]) == (
            "COMPLETED",
            ["failed", "done"],
        )
        assert paid["tries"][1]["request"]["input"]["amount_minor"] == 500
        assert query(store, "SELECT count(*) FROM attempt") == before

    def test_an_answer_for_a_step_that_is_not_there_is_refused(self, api: TestClient) -> None:
        add(api)

        answer = post(api, "/v1/workflows/refund_with_approval/test", {"answers": {"nobody": []}})

        assert answer.status_code == 400
        assert "no such step" in answer.json()["detail"]
