"""Small real HTTP servers with the habits of real shops, and the path from there through a declared stream to the tables."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from crossdock.connectors.declarative import files
from crossdock.connectors.declarative.source import DeclaredSource
from crossdock.connectors.declarative.streams import declared_stream
from crossdock.db.database import Store
from crossdock.http.config import SafeguardsFactory
from crossdock.http.connection import Connection
from crossdock.sync import Stream, Systems, extract, load, validate
from crossdock.sync.landing import Landing
from crossdock.sync.model import Report, SyncRequest
from crossdock.sync.source import Axis, Range
from tests.shop import QUICK, query

#: The servers of these tests run on this machine.
HERE = {"allowed_networks": ["127.0.0.0/8"]}


def sync_all(sync: Stream, systems: Systems, request: SyncRequest | None = None) -> Report:
    run_id = validate(sync, systems, extract(sync, systems, request or SyncRequest(full=True)))
    return load(sync, systems, run_id)


@contextmanager
def serving(answer: Callable[[Any, BaseHTTPRequestHandler], Any]) -> Iterator[str]:
    """
    A server that answers what *answer* says of (body or query, request); (status, headers, document) for more.

    Bytes are sent as they are.
    """

    class Handler(BaseHTTPRequestHandler):
        def reply(self, asked: Any) -> None:
            reply = answer(asked, self)
            status, headers, document = reply if isinstance(reply, tuple) else (200, {}, reply)
            content = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.reply({name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.reply(json.loads(body) if self.headers["Content-Type"] == "application/json" else body)

        def do_PUT(self) -> None:
            self.do_POST()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


BASE: dict[str, Any] = {
    "title": "A list",
    "base_url": "http://127.0.0.1:1",
    "read": {"path": "/things", "records": "items"},
    "identity": {"id": "id", "changed_at": "at", "key": "name"},
    "mapping": {"name": {"path": "name"}, "size": {"path": "size", "type": "integer"}},
}
AT = "2026-11-01T00:00:00Z"
THINGS = [{"id": number, "name": f"thing {number}", "size": number, "at": AT} for number in range(25)]


def written(folder: Path, document: dict[str, Any], name: str = "a_list") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def source_of(path: Path, url: str, share: SafeguardsFactory | None = None, **fields: Any) -> DeclaredSource:
    declaration = files.read(path)
    connection = Connection(connection_id="a_list", conn_type="declared", host=url, extra=HERE, **fields)
    return DeclaredSource(declaration, connection, share, limits=QUICK)


def ids_read(source: DeclaredSource) -> list[str]:
    """As a sync reads: each page gives the position of the next, also across a crash."""
    part, after, found = Range(range_no=0, axis=Axis.ID), None, []
    for _ in range(50):
        page = source.page("", part, after)
        found += [record["id"] for record in json.loads(page.body)["results"]]
        if page.last:
            return found
        after = page.cursor
    raise AssertionError("it never ends")


#: The two ways to a list. Over GraphQL it lies deeper in the answer, and the query's parameters are variables.
APIS = ("rest", "graphql")
_OF_THE_ANSWER = ("records", "next", "total", "more")


def declared(api: str, **parts: Any) -> dict[str, Any]:
    """BASE with *parts* of `read`, `identity` and so on in place of its own, for the list over *api*."""
    document = BASE | {
        name: BASE.get(name, {}) | part if isinstance(part, dict) else part for name, part in parts.items()
    }
    if "mapping" in parts:
        document["mapping"] = parts["mapping"]
    if api == "graphql":
        document["read"] = _deeper(document["read"]) | {"graphql": "query Page { page }"}
    return document


def _deeper(part: dict[str, Any]) -> dict[str, Any]:
    deeper = {name: f"data.page | {path}" for name, path in part.items() if name in _OF_THE_ANSWER}
    return part | deeper | {name: _deeper(inner) for name, inner in part.items() if name == "paging"}


@contextmanager
def a_shop(api: str, answer: Callable[[dict[str, Any]], Any]) -> Iterator[str]:
    """A server of one list: what *answer* says of a request's parameters, which over GraphQL are its variables."""

    def reply(asked: Any, _: Any) -> Any:
        if api == "rest":
            return answer(asked)
        status, headers, document = (
            found if isinstance(found := answer(asked["variables"]), tuple) else (200, {}, found)
        )
        if isinstance(document, bytes):
            return status, headers, b'{"data": {"page": ' + document + b"}}"
        return status, headers, {"data": {"page": document}} if status == 200 else document

    with serving(reply) as url:
        yield url


def a_sync(document: dict[str, Any], url: str, store: Store, folder: Path) -> Callable[..., Report]:
    """What runs the stream of *document* once: `sync()` reads everything, `sync(request)` what it says."""
    path = written(folder, document)
    _, stream = declared_stream(path)

    def run(request: SyncRequest | None = None) -> Report:
        # A source of its own for each run, as each task has.
        systems = Systems(source=source_of(path, url), store=store, landing=Landing(str(folder / "landing")))
        return sync_all(stream, systems, request)

    return run


def data_of(store: Store) -> dict[str, Any]:
    """Key → the mapped values of each record in the hub."""
    return dict(query(store, "SELECT key, data FROM record WHERE integration = 'a_list'"))


def refused(store: Store) -> dict[str, str]:
    """ID → the reasons for which each record waits in quarantine, each in one line."""
    items = query(
        store, "SELECT record_id, failures FROM quarantine_item WHERE state = 'open' AND integration = 'a_list'"
    )
    return {
        record_id: "; ".join(
            f"{failure['rule']}: {failure['column']}: {failure['value']} ({failure['message']})" for failure in failures
        )
        for record_id, failures in items
    }
