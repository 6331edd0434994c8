"""Hints for people at the command line."""

from __future__ import annotations

from crossdock.core.hints import Hint, HintId

_PHRASES = {
    HintId.LIST_ATTEMPTS: "To list them: ./hub attempts list",
    HintId.TEST_WORKFLOW: "To test it: ./hub workflow test {subject}",
    HintId.DEPLOY_WORKFLOW: "To deploy it: ./hub workflow deploy {subject}",
    HintId.LIST_DECISIONS: "To list them: ./hub decisions list",
    HintId.LIST_ORDERS: "To list them: ./hub order list",
    HintId.SHOW_PAYMENT: "To see it: ./hub payments show {subject}",
    HintId.LIST_PAYMENTS: "To list them: ./hub payments list --unresolved",
    HintId.LIST_DEAD_LETTERS: "To list them: ./hub dead-letters list",
    HintId.LIST_QUARANTINE: "What is in quarantine: ./hub quarantine list",
    HintId.FOLLOW_AGAIN: "Follow from the latest events on: ./hub events tail --follow",
    HintId.LIST_EVENTS: "Latest events: ./hub events tail",
    # No command lists them; their JSON Schemas are for programs.
    HintId.LIST_EVENT_TYPES: "To see what an event of each type holds: GET /hub/v1/event-types",
    HintId.LIST_REPLAYS: "To list them: ./hub events status",
    HintId.LIST_RUNS: "Recent runs: ./hub runs",
    HintId.LIST_INTEGRATIONS: "To list them: ./hub integration list",
    HintId.SHOW_DELIVERY: "To see the progress of each subscriber: ./hub events status",
    HintId.MIGRATE: "To run a missing migration: ./hub up",
    HintId.SHOW_RUN: "To see that run: ./hub run show {subject}",
    HintId.SHOW_INTEGRATION: "To see it: ./hub integration show {subject}",
    HintId.CONNECT_DECLARED: "To connect it: ./hub integration add {subject} --kind declared",
    HintId.ROTATE_CREDENTIALS: "To enter its credentials again: ./hub integration rotate {subject}",
    HintId.CHANGE_SETTINGS: "To change a setting: ./hub integration change {subject} --set NAME=VALUE",
    HintId.RESUME_INTEGRATION: "To resume it: ./hub integration resume {subject}",
    HintId.ALLOW_SHRINK: "If the source really shrank: ./hub sync {subject} --full --allow-shrink",
}


def phrase(hint: Hint) -> str:
    return _PHRASES[hint.id].format(subject=hint.subject)


def with_hint(message: str, hint: Hint | None) -> str:
    """*message*, followed by what to type next."""
    return f"{message}. {phrase(hint)}" if hint else message
