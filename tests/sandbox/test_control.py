"""The control API: simulation, log, checksum, patch, reset."""

import threading
import time
from typing import Any

import pytest

from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.test_client import RetailerClient
from crossdock.sandbox.engine.log import RequestLog
from crossdock.sandbox.engine.messages import Request


def control(client: RetailerClient, method: str, path: str, body: Any = None) -> Any:
    answer = client.call(method, f"/_sandbox/{path}", body=body)
    assert answer.status == 200, answer.body
    return answer.json


def test_the_simulation_changes_as_many_rows_as_requested(client: RetailerClient, shop: FakeRetailer) -> None:
    """The rows are distinct, one version higher and modified now; the response lists them."""
    before = {row.id: row for row in shop.state.collection("inventory").rows()}
    orders = len(shop.state.collection("orders"))
    changed = control(client, "POST", "life", {"stock_moves": 10, "price_changes": 5, "new_orders": 2})
    assert [len(changed[name]) for name in ("inventory", "product-projections", "orders")] == [10, 5, 2]
    assert len({row["id"] for row in changed["inventory"]}) == 10
    for row in changed["inventory"]:
        assert row["version"] == before[row["id"]].version + 1
        assert row["lastModifiedAt"] > before[row["id"]].modified_at
    assert len(shop.state.collection("orders")) == orders + 2
    assert client.get(f"orders/order-number={changed['orders'][0]['orderNumber']}").json["orderState"] == "Open"


def test_the_simulation_changes_flawed_rows_only_on_request() -> None:
    """A changed row with a flaw is a new version in quarantine, which few tests want."""
    with FakeRetailer(inventory=100, products=10, orders=0, customers=0, flaws=5) as shop:
        client = RetailerClient(shop.port)
        flawed = shop.state.flawed_ids("inventory")
        good = control(client, "POST", "life", {"stock_moves": 100})["inventory"]
        assert len(good) == 100 - len(flawed)
        assert not flawed.keys() & {row["id"] for row in good}
        assert len(control(client, "POST", "life", {"stock_moves": 100, "only_good": False})["inventory"]) == 100
        assert control(client, "GET", "flaws/inventory")["flaws"] == flawed


def test_the_simulation_can_run_automatically(client: RetailerClient, shop: FakeRetailer) -> None:
    """For watching; DELETE ends it."""
    before = control(client, "GET", "checksum/inventory")["versions"]
    control(client, "POST", "life", {"every_s": 0.02, "stock_moves": 3})
    deadline = time.monotonic() + 120
    while control(client, "GET", "checksum/inventory")["versions"] < before + 6:
        assert time.monotonic() < deadline
    control(client, "DELETE", "life")
    after = control(client, "GET", "checksum/inventory")["versions"]
    time.sleep(0.06)  # three times as long as it waited between two changes
    assert control(client, "GET", "checksum/inventory")["versions"] == after
    assert not shop.simulation.running


@pytest.mark.parametrize("body", [{"stock_move": 1}, {"stock_moves": "1"}, {"stock_moves": -1}, {"every_s": 0}])
def test_a_wrong_request_to_the_simulation_is_refused(client: RetailerClient, body: dict[str, Any]) -> None:
    """The message names the field, so that a typo does not look like a shop without changes."""
    answer = client.call("POST", "/_sandbox/life", body=body)
    assert answer.status == 400
    assert next(iter(body)) in answer.json["message"]


def test_the_log_has_each_request(client: RetailerClient, shop: FakeRetailer) -> None:
    """It has order, query, status, fault and size, for assertions on the behaviour of a client."""
    client.script("inventory", "ok", {"status": 503})
    answer = client.get("inventory", ("sort", "id asc"), ("sort", "sku asc"), ("where", 'sku = "x"'))
    client.get("inventory")
    one, two = control(client, "GET", "requests")["requests"]
    assert (one["method"], one["path"], one["status"], one["fault"]) == ("GET", "/demo/inventory", 200, None)
    assert one["query"] == {"sort": ["id asc", "sku asc"], "where": ['sku = "x"']}
    assert one["bytes"] == len(answer.body)
    assert one["concurrency"] == 1
    assert (two["status"], two["fault"]) == (503, {"status": 503})
    assert [row["n"] for row in control(client, "GET", f"requests?after={one['n']}")["requests"]] == [two["n"]]
    control(client, "DELETE", "requests")
    assert len(shop.requests) == 0


