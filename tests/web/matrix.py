"""Which roles each page and each action lets through, and the route of the API that does the same. What is not here fails the tests."""

from __future__ import annotations

from typing import NamedTuple

from tests.api.matrix import MATRIX


class Like(NamedTuple):
    """The route of the API whose guard a page has."""

    method: str
    path: str

    @property
    def roles(self) -> frozenset[str]:
        return MATRIX[self.method, self.path.replace(":path}", "}")]


#: Page or action → the route that answers the same question, or does the same.
PAGES = {
    ("GET", "/"): Like("GET", "/v1/overview"),
    ("GET", "/badge"): Like("GET", "/v1/overview"),
    ("GET", "/overview"): Like("GET", "/v1/overview"),
    ("GET", "/runs"): Like("GET", "/v1/runs"),
    ("GET", "/runs/{run_id}"): Like("GET", "/v1/runs/{run_id}"),
    ("GET", "/runs/{run_id}/rows"): Like("GET", "/v1/runs/{run_id}/rows"),
    ("GET", "/dag-run"): Like("GET", "/v1/runs"),
    ("GET", "/quarantine"): Like("GET", "/v1/quarantine"),
    ("GET", "/quarantine/{item_id}"): Like("GET", "/v1/quarantine/{item_id}"),
    ("POST", "/quarantine/{item_id}/check"): Like("PATCH", "/v1/quarantine/{item_id}"),
    ("POST", "/quarantine/{item_id}/fix"): Like("PATCH", "/v1/quarantine/{item_id}"),
    ("POST", "/quarantine/{item_id}/discard"): Like("POST", "/v1/quarantine/{item_id}/discard"),
    ("GET", "/quarantine-previews"): Like("POST", "/v1/quarantine-previews"),
    ("POST", "/quarantine-previews"): Like("POST", "/v1/quarantine-previews"),
    ("POST", "/quarantine-replays"): Like("POST", "/v1/quarantine-replays"),
    ("POST", "/quarantine-discards"): Like("POST", "/v1/quarantine-discards"),
    ("GET", "/dead-letters"): Like("GET", "/v1/dead-letters"),
    ("GET", "/dead-letters/{dead_letter_id}"): Like("GET", "/v1/dead-letters/{dead_letter_id}"),
    ("POST", "/dead-letters/{dead_letter_id}/fix"): Like("PATCH", "/v1/dead-letters/{dead_letter_id}"),
    ("POST", "/dead-letters/{dead_letter_id}/discard"): Like("POST", "/v1/dead-letters/{dead_letter_id}/discard"),
    ("POST", "/dead-letter-replays"): Like("POST", "/v1/dead-letter-replays"),
    ("POST", "/dead-letter-discards"): Like("POST", "/v1/dead-letter-discards"),
    ("GET", "/replays"): Like("GET", "/v1/replays"),
    ("GET", "/replays/{replay_id}"): Like("GET", "/v1/replays/{replay_id}"),
    ("POST", "/replays/{replay_id}/stop"): Like("POST", "/v1/replays/{replay_id}/stop"),
    ("GET", "/events"): Like("GET", "/v1/events"),
    ("GET", "/events/{event_id}"): Like("GET", "/v1/events/{event_id}"),
    ("GET", "/event-delivery"): Like("GET", "/v1/delivery"),
    ("GET", "/event-volumes"): Like("GET", "/v1/delivery"),
    ("GET", "/event-replay"): Like("POST", "/v1/event-replays/count"),
    ("POST", "/event-replays"): Like("POST", "/v1/event-replays"),
    ("GET", "/orders"): Like("GET", "/v1/orders"),
    ("GET", "/order-search"): Like("GET", "/v1/orders"),
    ("GET", "/orders/{key:path}"): Like("GET", "/v1/journeys/{subject}/{key:path}"),
    ("POST", "/orders/{order_id}/cancel"): Like("POST", "/v1/orders/{order_id}/cancel"),
    ("POST", "/orders/{order_id}/retry"): Like("POST", "/v1/orders/{order_id}/retry"),
    ("POST", "/orders/{order_id}/resolve"): Like("POST", "/v1/orders/{order_id}/resolve"),
    ("GET", "/workflows"): Like("GET", "/v1/workflows"),
    ("POST", "/workflows"): Like("POST", "/v1/workflows"),
    ("GET", "/workflow-editor"): Like("POST", "/v1/workflows"),
    ("POST", "/workflow-checks"): Like("POST", "/v1/workflows"),
    ("GET", "/workflows/{workflow_id}"): Like("GET", "/v1/workflows/{workflow_id}"),
    ("GET", "/workflows/{workflow_id}/edit"): Like("POST", "/v1/workflows"),
    ("GET", "/workflows/{workflow_id}/test"): Like("POST", "/v1/workflows/{workflow_id}/test"),
    ("POST", "/workflows/{workflow_id}/test"): Like("POST", "/v1/workflows/{workflow_id}/test"),
    ("GET", "/workflows/{workflow_id}/deploy"): Like("GET", "/v1/workflows/{workflow_id}/diff"),
    ("POST", "/workflows/{workflow_id}/deploy"): Like("PUT", "/v1/workflows/{workflow_id}/deploy"),
    ("GET", "/workflows/{workflow_id}/execute"): Like("POST", "/v1/workflows/{workflow_id}/execute"),
    ("POST", "/workflows/{workflow_id}/execute"): Like("POST", "/v1/workflows/{workflow_id}/execute"),
    ("GET", "/executions"): Like("GET", "/v1/executions"),
    ("GET", "/executions/{execution_id}"): Like("GET", "/v1/executions/{execution_id}/status"),
    ("POST", "/executions/{execution_id}/cancel"): Like("POST", "/v1/executions/{execution_id}/cancel"),
    ("POST", "/executions/{execution_id}/retry"): Like("POST", "/v1/executions/{execution_id}/retry"),
    ("GET", "/decisions"): Like("GET", "/v1/decisions"),
    ("POST", "/decisions/{decision_id}/decide"): Like("POST", "/v1/decisions/{decision_id}/decide"),
    ("GET", "/integrations"): Like("GET", "/v1/integrations"),
    ("GET", "/integrations/{integration_id}"): Like("GET", "/v1/integrations/{integration_id}/health"),
    ("POST", "/integrations/{integration_id}/pause"): Like("POST", "/v1/integrations/{integration_id}/pause"),
    ("POST", "/integrations/{integration_id}/resume"): Like("POST", "/v1/integrations/{integration_id}/resume"),
    ("GET", "/new-integration"): Like("POST", "/v1/integrations"),
    ("GET", "/new-integration/{kind}"): Like("POST", "/v1/integrations"),
    ("POST", "/new-integration/{kind}"): Like("POST", "/v1/integrations"),
    ("GET", "/integrations/{integration_id}/change"): Like("PATCH", "/v1/integrations/{integration_id}"),
    ("POST", "/integrations/{integration_id}/change"): Like("PATCH", "/v1/integrations/{integration_id}"),
    ("GET", "/integrations/{integration_id}/rotate"): Like("POST", "/v1/integrations/{integration_id}/rotate"),
    ("POST", "/integrations/{integration_id}/rotate"): Like("POST", "/v1/integrations/{integration_id}/rotate"),
    ("GET", "/integrations/{integration_id}/test"): Like("POST", "/v1/integrations/{integration_id}/test"),
    ("POST", "/integrations/{integration_id}/test"): Like("POST", "/v1/integrations/{integration_id}/test"),
    ("GET", "/declaration-preview"): Like("POST", "/v1/declarations/preview"),
    ("POST", "/declaration-preview"): Like("POST", "/v1/declarations/preview"),
    ("GET", "/alerts"): Like("GET", "/v1/alerts"),
    ("POST", "/alerts/{alert_id}/acknowledge"): Like("POST", "/v1/alerts/{alert_id}/acknowledge"),
    ("POST", "/alerts/{alert_id}/mute"): Like("POST", "/v1/alert-mutes"),
    ("GET", "/alert-mutes"): Like("GET", "/v1/alert-mutes"),
    ("POST", "/alert-mutes/{mute_id}/end"): Like("POST", "/v1/alert-mutes/{mute_id}/end"),
    ("GET", "/alert-routes"): Like("GET", "/v1/alert-routes"),
    ("POST", "/alert-routes/{name}/test"): Like("POST", "/v1/alert-routes/{name}/test"),
    ("GET", "/audit"): Like("GET", "/v1/audit"),
}
#: Pages without a role: the signature of their link is the guard. `test_alert_links.py` tests them.
SIGNED = frozenset({("GET", "/alert-link"), ("POST", "/alert-link")})
#: Part of a path → an ID of nothing.
OF_NOTHING = {
    "/dag-run": "/dag-run?dag_id=none&run_id=none",
    "{run_id}": "none-of-ours",
    "{item_id}": "4711",
    "{dead_letter_id}": "4711",
    "{replay_id}": "4711",
    "{event_id}": "1-4711",
    "{key:path}": "none",
    "{order_id}": f"ord_{'0' * 32}",
    "{workflow_id}": "none_of_ours",
    "{execution_id}": f"exe_{'0' * 32}",
    "{decision_id}": "4711",
    "{integration_id}": "none_of_ours",
    "{kind}": "none",
    "{alert_id}": "4711",
    "{mute_id}": "4711",
    "{name}": "none",
}
