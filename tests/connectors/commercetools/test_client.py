"""What is commercetools' own: odd pages, and the connection in Airflow."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from crossdock.connectors.commercetools import Commercetools
from crossdock.core.errors import BadRequest, SourceInvalid
from crossdock.integrations.airflow_connection import read
from crossdock.sync.source import Axis, Cursor, FetchedPage, Range
from tests.http.raw_server import QUICK, RawServer, answer
from tests.tls import Tls

EVERYTHING = Range(range_no=0, axis=Axis.ID)


def record(key: Any, at: Any = "2026-11-21T12:00:00.000Z") -> dict[str, Any]:
    return {"id": key, "lastModifiedAt": at, "sku": "CRUNCHY-ARMCHAIR"}


def after_id(key: str) -> Cursor:
    return Cursor(datetime(2026, 11, 21, 12, 0, tzinfo=UTC), key)


def page_of(*records: Any, **changed: Any) -> bytes:
    return answer(json.dumps({"limit": 500, "offset": 0, "count": len(records), "results": records} | changed))


def fetch(server: RawServer, *, after: Cursor | None = None, page_records: int = 2) -> FetchedPage:
    source = Commercetools(server.url, "demo", limits=QUICK, page_records=page_records)
    return source.page("inventory", EVERYTHING, after)


@pytest.mark.parametrize(
    "odd",
    [
        record("b", None),
        record("b", 17),
        record("b", "yesterday"),
        record("b", "2026-11-21T12:00:00"),
        record("b", "0001-01-01T00:00:00+05:00"),
        record(None),
        record(17),
        record("", "2026-11-21T12:00:00Z"),
        {},
    ],
)
def test_a_record_without_an_id_or_an_instant_does_not_spoil_its_page(odd: Any) -> None:
    """It goes to quarantine with a reason; the cursor is that of the last record that has both."""
    with RawServer(page_of(record("a"), odd)) as server:
        page = fetch(server)

    assert (page.records, page.cursor and page.cursor.id, page.last) == (2, "a", False)


def test_a_full_page_with_nothing_to_read_on_from_is_refused() -> None:
    """The same page would be requested and landed forever."""
    with RawServer(page_of(record("a", "21.11.2026"), record("b", "21.11.2026"))) as server:
        with pytest.raises(SourceInvalid, match="no record with an id and a lastModifiedAt to continue from"):
            fetch(server)
        with pytest.raises(SourceInvalid, match="to continue from"):
            fetch(server, after=after_id("0"))


def test_a_last_page_needs_no_cursor() -> None:
    """One bad record at the very end must not fail the whole read."""
    with RawServer(page_of(record("b", None))) as server:
        page = fetch(server, after=after_id("a"))

    assert (page.records, page.cursor, page.last) == (1, None, True)


@pytest.mark.parametrize("keys", [("a",), ("a", "b"), ("0", "b")])
def test_a_page_that_is_not_past_the_cursor_is_refused(keys: tuple[str, ...]) -> None:
    with RawServer(page_of(*map(record, keys))) as server, pytest.raises(SourceInvalid, match="nothing past b"):
        fetch(server, after=after_id("b"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"results": []}',
        b'{"count": 0}',
        b'{"count": 1, "results": []}',
        b'{"count": 1, "results": [null]}',
        b'{"count": 0, "results": {}}',
        b'{"count": "0", "results": []}',
        b'{"statusCode": 200, "message": "try later"}',
        b'{"count": 0, "results": []',
        b'\xef\xbb\xbf{"count": 0, "results": []}\xff',
        b'{"x": ' + b"[" * 100_000,
        b"[" * 100_000,
    ],
)
def test_an_invalid_page_is_never_taken_for_an_empty_one(body: bytes) -> None:
    """Zero rows and success is the worst answer that a hub can make of a broken one."""
    with RawServer(answer(body)) as server, pytest.raises(SourceInvalid):
        fetch(server)


@pytest.mark.parametrize(
    "odd",
    [
        b'{"id": "b", "n": NaN}',
        b'{"id": "b", "s": "\\ud800"}',
        b'{"id": "b", "n": 1e999}',
        b'{"id": "b", "s": "\\u0000"}',
    ],
)
def test_a_value_that_is_no_json_spoils_its_record_only(odd: bytes) -> None:
    """The page lands as it came; the record goes to quarantine when it is decoded."""
    whole = json.dumps(record("a")).encode()

    with RawServer(answer(b'{"count": 2, "results": [' + whole + b"," + odd + b"]}")) as server:
        page = fetch(server)

    assert page.records == 2
    assert odd in page.body


def test_the_project_cannot_leave_its_place_in_the_path() -> None:
    """It comes from a connection that a person writes."""
    with RawServer(page_of()) as server:
        Commercetools(server.url, "../admin?x=1#", limits=QUICK).page("inventory", EVERYTHING, None)

    assert server.requests[0].startswith("GET /..%2Fadmin%3Fx%3D1%23/inventory?")


class TestConnection:
    """Airflow finds the connection in the environment, as it does in a task."""

    @pytest.fixture
    def connected(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        def connect(**fields: Any) -> Commercetools:
            monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "http"} | fields))
            return Commercetools.of(read("shop"))

        return connect

    @pytest.mark.parametrize(
        ("fields", "url"),
        [
            ({"host": "https://api.example.com"}, "https://api.example.com"),
            ({"host": "https://api.example.com/", "port": 8443}, "https://api.example.com:8443"),
            ({"host": "http://127.0.0.1", "port": 8090}, "http://127.0.0.1:8090"),
            ({"host": "api.example.com"}, "https://api.example.com"),
            ({"host": "127.0.0.1", "schema": "http", "port": 8090}, "http://127.0.0.1:8090"),
        ],
    )
    def test_the_host_may_be_written_as_airflow_has_it(self, connected: Any, fields: Any, url: str) -> None:
        """With its scheme, or with the scheme in a field of its own, as in the form of a URI."""
        source = connected(**fields, login="id", password="secret", extra={"project": "demo"})

        assert source._client.base_url == url
        assert source._client.auth._client.base_url == url

    def test_all_that_is_missing_is_named_at_once(self, connected: Any) -> None:
        """Nobody likes to be sent back four times."""
        with pytest.raises(BadRequest, match=r"'shop' has no login, password, extra\.project: set it under Admin"):
            connected(host="https://api.example.com")

    def test_a_file_of_authorities_holds_for_tokens_too(self, connected: Any, tls: Tls) -> None:
        authorities = tls.ca_file

        source = connected(
            host="https://api.example.com",
            login="id",
            password="secret",
            extra={"project": "demo", "ca_file": authorities, "auth_url": "https://auth.example.com"},
        )

        assert source._client.tls.ca_file == source._client.auth._client.tls.ca_file == authorities
        assert source._client.auth._client.base_url == "https://auth.example.com"
