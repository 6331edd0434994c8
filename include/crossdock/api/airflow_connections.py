"""Airflow's connections, through Airflow's own API in this process: with the caller's rights, its audit log and Fernet key."""

from __future__ import annotations

import asyncio
import json
import os
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Request

from crossdock.api.airflow_lookups import AirflowUnavailable
from crossdock.api.problems import Problem
from crossdock.core.errors import Conflict, NotFound
from crossdock.core.ids import NO_PORT
from crossdock.http.connection import Connection
from crossdock.integrations import airflow_connection

#: How long Airflow may take to write a connection.
_LONGEST_S = 30.0
_WHAT = "it keeps the connections of integrations"


class AirflowConnections:
    """
    A `ConnectionStore` for one request, with the rights of its caller.

    Make it on the event loop, and call it from a `def` route, which has a thread: each method waits for the loop.
    """

    def __init__(self, request: Request) -> None:
        self._loop = asyncio.get_running_loop()
        self._headers = {name: value for name, value in request.headers.items() if name in {"authorization", "cookie"}}

    def get(self, connection_id: str) -> Connection | None:
        return airflow_connection.find(connection_id)

    def create(self, connection: Connection) -> None:
        status = self._call("POST", "", document_of(connection))
        if status == HTTPStatus.CONFLICT:
            raise Conflict(
                f"Airflow already has a connection {connection.connection_id!r}. To use it as it is, add the "
                "integration without settings and credentials"
            )
        _refuse_others(status)

    def replace(self, connection: Connection) -> None:
        status = self._call("PATCH", f"/{quote(connection.connection_id, safe='')}", document_of(connection))
        if status == HTTPStatus.NOT_FOUND:
            raise NotFound(f"Airflow's database has no connection {connection.connection_id!r}")
        _refuse_others(status)

    def remove(self, connection_id: str) -> None:
        status = self._call("DELETE", f"/{quote(connection_id, safe='')}", None)
        if status != HTTPStatus.NOT_FOUND:
            _refuse_others(status)

    def _call(self, method: str, path: str, document: dict[str, Any] | None) -> int:
        called = asyncio.run_coroutine_threadsafe(self._call_airflow(method, path, document), self._loop)
        try:
            return called.result(_LONGEST_S)
        except TimeoutError:
            called.cancel()
            raise AirflowUnavailable(_WHAT) from None

    async def _call_airflow(self, method: str, path: str, document: dict[str, Any] | None) -> int:
        import httpx  # noqa: PLC0415
        from airflow.api_fastapi.app import cached_app  # noqa: PLC0415

        # The app that is serving this request; see airflow.api_fastapi.main.
        airflow = cached_app(apps=os.environ.get("AIRFLOW_API_APPS", "all"))
        transport = httpx.ASGITransport(app=airflow, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://hub.internal") as client:
            answer = await client.request(method, f"/api/v2/connections{path}", headers=self._headers, json=document)
        return answer.status_code


def document_of(connection: Connection) -> dict[str, Any]:
    """Write *connection* as Airflow's API has it."""
    return {
        "connection_id": connection.connection_id,
        "conn_type": connection.conn_type,
        "host": connection.host,
        "port": connection.port or NO_PORT,
        "schema": connection.schema,
        "login": connection.login,
        "password": connection.password,
        "extra": json.dumps(dict(connection.extra)),
        "description": "Managed by Crossdock. Change it with ./hub integration, which tests it first",
    }


def _refuse_others(status: int) -> None:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise AirflowUnavailable(_WHAT)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise Problem(HTTPStatus.FORBIDDEN, "forbidden", "Airflow does not allow the caller to write connections")
    if status >= HTTPStatus.BAD_REQUEST:
        raise Problem(HTTPStatus.BAD_GATEWAY, "airflow-refused", f"Airflow refused the connection with HTTP {status}")


async def _connections_of(request: Request) -> AirflowConnections:
    return AirflowConnections(request)


Connections = Annotated[AirflowConnections, Depends(_connections_of)]
