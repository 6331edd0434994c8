"""Hints for people who read a task's log in Airflow; they have the command line too."""

from __future__ import annotations

from crossdock.core.errors import HubError
from crossdock.core.hints import Hint, HintId

_PHRASES = {
    HintId.LIST_ATTEMPTS: "List the calls without a known outcome: ./hub attempts list",
    HintId.TEST_WORKFLOW: "Test it: ./hub workflow test {subject}",
    HintId.DEPLOY_WORKFLOW: "Deploy it: ./hub workflow deploy {subject}",
    HintId.LIST_DECISIONS: "List what waits for a person: ./hub decisions list",
    HintId.LIST_ORDERS: "List the orders: ./hub order list",
    HintId.SHOW_PAYMENT: "Look at the payment: ./hub payments show {subject}",
    HintId.LIST_PAYMENTS: "List the payments with a call without a known outcome: ./hub payments list --unresolved",
    HintId.LIST_DEAD_LETTERS: "List the dead letters: ./hub dead-letters list",
    HintId.LIST_QUARANTINE: "List the quarantine: ./hub quarantine list",
    HintId.FOLLOW_AGAIN: "Follow from the latest events on: ./hub events tail --follow",
    HintId.LIST_EVENTS: "List the latest events: ./hub events tail",
    HintId.LIST_EVENT_TYPES: "Compare the event with the JSON Schema of its type: GET /hub/v1/event-types",
    HintId.LIST_REPLAYS: "List the replays: ./hub events status",
    HintId.LIST_RUNS: "List recent runs: ./hub runs",
    HintId.LIST_INTEGRATIONS: "List the integrations: ./hub integration list",
    HintId.SHOW_DELIVERY: "Look at the progress of each subscriber: ./hub events status",
    HintId.MIGRATE: "Run the hub's migrations (`./hub prepare` in a deployment): ./hub up",
    HintId.SHOW_RUN: "Look at that run: ./hub run show {subject}",
    HintId.SHOW_INTEGRATION: "Look at the integration: ./hub integration show {subject}",
    HintId.CONNECT_DECLARED: "Connect the integration: ./hub integration add {subject} --kind declared",
    HintId.ROTATE_CREDENTIALS: "Enter its credentials again: ./hub integration rotate {subject}",
    HintId.CHANGE_SETTINGS: "Change a setting: ./hub integration change {subject} --set NAME=VALUE",
    HintId.RESUME_INTEGRATION: "Resume the integration: ./hub integration resume {subject}",
    HintId.ALLOW_SHRINK: "If the source really shrank, trigger sync_{dag} with Full and Allow shrink, or run: "
    "./hub sync {subject} --full --allow-shrink",
}


def phrase(hint: Hint) -> str:
    return _PHRASES[hint.id].format(subject=hint.subject, dag=hint.subject.replace(".", "_"))


def with_hint(error: HubError) -> str:
    """Append what to do to the error's text."""
    return f"{str(error).rstrip('.')}. {phrase(error.hint)}" if error.hint else str(error)
