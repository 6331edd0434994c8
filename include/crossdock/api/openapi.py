"""The API's OpenAPI 3.1 document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from crossdock.api.problems import MEDIA_TYPE


def document(app: FastAPI) -> dict[str, Any]:
    """Describe *app* in OpenAPI 3.1, as a client sees it behind `/hub`."""
    found = app.openapi()
    found["servers"] = [{"url": "/hub", "description": "Each path of this document begins here: GET /hub/v1/runs."}]
    found["components"]["securitySchemes"] = {
        "airflow": {"type": "http", "scheme": "bearer", "description": "A token of Airflow's POST /auth/token."}
    }
    found["security"] = [{"airflow": []}]
    for path in found["paths"].values():
        for operation in path.values():
            _as_problems(operation["responses"])
            for parameter in operation.get("parameters", ()):
                _as_required(parameter)
    return found


def _as_required(parameter: dict[str, Any]) -> None:
    """Mark If-Match as required. FastAPI takes it for optional, because a request without it gets its own answer (428)."""
    if parameter["name"] == "if-match":
        text = next(choice for choice in parameter["schema"]["anyOf"] if choice["type"] == "string")
        parameter.update(name="If-Match", required=True, schema=text)


def _as_problems(responses: dict[str, Any]) -> None:
    """Put each response from 400 on under its real media type."""
    for status, response in responses.items():
        if not status.startswith(("2", "3")) and "application/json" in response.get("content", {}):
            response["content"][MEDIA_TYPE] = response["content"].pop("application/json")