def test_the_log_counts_concurrent_requests(client: RetailerClient, shop: FakeRetailer) -> None:
    """A test sees from it that a client keeps its concurrency limit."""
    shop.faults.put("inventory", [{"latency_ms": 500}], repeat=True)
    threads = [threading.Thread(target=client.get, args=("inventory",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.get("orders")
    assert [entry.concurrency for entry in shop.requests] == [1, 2, 3, 1]


def test_the_log_drops_its_oldest_entries() -> None:
    """A day of polling must not fill the memory."""
    log = RequestLog()
    request = Request("GET", "/demo/inventory", ("demo", "inventory"), {}, {})
    for _ in range(100_010):
        with log.record(request, None):
            pass
    assert (len(log), next(iter(log)).n) == (100_000, 11)


def test_checksum_moves_with_the_rows(client: RetailerClient, shop: FakeRetailer) -> None:
    """A test compares a target with it without reading all rows."""
    rows = [row.document for row in shop.state.collection("inventory").rows()]
    total = {
        "rows": 60,
        "versions": sum(row["version"] for row in rows),
        "quantity": sum(row["quantityOnStock"] for row in rows),
    }
    assert control(client, "GET", "checksum/inventory") == total
    client.update(f"inventory/{rows[0]['id']}", rows[0]["version"], {"action": "addQuantity", "quantity": 9})
    total["versions"] += 1
    total["quantity"] += 9
    assert control(client, "GET", "checksum/inventory") == total


def test_patch_writes_what_the_api_would_refuse(client: RetailerClient, shop: FakeRetailer) -> None:
    """A test seeds a bad row with it; the patch is merged by RFC 7396."""
    row = shop.state.collection("inventory").rows()[0]
    patch = {"sku": "\ud800\x00", "quantityOnStock": "7", "supplyChannel": {"id": None}, "key": None}
    patched = control(client, "PATCH", f"resource/inventory/{row.id}", patch)
    assert (patched["sku"], patched["quantityOnStock"]) == ("\ud800\x00", "7")
    assert patched["supplyChannel"] == {"typeId": "channel"}
    assert "key" not in patched
    assert patched["version"] == row.version + 1
    assert patched["lastModifiedAt"] > row.modified_at
    assert client.get("inventory", ("sort", "lastModifiedAt desc"), ("limit", 1)).json["results"] == [patched]


def test_a_patch_can_keep_the_version_or_set_the_timestamp(client: RetailerClient, shop: FakeRetailer) -> None:
    """Some sources change rows without a new version, others report changes late."""
    row = shop.state.collection("inventory").rows()[0]
    path = f"resource/inventory/{row.id}"
    silent = control(client, "PATCH", path, {"quantityOnStock": 1, "_keep_version": True})
    assert (silent["version"], silent["lastModifiedAt"]) == (row.version, row.modified_at)
    late = control(client, "PATCH", path, {"lastModifiedAt": "2026-02-01T00:00:00Z"})
    assert (late["version"], late["lastModifiedAt"]) == (row.version + 1, "2026-02-01T00:00:00.000Z")


@pytest.mark.parametrize("patch", [{"id": "x"}, {"version": "1"}, {"lastModifiedAt": "2026-02-30T00:00:00Z"}])
def test_patch_cannot_break_the_order_of_rows(
    client: RetailerClient, shop: FakeRetailer, patch: dict[str, Any]
) -> None:
    """Readers page by these fields, so they stay valid."""
    row = shop.state.collection("inventory").rows()[0]
    assert client.call("PATCH", f"/_sandbox/resource/inventory/{row.id}", body=patch).status == 400
    assert shop.state.get("inventory", row.id) == row


def test_reset_makes_a_new_shop(client: RetailerClient, shop: FakeRetailer) -> None:
    """Sizes that are not given stay, and so do tokens; faults and log are cleared."""
    client.script("inventory", {"status": 503}, repeat=True)
    about = control(client, "POST", "reset", {"seed": 9, "inventory": 30})
    assert about["size"] == {"seed": 9, "inventory": 30, "products": 12, "orders": 6, "customers": 6, "flaws": 0}
    assert about["rows"]["inventory"] == 30
    assert len(shop.requests) == 0
    assert client.get("inventory").json["total"] == 30
    assert client.call("POST", "/_sandbox/reset", body={"sed": 1}).status == 400
    assert client.call("POST", "/_sandbox/reset", body={"seed": 1.5}).status == 400


def test_web_page_cannot_drive_the_shop(client: RetailerClient, shop: FakeRetailer) -> None:
    """Any page in a browser on this machine can send requests here; browsers add an Origin header to them."""
    answer = client.call("POST", "/_sandbox/reset", headers={"Origin": "https://evil.example"})
    assert answer.status == 403
    assert len(shop.state.collection("inventory")) == 60


def test_unknown_control_route_names_the_known(client: RetailerClient) -> None:
    """A typo in a path is noticed at once."""
    answer = client.call("GET", "/_sandbox/fault")
    assert answer.status == 404
    assert "/_sandbox/faults" in answer.json["message"]
    assert client.call("GET", "/_sandbox/checksum/carts").status == 400
    assert client.call("GET", "/_sandbox/checksum").status == 400


def test_control_needs_no_token_and_is_not_in_the_log(client: RetailerClient, shop: FakeRetailer) -> None:
    """The log is for the requests of the client under test."""
    client.token = ""
    control(client, "GET", "")
    assert len(shop.requests) == 0
