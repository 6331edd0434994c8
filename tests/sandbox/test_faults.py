"""Each fault as a client sees it."""

import gzip
import http.client
import json
import math
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.test_client import RetailerClient


def test_a_script_is_applied_once_and_in_order(client: RetailerClient) -> None:
    """Each request on the route takes the next entry; afterwards requests are answered normally again."""
    client.script("inventory", "ok", {"status": 503}, "ok", {"status": 500})
    assert [client.get("inventory").status for _ in range(6)] == [200, 503, 200, 500, 200, 200]


def test_repeated_script_stays_at_its_last_entry(client: RetailerClient) -> None:
    """An outage lasts until it is cleared."""
    client.script("inventory", "ok", {"status": 503}, repeat=True)
    assert [client.get("inventory").status for _ in range(4)] == [200, 503, 503, 503]
    client.call("DELETE", "/_sandbox/faults")
    assert client.get("inventory").status == 200


def test_script_holds_for_its_route_only(client: RetailerClient) -> None:
    """The script of "*" is for the routes without a script of their own."""
    client.script("inventory", {"status": 503})
    client.script("*", {"status": 502}, repeat=True)
    assert client.get("orders").status == 502
    assert [client.get("inventory").status for _ in range(2)] == [503, 502]
    client.call("DELETE", "/_sandbox/faults", [("route", "*")])
    client.script("oauth", {"status": 503})
    assert client.get("inventory").status == 200
    assert client.log_in().status == 503


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 502, 503, 504])
def test_status_comes_with_the_vendors_error_body(client: RetailerClient, status: int) -> None:
    """Clients decide by both."""
    client.script("inventory", {"status": status})
    answer = client.get("inventory")
    assert answer.status == answer.json["statusCode"] == status
    assert answer.json["errors"][0]["code"]


def test_retry_after_is_in_seconds_or_a_date(client: RetailerClient) -> None:
    """HTTP allows both and clients forget the second."""
    client.script("inventory", {"status": 429, "retry_after": 2}, {"status": 429, "retry_after": "date:+2"})
    assert client.get("inventory").headers["Retry-After"] == "2"
    before = datetime.now(UTC).replace(microsecond=0)
    until = parsedate_to_datetime(client.get("inventory").headers["Retry-After"])
    assert before + timedelta(seconds=2) <= until <= datetime.now(UTC) + timedelta(seconds=2)


@pytest.mark.parametrize(("moment", "applied"), [("before", 0), ("after", 1)])
def test_timeout_leaves_the_outcome_open(client: RetailerClient, shop: FakeRetailer, moment: str, applied: int) -> None:
    """The client gets no answer, and cannot know if its write took effect."""
    row = shop.state.collection("inventory").rows()[0]
    client.script("inventory", {"timeout": moment})
    with pytest.raises(TimeoutError):
        client.call(
            "POST",
            f"inventory/{row.id}",
            body={"version": row.version, "actions": [{"action": "addQuantity", "quantity": 1}]},
            timeout_s=0.2,
        )
    while shop.requests.all()[-1].duration_ms is None:
        time.sleep(0.01)
    assert shop.state.get("inventory", row.id).version == row.version + applied


def test_timeout_ends_without_an_answer(client: RetailerClient) -> None:
    """A client without a timeout is not held forever."""
    client.script("inventory", {"timeout": "before", "hold_s": 0.1})
    with pytest.raises(http.client.RemoteDisconnected):
        client.get("inventory")


def test_truncated_body_is_shorter_than_it_says(client: RetailerClient) -> None:
    """Content-Length is right, and the connection closes early."""
    whole = client.get("inventory").body
    client.script("inventory", {"truncate": 0.6})
    with pytest.raises(http.client.IncompleteRead) as caught:
        client.get("inventory")
    assert caught.value.partial == whole[: int(len(whole) * 0.6)]


def test_truncated_json_is_a_whole_answer(client: RetailerClient) -> None:
    """A proxy cut the body, and HTTP notices nothing."""
    whole = client.get("inventory").body
    client.script("inventory", {"truncate_json": 0.6})
    answer = client.get("inventory")
    assert answer.status == 200
    assert answer.body == whole[: int(len(whole) * 0.6)]
    with pytest.raises(json.JSONDecodeError):
        _ = answer.json


