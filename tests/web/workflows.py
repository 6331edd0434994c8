"""Workflows with executions, for the tests of their pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crossdock.app.workflow_catalog import WorkflowCatalog, registered
from crossdock.app.workflow_requests import flows
from crossdock.app.workflows import read
from crossdock.db.database import Store
from crossdock.workflows import service as engine
from crossdock.workflows.declared import executions, service
from crossdock.workflows.declared.answers import Answer
from crossdock.workflows.declared.flow import version_in
from crossdock.workflows.model import Driver, Execution
from tests.shop import query
from tests.workflows.declared.systems import Flows, Systems, flows_of, go_on

REFUND = (Path(__file__).parents[2] / "docs/workflows/refund_with_approval.yaml").read_text()
SECOND = REFUND.replace("version: 1", "version: 2").replace("timeout: 3d", "timeout: 2d")
SMALL = {"payment_ref": "pi_1", "reference": "R-1", "amount_minor": 1}
LARGE = {**SMALL, "amount_minor": 20_000}
#: What the gateway says of the payment.
PAYMENT = {
    "payment_ref": "pi_1",
    "state": "captured",
    "currency": "EUR",
    "authorised_minor": 0,
    "captured_minor": 25_000,
    "refunded_minor": 0,
}
PAYMENTS = """
INSERT INTO integration (integration_id, kind, name, settings, connection_id, created_by, updated_by, tested_at, test_passed)
VALUES ('payments', 'stripe', 'Payments', '{}', 'payments', 'ada', 'ada', now(), true) RETURNING 1
"""


def add(store: Store, *definitions: str, deploys: bool = True) -> None:
    """Store versions, and test and deploy them."""
    if not query(store, "SELECT integration_id FROM integration WHERE integration_id = 'payments'"):
        query(store, PAYMENTS)
    for definition in definitions or (REFUND,):
        catalog = registered(store)
        added = service.add(store, definition, catalog, actor="airflow:dora").version
        if not deploys:
            continue
        is_refund = added.workflow_id == "refund_with_approval"
        params, given = (SMALL, {"look_up": [{"output": PAYMENT}]}) if is_refund else ({}, {})
        service.test_run(
            store, WorkflowCatalog(), added.workflow_id, None, params=params, given=given, actor="airflow:dora"
        )
        service.deploy(store, catalog, added.workflow_id, None, actor="airflow:otto")


def executed(
    store: Store,
    params: dict[str, Any] | None = None,
    *,
    answers: dict[str, list[Answer]] | None = None,
    run_id: str = "run_1",
    driver: Driver = Driver.EVENTS,
    workflow_id: str = "refund_with_approval",
) -> Execution:
    """Execute what is deployed, against systems with *answers*, until nothing more happens by itself."""
    with store.transaction() as work:
        begun = executions.execute(
            work, flows(), workflow_id, params or SMALL, run_id=run_id, driver=driver, actor="airflow:uma"
        )
    return go_on(store, _flows(store, begun, answers or {}), begun.execution_id)


def waiting(store: Store, *, run_id: str = "run_2") -> Execution:
    """Execute one that asks a person, up to its question."""
    with store.transaction() as work:
        begun = executions.execute(
            work, flows(), "refund_with_approval", LARGE, run_id=run_id, driver=Driver.EVENTS, actor="airflow:uma"
        )
    return engine.advance(store, _flows(store, begun, {}), begun.execution_id)


def _flows(store: Store, begun: Execution, answers: dict[str, list[Answer]]) -> Flows:
    workflow_id, version = version_in(begun.flow) or ("", 0)
    stored = service.version_of(store, workflow_id, version)
    given = {"look_up": [Answer(output=PAYMENT)], **answers}
    return flows_of(Systems({name: list(tries) for name, tries in given.items()}), read(stored.definition))
