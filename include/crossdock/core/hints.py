"""
Hints: what a person can do about an error, as an ID.

An error's own text is read everywhere: on the command line, over REST, in a log, in the ledger. What to do next depends
on the tool at hand, so an error carries only an id, and each surface has its own words for it: `crossdock.cli.hints`
names a command, `crossdock.api.hints` a request, `crossdock.app.airflow.hints` writes a sentence for a task's log.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class HintId(StrEnum):
    """The value is part of the API: `hint.id` of a problem."""

    LIST_ATTEMPTS = "list_attempts"
    LIST_DECISIONS = "list_decisions"
    LIST_ORDERS = "list_orders"
    LIST_PAYMENTS = "list_payments"
    SHOW_PAYMENT = "show_payment"
    LIST_DEAD_LETTERS = "list_dead_letters"
    LIST_QUARANTINE = "list_quarantine"
    LIST_EVENTS = "list_events"
    FOLLOW_AGAIN = "follow_again"
    LIST_EVENT_TYPES = "list_event_types"
    LIST_REPLAYS = "list_replays"
    LIST_RUNS = "list_runs"
    LIST_INTEGRATIONS = "list_integrations"
    SHOW_DELIVERY = "show_delivery"
    MIGRATE = "migrate"
    #: The subject of these is the ID of a workflow.
    TEST_WORKFLOW = "test_workflow"
    DEPLOY_WORKFLOW = "deploy_workflow"
    #: The subject of these is a run's id.
    SHOW_RUN = "show_run"
    #: The subject of these is an integration's id.
    SHOW_INTEGRATION = "show_integration"
    CONNECT_DECLARED = "connect_declared"
    ROTATE_CREDENTIALS = "rotate_credentials"
    CHANGE_SETTINGS = "change_settings"
    RESUME_INTEGRATION = "resume_integration"
    #: The subject of this is a stream: commercetools.inventory.
    ALLOW_SHRINK = "allow_shrink"


@dataclass(frozen=True, slots=True)
class Hint:
    """The next step, and the object it applies to."""

    id: HintId
    #: The id of the run, integration, workflow or stream that the hint is about; empty where the hint needs none.
    subject: str = ""
