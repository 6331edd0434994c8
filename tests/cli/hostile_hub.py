"""
A hub and its Airflow that answer every request with hostile text, in each place that may hold text.

The answers are made from the OpenAPI document, so that a new route or field is hostile as soon as it is documented.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

OPENAPI = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())

#: OSC 52 (writes to the clipboard), a cleared screen, C1, bidi, markup of rich, an emoji code, forged lines, a tag.
HOSTILE = "\x1b]52;c;aGk=\x07\x1b[2J\x9b31m\u202e[/boom][bold]:bomb:\n✓ forged\r\x7f\u2028\U000e0041 end"

_INSTANT = "2026-11-29T09:30:00Z"
_EVENT = {
    **dict.fromkeys(("id", "source", "type", "subject", "partitionkey", "key", HOSTILE), HOSTILE),
    "time": _INSTANT,
    "sequence": "1-1-4711",
    "data": {HOSTILE: HOSTILE},
}
_FORMATTED = {"date-time": _INSTANT, "date": "2026-11-29"}
_FORM = {
    "type": "object",
    "properties": {HOSTILE: {"type": "string", "title": HOSTILE, "description": HOSTILE}},
    "required": [],
}
#: Name of a field → its value, where commands depend on it: they page, follow, and take positions apart.
_FIXED: dict[str, Any] = {
    "next_cursor": None,
    "event": _EVENT,
    "events": [_EVENT],
    "backfill_dag": "backfill_x",
    "integration_state": "active",
}
#: The same for single schemas.
_OF_SCHEMA: dict[str, dict[str, Any]] = {
    "ReplayDocument": {"state": "done"},
    "KindDocument": {"settings": _FORM, "credentials": _FORM},
    "crossdock__api__events__CountsDocument": {"events": {HOSTILE: 3}},
    "RebuiltDocument": {"events": 3},
    "DeadLetterDocument": {"state": "dead"},
    "RunDetailDocument": {"drift": [dict.fromkeys(("field", "finding", "saw"), HOSTILE)]},
}


def _made(schema: dict[str, Any]) -> Any:
    """Make a value of *schema*, of the first of several that is not null."""
    schema = next((option for option in schema.get("anyOf", ()) if option.get("type") != "null"), schema)
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        made = _made(OPENAPI["components"]["schemas"][name])
        return {**made, **_OF_SCHEMA.get(name, {})} if isinstance(made, dict) else made
    if chosen := schema.get("enum") or [schema[name] for name in ("const",) if name in schema]:
        return chosen[0]
    match schema.get("type"):
        case "object":
            return _object(schema)
        case "array":
            return [_made(schema.get("items", {})), _made(schema.get("items", {}))]
        case "string":
            return _FORMATTED.get(schema.get("format", ""), HOSTILE)
        case kind:
            return {"integer": 7, "number": 7.5, "boolean": True}.get(kind, HOSTILE)


def _object(schema: dict[str, Any]) -> dict[str, Any]:
    fields = schema.get("properties", {})
    more = schema.get("additionalProperties")
    if not fields:
        return {HOSTILE: _made(more) if isinstance(more, dict) else HOSTILE}
    return {field: _FIXED[field] if field in _FIXED else _made(inner) for field, inner in fields.items()}


def _answer(method: str, path: str, query: str) -> Any:
    """Find the route of *path*, and make its answer. As the hub's, it takes no parameter that it does not know."""
    for template, operations in OPENAPI["paths"].items():
        if method.lower() in operations and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            known = {one["name"] for one in operations[method.lower()].get("parameters", ()) if one["in"] == "query"}
            assert known >= set(parse_qs(query)), f"{method} {path} does not take {query}"
            (answer,) = (each for code, each in operations[method.lower()]["responses"].items() if code.startswith("2"))
            schema = answer.get("content", {}).get("application/json", {}).get("schema")
            return _EVENT if template.startswith("/v1/events/") else _made(schema) if schema else None
    raise AssertionError(f"{method} {path} is no route of the API")


_RUN = {
    "dag_run_id": HOSTILE,
    "state": "success",
    "is_paused": False,
    "task_instances": [{"task_id": HOSTILE, "state": HOSTILE}],
}
_REFUSED = {
    "type": "urn:crossdock:problem:conflict",
    "title": HOSTILE,
    "detail": HOSTILE,
    "message": HOSTILE,
    "hint": {"id": "show-integration", "subject": HOSTILE},
    "checks": [dict.fromkeys(("name", "outcome", "duration_ms", "message", "hint"), HOSTILE)],
    "errors": [{"pointer": HOSTILE, "message": HOSTILE}],
}


class _Handler(BaseHTTPRequestHandler):
    refuses = False
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, query = urlsplit(self.path)[2:4]
        if path == "/auth/token":
            status, document = 201, {"access_token": "token"}
        elif self.refuses:
            status, document = 422, _REFUSED
        elif path.startswith("/hub"):
            status, document = 200, _answer(self.command, path.removeprefix("/hub"), query)
        elif path.startswith("/_sandbox"):
            entry = {
                **dict.fromkeys(("at", "method", "path", "status"), HOSTILE),
                "query": {"where": [HOSTILE]},
                "fault": {HOSTILE: 1},
            }
            status, document = 200, {"requests": [entry], "rows": 3, "inventory": [{"sku": HOSTILE}]}
        else:
            status, document = 200, _RUN
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"7"')
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve  # noqa: N815  http.server's names

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def hostile_hub(*, refuses: bool) -> Iterator[str]:
    """Serve the hostile hub on loopback; yield its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"refuses": refuses}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()
