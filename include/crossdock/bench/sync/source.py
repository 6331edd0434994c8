"""
A commerce platform that answers at once. It is a process of its own, so that its CPU time is not counted as a loader's.

    GET /p/inventory?where=id > "…"&sort=id asc&limit=500     a page; offset and withTotal as commercetools has them
    GET /admin/sums   /admin/reset   /admin/mutate?fraction=0.01   /admin/latency?ms=100

A second port serves the same without a record, to measure the start of a loader.

Every loader reads from this one process: by keyset as our connector does, or by offset in the order of change.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from email.utils import formatdate
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl

import msgspec

from crossdock.bench.sync.collection import Collection
from crossdock.bench.sync.records import DEFAULT_ROWS, PATHS, records_of

PROJECT = "p"
_MAX_LIMIT = 500


class Site:
    """One collection under its path."""

    def __init__(self, entity: str, collection: Collection) -> None:
        self._path = PATHS[entity]
        self._collection = collection
        self.latency_s = 0.0

    def answer(self, target: str) -> bytes:
        """
        Answer a request target with JSON.

        Raises:
            KeyError, ValueError: the target does not exist; becomes HTTP 400.

        """
        path, _, text = target.partition("?")
        query = dict(parse_qsl(text))
        _, project, leaf = path.split("/")
        if project == "admin":
            return self._administer(leaf, query)
        if (project, leaf) != (PROJECT, self._path):
            raise KeyError(path)
        where = query.get("where", "")
        return self._collection.page(
            where,
            by_time="lastModifiedAt" in text,  # in the predicate, or as a sort
            offset=int(query.get("offset", 0)),
            limit=min(int(query.get("limit", 20)), _MAX_LIMIT),
            with_total=query.get("withTotal") != "false",
        )

    def _administer(self, action: str, query: dict[str, str]) -> bytes:
        if action == "reset":
            self._collection.reset()
        elif action == "mutate":
            return msgspec.json.encode({"changed": self._collection.mutate(float(query["fraction"]))})
        elif action == "latency":
            self.latency_s = float(query["ms"]) / 1000
        elif action != "sums":
            raise KeyError(action)
        return msgspec.json.encode(self._collection.sums()._asdict())


class _Connection(asyncio.Protocol):
    """As much of HTTP/1.1 as the loaders' clients need: requests without bodies on connections that stay open."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  for the type checker
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head, self._received = self._received[:end], self._received[end + 4 :]
            self._respond(head.split(b"\r\n", 1)[0].split(b" ")[1].decode())

    def _respond(self, target: str) -> None:
        status = b"200 OK"
        try:
            body = self._site.answer(target)
        except (KeyError, ValueError) as error:
            status, body = b"400 Bad Request", msgspec.json.encode({"statusCode": 400, "message": str(error)})
        lines = b"HTTP/1.1 %b\r\nDate: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        parts = [lines % (status, formatdate(usegmt=True).encode(), len(body)), body]
        if self._site.latency_s and "/admin/" not in target:
            asyncio.get_running_loop().call_later(self._site.latency_s, self._send, parts)
        else:
            self._send(parts)

    def _send(self, parts: list[bytes]) -> None:
        if not self._transport.is_closing():
            self._transport.writelines(parts)


async def _serve(site: Site, empty: Site) -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(partial(_Connection, served), "127.0.0.1", 0) for served in (site, empty)]
    port, empty_port = (server.sockets[0].getsockname()[1] for server in servers)
    sys.stdout.write(msgspec.json.encode({"port": port, "empty_port": empty_port}).decode() + "\n")
    sys.stdout.flush()
    await asyncio.gather(*(server.serve_forever() for server in servers))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m crossdock.bench.sync.source", description=__doc__)
    parser.add_argument("--entity", choices=list(PATHS), default="inventory")
    parser.add_argument("--rows", type=int, default=0, help="0 for the entity's usual number")
    parser.add_argument("--dataset", type=Path, help="for orders: a parquet file of invoice lines")
    parser.add_argument("--ids", choices=["random", "ascending"], default="random")
    options = parser.parse_args()
    rows = options.rows or DEFAULT_ROWS[options.entity]
    collection = Collection(records_of(options.entity, rows, dataset=options.dataset, ids=options.ids))
    # The records stay; without this every full garbage collection walks all of them.
    gc.freeze()
    asyncio.run(_serve(Site(options.entity, collection), Site(options.entity, Collection([]))))


if __name__ == "__main__":
    main()
