"""Which roles each route lets through. A route that is not here fails the tests."""

from __future__ import annotations

ANYONE = frozenset({"viewer", "user", "developer", "operator", "admin"})
TESTS = frozenset({"developer", "operator", "admin"})
PLACES = frozenset({"user", "developer", "operator", "admin"})
OPERATES = frozenset({"operator", "admin"})

MATRIX = {
    ("GET", "/v1/health"): ANYONE,
    ("GET", "/v1/alerts"): ANYONE,
    ("GET", "/v1/me"): ANYONE,
    ("GET", "/v1/audit"): ANYONE,
    ("GET", "/v1/openapi.json"): ANYONE,
    ("GET", "/v1/streams"): ANYONE,
    ("GET", "/v1/streams/{stream}/backfill-days"): ANYONE,
    ("GET", "/v1/records/{stream}"): ANYONE,
    ("GET", "/v1/runs"): ANYONE,
    ("GET", "/v1/runs/{run_id}"): ANYONE,
    ("GET", "/v1/kinds"): ANYONE,
    ("GET", "/v1/kinds/{kind}"): ANYONE,
    ("GET", "/v1/integrations"): ANYONE,
    ("POST", "/v1/integrations"): OPERATES,
    ("GET", "/v1/integrations/{integration_id}"): ANYONE,
    ("PATCH", "/v1/integrations/{integration_id}"): OPERATES,
    ("DELETE", "/v1/integrations/{integration_id}"): OPERATES,
    ("POST", "/v1/integrations/{integration_id}/test"): TESTS,
    ("POST", "/v1/integrations/{integration_id}/rotate"): OPERATES,
    ("POST", "/v1/integrations/{integration_id}/pause"): OPERATES,
    ("POST", "/v1/integrations/{integration_id}/resume"): OPERATES,
    ("GET", "/v1/integrations/{integration_id}/actions"): ANYONE,
    # An action that writes needs an operator: tests/api/test_actions.py.
    ("POST", "/v1/integrations/{integration_id}/actions/{action}"): TESTS,
    ("GET", "/v1/attempts"): ANYONE,
    ("GET", "/v1/attempts/{attempt_id}"): ANYONE,
    ("POST", "/v1/attempts/{attempt_id}/resolve"): OPERATES,
    ("GET", "/v1/mails"): ANYONE,
    ("GET", "/v1/mails/{mail_id}"): ANYONE,
    ("POST", "/v1/mails/{mail_id}/resume"): OPERATES,
    ("POST", "/v1/test-mails"): OPERATES,
    ("GET", "/v1/payments"): ANYONE,
    ("POST", "/v1/payments"): PLACES,
    ("GET", "/v1/payments/{payment_id}"): ANYONE,
    ("POST", "/v1/payments/{payment_id}/details"): PLACES,
    ("POST", "/v1/payments/{payment_id}/captures"): OPERATES,
    ("POST", "/v1/payments/{payment_id}/voids"): OPERATES,
    ("POST", "/v1/payments/{payment_id}/refunds"): OPERATES,
    ("POST", "/v1/payments/{payment_id}/resolve"): OPERATES,
    ("POST", "/v1/payments/{payment_id}/legs/{leg_id}/resolve"): OPERATES,
    ("GET", "/v1/payment-gateways"): ANYONE,
    ("GET", "/v1/payment-facts"): ANYONE,
    ("GET", "/v1/integrations/{integration_id}/health"): ANYONE,
    ("GET", "/v1/availability/{sku}"): ANYONE,
    ("POST", "/v1/availability-rebuilds"): OPERATES,
    ("GET", "/v1/events"): ANYONE,
    ("GET", "/v1/events/{event_id}"): ANYONE,
    ("GET", "/v1/event-types"): ANYONE,
    ("GET", "/v1/event-types/{event_type}/versions/{version}"): ANYONE,
    ("GET", "/v1/delivery"): ANYONE,
    ("POST", "/v1/event-replays/count"): OPERATES,
    ("POST", "/v1/event-replays"): OPERATES,
    ("GET", "/v1/replays"): ANYONE,
    ("GET", "/v1/replays/{replay_id}"): ANYONE,
    ("POST", "/v1/replays/{replay_id}/stop"): OPERATES,
    ("GET", "/v1/dead-letters"): ANYONE,
    ("GET", "/v1/dead-letter-causes"): ANYONE,
    ("GET", "/v1/dead-letters/{dead_letter_id}"): ANYONE,
    ("PATCH", "/v1/dead-letters/{dead_letter_id}"): OPERATES,
    ("POST", "/v1/dead-letters/{dead_letter_id}/discard"): OPERATES,
    ("POST", "/v1/dead-letter-discards"): OPERATES,
    ("POST", "/v1/dead-letter-replays"): OPERATES,
    ("GET", "/v1/quarantine"): ANYONE,
    ("GET", "/v1/quarantine-causes"): ANYONE,
    ("GET", "/v1/quarantine/{item_id}"): ANYONE,
    ("PATCH", "/v1/quarantine/{item_id}"): OPERATES,
    ("POST", "/v1/quarantine/{item_id}/discard"): OPERATES,
    ("POST", "/v1/quarantine-discards"): OPERATES,
    ("POST", "/v1/quarantine-replays"): OPERATES,
    ("GET", "/v1/integrations/{integration_id}/usage"): ANYONE,
}
#: POST routes without an effect: they take no Idempotency-Key.
NEEDS_NO_KEY = frozenset({"/v1/integrations/{integration_id}/test", "/v1/event-replays/count"})
#: Guarded by the sender's signature, whoever's token comes along. tests/events/webhooks_in/test_webhooks.py tries them.
SIGNED = frozenset({("POST", "/v1/webhooks/{integration}")})
#: Our role of each person of the tests; None for one whom Airflow knows and the hub does not.
ROLES = {
    "vera": "viewer",
    "uma": "user",
    "dora": "developer",
    "otto": "operator",
    "admin": "admin",
    "nobody": None,
}