def test_login_page_comes_as_a_success(client: RetailerClient) -> None:
    """The proxy of a company answers like this."""
    client.script("inventory", {"not_json": "<html>login</html>"})
    answer = client.get("inventory")
    assert (answer.status, answer.body) == (200, b"<html>login</html>")
    assert answer.headers["Content-Type"].startswith("text/html")


def test_json_may_have_a_wrong_content_type(client: RetailerClient) -> None:
    """The body itself is right."""
    client.script("inventory", {"wrong_type": True})
    answer = client.get("inventory")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.json["count"] == 20


@pytest.mark.parametrize("fault", ["drip", "drip_headers"])
def test_slow_answer_never_stops_and_never_hurries(client: RetailerClient, fault: str) -> None:
    """No single read times out; only a total deadline helps."""
    whole = len(client.get("customers", ("limit", 1)).body)
    client.script("customers", {fault: 400})
    with socket.create_connection(("127.0.0.1", client.port), timeout=60) as raw:
        raw.sendall(f"GET /demo/customers?limit=1 HTTP/1.1\r\nAuthorization: Bearer {client.token}\r\n\r\n".encode())
        began, pieces = time.monotonic(), list[bytes]()
        while not b"".join(pieces).endswith(b"]}"):
            pieces.append(raw.recv(65536))
        took_s = time.monotonic() - began
    head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(body) == whole
    # 20 bytes each twentieth of a second: a reader that comes late finds several together, never all of them early.
    slow = len(body) if fault == "drip" else len(head)
    assert took_s >= slow / 400 - 0.1
    assert len(pieces) > 2


def test_duplicate_page_is_the_previous_one(client: RetailerClient) -> None:
    """A cache answered: the rows are old although the request was new."""
    first = client.get("inventory", ("limit", 5)).body
    client.script("inventory", {"duplicate_page": True})
    assert client.get("inventory", ("limit", 5), ("offset", 5)).body == first
    assert client.get("inventory", ("limit", 5), ("offset", 5)).body != first


def test_empty_feed_looks_healthy(client: RetailerClient) -> None:
    """An empty answer is a 200 like any other."""
    client.script("inventory", {"empty": True})
    page = client.get("inventory").json
    assert (page["count"], page["total"], page["results"]) == (0, 0, [])


def test_shrunken_feed_keeps_the_same_rows(client: RetailerClient) -> None:
    """It is the same tenth of the catalogue on every page, in any order."""
    client.script("inventory", {"shrink": 0.1}, repeat=True)
    page = client.get("inventory", ("sort", "lastModifiedAt desc"), ("sort", "id desc")).json
    assert (page["count"], page["total"]) == (6, 6)
    assert client.get("inventory", ("offset", 6)).json["count"] == 0


def test_rows_change_while_pages_are_read(client: RetailerClient, shop: FakeRetailer) -> None:
    """They change just before the page is made, so that it may have some of them already."""
    before = sum(row.version for row in shop.state.collection("inventory").rows())
    client.script("inventory", {"mutate_during": {"stock_moves": 5}})
    client.get("inventory")
    assert sum(row.version for row in shop.state.collection("inventory").rows()) == before + 5


def test_late_update_appears_in_the_past(client: RetailerClient, shop: FakeRetailer) -> None:
    """A transaction that took long to commit: the row is new, its instant is behind the reader's watermark."""
    kept = {row.id: row.version for row in shop.state.collection("inventory").rows()}
    client.script("inventory", {"late_update": {"seconds": 120}})
    before = datetime.now(UTC)
    client.get("inventory")
    late = [row for row in shop.state.collection("inventory").rows() if row.version != kept[row.id]]
    assert len(late) == 1
    at = datetime.fromisoformat(late[0].modified_at)
    second = timedelta(seconds=1)
    assert before - 121 * second < at < datetime.now(UTC) - 119 * second


