"""Which roles each route lets through. A route that is not here fails the tests."""

from __future__ import annotations

ANYONE = frozenset({"viewer", "user", "developer", "operator", "admin"})
TESTS = frozenset({"developer", "operator", "admin"})
OPERATES = frozenset({"operator", "admin"})

MATRIX = {
    ("GET", "/v1/health"): ANYONE,
    ("GET", "/v1/me"): ANYONE,
    ("GET", "/v1/openapi.json"): ANYONE,
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
    ("GET", "/v1/integrations/{integration_id}/health"): ANYONE,
    ("GET", "/v1/integrations/{integration_id}/usage"): ANYONE,
}
#: Our role of each person of the tests; None for one whom Airflow knows and the hub does not.
ROLES = {
    "vera": "viewer",
    "uma": "user",
    "dora": "developer",
    "otto": "operator",
    "admin": "admin",
    "nobody": None,
}
