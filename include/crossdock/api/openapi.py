"""The API's document: OpenAPI 3.1 as it is served, and 3.0 for tools that read no newer one."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from crossdock.api.problems import MEDIA_TYPE


def document(app: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1 of *app*, as a client sees it behind `/hub`."""
    found = app.openapi()
    found["servers"] = [{"url": "/hub"}]
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
    """If-Match has to be sent; to FastAPI it is optional, because its absence has an answer of its own (428)."""
    if parameter["name"] == "if-match":
        text = next(choice for choice in parameter["schema"]["anyOf"] if choice["type"] == "string")
        parameter.update(name="If-Match", required=True, schema=text)


def _as_problems(responses: dict[str, Any]) -> None:
    """Each response from 400 on under the media type that it really has."""
    for status, response in responses.items():
        if not status.startswith(("2", "3")) and "application/json" in response.get("content", {}):
            response["content"][MEDIA_TYPE] = response["content"].pop("application/json")


def as_3_0(newer: dict[str, Any]) -> dict[str, Any]:
    """*newer* (OpenAPI 3.1) in the words of 3.0.3: what may be null is `nullable`, one example, no JSON Schema dialect."""
    older: dict[str, Any] = _older(newer)
    return {**older, "openapi": "3.0.3"}


def _older(node: Any) -> Any:
    if isinstance(node, list):
        return [_older(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {name: _older(value) for name, value in node.items()}
    if isinstance(found.get("examples"), list):
        examples = found.pop("examples")
        found["example"] = examples[0]
    if "const" in found:
        found["enum"] = [found.pop("const")]
    choices = found.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        others = [choice for choice in choices if choice != {"type": "null"}]
        del found["anyOf"]
        # 3.0 ignores what stands beside a $ref: the null has to go around it.
        alone = len(others) == 1
        found |= others[0] if alone and "$ref" not in others[0] else {"allOf" if alone else "anyOf": others}
        found["nullable"] = True
    return found