def test_one_row_has_nan_for_a_number(client: RetailerClient) -> None:
    """NaN is not JSON, although many parsers accept it."""
    client.script("inventory", {"nan": True})
    rows = client.get("inventory").json["results"]
    assert [math.isnan(row["quantityOnStock"]) for row in rows].count(True) == 1


@pytest.mark.parametrize(("value", "number"), [(True, 10**400), (2**70, 2**70)])
def test_one_row_has_a_number_out_of_range(client: RetailerClient, value: Any, number: int) -> None:
    """It is valid JSON and fits no column."""
    client.script("inventory", {"huge_number": value})
    rows = client.get("inventory").json["results"]
    assert [row["quantityOnStock"] for row in rows].count(number) == 1


def test_reset_breaks_the_connection(client: RetailerClient) -> None:
    """The client gets an RST and not an orderly close."""
    client.script("inventory", {"reset": True})
    with pytest.raises(ConnectionResetError):
        client.get("inventory")


def test_redirect_leads_away(client: RetailerClient) -> None:
    """The target is the script's; a client that follows takes its token there."""
    client.script("inventory", {"redirect": "http://127.0.0.1:1/"})
    answer = client.get("inventory")
    assert (answer.status, answer.headers["Location"]) == (302, "http://127.0.0.1:1/")


def test_a_gzip_bomb_is_small_on_the_wire(client: RetailerClient) -> None:
    """Ten megabytes fit into a few thousand bytes, and are valid JSON when unpacked."""
    client.script("inventory", {"gzip_bomb_mb": 10})
    answer = client.get("inventory")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.body) < 50_000
    unpacked = gzip.decompress(answer.body)
    assert len(unpacked) > 10_000_000
    assert json.loads(unpacked)["results"] == []


def test_latency_can_be_combined_with_any_fault(client: RetailerClient) -> None:
    """Alone it delays a normal response."""
    client.script("inventory", {"latency_ms": 80}, {"latency_ms": 80, "status": 503})
    began = time.monotonic()
    assert [client.get("inventory").status for _ in range(2)] == [200, 503]
    assert time.monotonic() - began > 0.16


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"route": "carts", "script": []}, ["carts", "inventory"]),
        ({"route": "inventory", "script": ["fine"]}, ["fine", "status"]),
        ({"route": "inventory", "script": [{"stattus": 503}]}, ["stattus", "status", "latency_ms"]),
        ({"route": "inventory", "script": [{"status": 200}]}, ["status", "400"]),
        ({"route": "inventory", "script": [{"truncate": 2}]}, ["truncate", "0 to 1"]),
        ({"route": "inventory", "script": [{"status": 503, "reset": True}]}, ["status", "reset", "one thing"]),
        ({"route": "inventory", "script": [{"mutate_during": {"moves": 1}}]}, ["mutate_during", "stock_moves"]),
        ({"route": "inventory", "script": "ok"}, ["script", "list"]),
        ({"route": "inventory", "script": [], "again": True}, ["again", "repeat"]),
        ({"route": "inventory", "script": [{"status": 429, "retry_after": "soon"}]}, ["retry_after", "date:+2"]),
    ],
)
def test_wrong_script_is_refused_by_name(client: RetailerClient, document: dict[str, Any], words: list[str]) -> None:
    """A misspelt fault without effect would let a test pass for no reason."""
    answer = client.call("PUT", "/_sandbox/faults", body=document)
    assert answer.status == 400
    assert all(word in answer.json["message"] for word in words), answer.json["message"]
    assert client.call("GET", "/_sandbox/faults").json == {}


def _request_without_answer(client: RetailerClient) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - a reset or a close, depending on the threads
        client.get("inventory")


def test_the_sandbox_stops_while_a_client_is_held() -> None:
    """No thread outlives the block, whatever the script does."""
    with FakeRetailer(inventory=1, products=0, orders=0, customers=0) as shop:
        client = RetailerClient(shop.port)
        client.log_in()
        shop.faults.put("inventory", [{"timeout": "before"}])
        held = threading.Thread(target=_request_without_answer, args=(client,))
        held.start()
        while not len(shop.requests) > 1:
            time.sleep(0.01)
    held.join(timeout=30)  # half as long as the silence that was asked for
    assert not held.is_alive()
