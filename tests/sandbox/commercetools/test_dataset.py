"""A real shop, served from the lines of its invoices: all of them, unchanged."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from crossdock.sandbox.commercetools.data.invoice_lines import DatasetRefusedError
from crossdock.sandbox.commercetools.dataset import Dataset
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.test_client import RetailerClient
from tests.sandbox.commercetools import invoice_lines
from tests.sandbox.commercetools.invoice_lines import LINES, UK

MIB = 1024 * 1024


def everything(client: RetailerClient, path: str, *, limit: int = 500, see: Callable[[int], object] = int) -> list[Any]:
    """Read all rows by keyset pagination; *see* is called with the size of each page."""
    rows: list[Any] = []
    query: list[tuple[str, Any]] = [("sort", "lastModifiedAt asc"), ("sort", "id asc"), ("limit", limit)]
    after: list[tuple[str, Any]] = []
    while True:
        answer = client.get(path, *query, *after, ("withTotal", "false"), timeout_s=600)
        assert answer.status == 200, answer.body
        see(len(answer.body))
        page = answer.json["results"]
        rows += page
        if len(page) < limit:
            return rows
        last = page[-1]
        where = "lastModifiedAt > :at or (lastModifiedAt = :at and id > :id)"
        after = [("where", where), ("var.at", last["lastModifiedAt"]), ("var.id", last["id"])]


def order(client: RetailerClient, invoice: str) -> Any:
    return client.get(f"orders/order-number={invoice}").json


def fields(row: Any) -> Any:
    return row["custom"]["fields"]


def one(client: RetailerClient, path: str, key: str) -> Any:
    (row,) = client.get(path, ("where", "key = :key"), ("var.key", key)).json["results"]
    return row


@pytest.mark.parametrize("limit", [1, 2, 500])
def test_every_line_of_the_file_is_a_line_of_exactly_one_order(real: RetailerClient, limit: int) -> None:
    """Duplicates, cancellations and free items included: a line missing here is missing in every later count."""
    orders = everything(real, "orders", limit=limit)

    assert invoice_lines.in_orders(orders) == invoice_lines.in_file(LINES)
    assert len({row["orderNumber"] for row in orders}) == len(orders) == len({line[0] for line in LINES})
    ids = [item["id"] for row in orders for item in row["lineItems"]]
    assert len(set(ids)) == len(ids) == len(LINES)


def test_checksum_counts_the_lines(real: RetailerClient) -> None:
    """It needs no reading of all orders; a row with a wrong value counts as far as it can be counted."""

    def checksum(entity: str) -> Any:
        return real.call("GET", f"/_sandbox/checksum/{entity}").json

    codes, customers = {line[1] for line in LINES}, {line[6] for line in LINES if line[6]}
    assert checksum("orders") == {"rows": 9, "versions": 9, "quantity": 0, "lines": len(LINES)}
    assert checksum("product-projections") == {"rows": len(codes), "versions": len(codes), "quantity": 0}
    assert checksum("customers") == {"rows": len(customers), "versions": len(customers), "quantity": 0}
    assert checksum("inventory") == {"rows": len(codes), "versions": len(codes), "quantity": 45}
    path = f"/_sandbox/resource/orders/{order(real, '489435')['id']}"
    assert real.call("PATCH", path, body={"lineItems": "two"}).status == 200
    assert checksum("orders") == {"rows": 9, "versions": 10, "quantity": 0, "lines": len(LINES) - 2}


def test_lines_stand_in_the_order_of_the_file(real: RetailerClient) -> None:
    """The order is kept even if lines of another invoice stand between them."""
    row = order(real, "489434")
    assert [item["variant"]["sku"] for item in row["lineItems"]] == ["85123A", "85123a", "POST", "POST", "85123A"]
    assert [item["quantity"] for item in row["lineItems"]] == [6, 2, 1, 1, 1]


def test_flawed_values_are_unchanged(real: RetailerClient) -> None:
    """The reader must see them to clean them."""
    adjusted = order(real, "489464")["lineItems"]
    assert [item["quantity"] for item in adjusted] == [-96, 0]
    assert adjusted[0]["name"] == {"en": "85123a mixed"}
    assert "name" not in adjusted[1]
    assert order(real, "494914")["lineItems"][1]["name"] == {"en": "   "}
    assert order(real, "494915")["lineItems"][0]["variant"] == {"id": 1, "sku": ""}
    assert order(real, "489435")["lineItems"][0]["variant"]["sku"] == "47503J "
    bad_debt = order(real, "A506401")
    assert bad_debt["lineItems"][0]["price"]["value"]["centAmount"] == bad_debt["totalPrice"]["centAmount"] == -5359436


def test_price_of_less_than_a_penny_keeps_its_digits(real: RetailerClient) -> None:
    """The vendor has a type of money for it; rounded to 0 it would look like a gift."""
    pads = order(real, "494914")["lineItems"][0]
    assert pads["price"]["value"] == {
        "type": "highPrecision",
        "currencyCode": "GBP",
        "centAmount": 0,
        "preciseAmount": 1,
        "fractionDigits": 3,
    }
    # It is 0.7 pennies: a total is rounded once, after the multiplication.
    assert pads["totalPrice"]["centAmount"] == 1


@pytest.mark.parametrize(
    ("price", "quantity", "total"),
    [(0.005, 1, 0), (0.005, 3, 2), (0.015, 1, 2), (0.025, 1, 2), (-0.005, 1, 0), (1.005, 100, 10050), (8.7, 3, 2610)],
)
def test_totals_are_rounded_half_to_even(tmp_path: Path, price: float, quantity: int, total: int) -> None:
    """The vendor does so; the binary digits of a float do not matter."""
    line = ("1", "x", "X", quantity, "2010-01-04 10:24:00", price, None, UK)
    dataset = Dataset.read(invoice_lines.write(tmp_path / "x.parquet", [line]))
    made = dataset.rows["orders"][0].document
    assert made["lineItems"][0]["totalPrice"]["centAmount"] == made["totalPrice"]["centAmount"] == total
    assert invoice_lines.amount(made["lineItems"][0]["price"]["value"]) == Fraction(str(price))


def test_totals_add_up(real: RetailerClient) -> None:
    """The total of an order is the sum of its lines, and that of a line price times quantity."""
    for row in everything(real, "orders"):
        items = row["lineItems"]
        assert row["totalPrice"]["centAmount"] == sum(item["totalPrice"]["centAmount"] for item in items)
        for item in items:
            rest = invoice_lines.amount(item["price"]["value"]) * item["quantity"] - invoice_lines.amount(
                item["totalPrice"]
            )
            assert abs(rest) <= Fraction(1, 200)


def test_an_order_has_a_state(real: RetailerClient) -> None:
    """It comes from the first letter of the invoice: the file has nothing else."""
    states = {row["orderNumber"]: row["orderState"] for row in everything(real, "orders")}
    other = {"C489449": "Cancelled", "A506401": "Open"}
    assert states == {line[0]: other.get(line[0], "Complete") for line in LINES}


def test_timestamps_are_from_london_time(real: RetailerClient) -> None:
    """In July it is an hour ahead of UTC; the hour that happens twice in October is the first one."""
    winter, summer, twice = (order(real, invoice) for invoice in ("489435", "494914", "494915"))
    assert winter["createdAt"] == winter["lastModifiedAt"] == "2010-01-04T10:24:00.000Z"
    assert summer["createdAt"] == "2010-07-01T16:04:00.000Z"
    assert twice["createdAt"] == "2010-10-31T00:30:00.000Z"
    assert fields(summer)["invoice_date_raw"] == "2010-07-01 17:04:00"


def test_a_line_later_than_its_invoice_has_its_own_date(real: RetailerClient) -> None:
    """The order is modified then; the line keeps its date in a custom field."""
    row = order(real, "489434")
    assert (row["createdAt"], row["lastModifiedAt"]) == ("2010-01-04T10:24:00.000Z", "2010-01-04T10:25:00.000Z")
    assert [fields(item) for item in row["lineItems"] if "custom" in item] == [
        {"invoice_date_raw": "2010-01-04 10:25:00"}
    ]


def test_a_line_of_another_customer_or_country_has_its_own(tmp_path: Path) -> None:
    """An order has one of each; other values are kept on the line."""
    lines = [
        ("1", "x", "X", 1, "2010-01-04 10:24:00", 1.0, 7.0, UK),
        ("1", "x", "X", 1, "2010-01-04 10:24:00", 1.0, None, "RSA"),
    ]
    made = Dataset.read(invoice_lines.write(tmp_path / "x.parquet", lines)).rows["orders"][0].document
    assert "custom" not in made["lineItems"][0]
    assert fields(made["lineItems"][1]) == {"customer_id_raw": "", "country": "RSA"}


@pytest.mark.parametrize(
    ("invoice", "code", "raw"),
    [
        ("489434", "GB", UK),
        ("489435", "IE", "EIRE"),
        ("494914", None, "Unspecified"),
        ("494917", None, "Channel Islands"),
        ("494916", None, None),
    ],
)
def test_country_is_a_code_where_there_is_one(
    real: RetailerClient, invoice: str, code: str | None, raw: str | None
) -> None:
    """The shop's own name is kept beside it."""
    row = order(real, invoice)
    assert (row.get("country"), row.get("shippingAddress", {}).get("country")) == (code, code)
    assert fields(row).get("country") == raw


def test_a_customer_is_derived_from_its_number(real: RetailerClient) -> None:
    """The vendor requires an e-mail address: it is an address without a mailbox, and is marked as derived."""
    customers = {row["customerNumber"]: row for row in everything(real, "customers")}
    assert sorted(customers) == ["12680", "13085", "16705"]
    known = customers["16705"]
    assert known["email"] == "customer-16705@example.invalid"
    assert known["addresses"] == [{"id": "a1", "country": "DE"}]
    assert fields(known) == {"email_derived": True, "countries": ["Unspecified", "Germany"]}
    assert (known["createdAt"], known["lastModifiedAt"]) == ("2010-07-01T16:04:00.000Z", "2010-10-31T00:30:00.000Z")
    assert order(real, "494915")["customerId"] == known["id"]
    assert not {"customerId", "customerEmail"} & order(real, "489464").keys()


def test_a_product_is_derived_from_its_lines(real: RetailerClient) -> None:
    """Its name and price are the most frequent ones; all names are kept."""
    heart = one(real, "product-projections", "85123A")
    assert heart["name"] == {"en": "WHITE HANGING HEART T-LIGHT HOLDER"}
    assert heart["masterVariant"]["sku"] == "85123A"
    assert heart["masterVariant"]["attributes"] == [
        {
            "name": "descriptions",
            "value": ["WHITE HANGING HEART T-LIGHT HOLDER", "CREAM HANGING HEART T-LIGHT HOLDER"],
        }
    ]
    assert [price["value"]["centAmount"] for price in heart["masterVariant"]["prices"]] == [255]
    assert (heart["createdAt"], heart["lastModifiedAt"]) == ("2010-01-04T10:24:00.000Z", "2010-01-05T09:00:00.000Z")
    assert order(real, "489434")["lineItems"][0]["productId"] == heart["id"]


def test_codes_that_look_alike_are_two_products(real: RetailerClient) -> None:
    """The reader decides if 85123a is 85123A."""
    keys = Counter(row["key"] for row in everything(real, "product-projections"))
    assert keys == Counter({line[1] for line in LINES})
    assert one(real, "product-projections", "85123a")["id"] != one(real, "product-projections", "85123A")["id"]


def test_product_never_sold_for_money_has_no_price(real: RetailerClient) -> None:
    """A price of 0 or less is not one to sell at."""
    assert one(real, "product-projections", "B")["masterVariant"]["prices"] == []
    assert one(real, "product-projections", "21733")["masterVariant"]["prices"] == []


def test_product_without_a_description_has_an_empty_name(tmp_path: Path) -> None:
    """The vendor requires a name; none is invented."""
    line = ("1", "x", None, 1, "2010-01-04 10:24:00", 1.0, None, UK)
    made = Dataset.read(invoice_lines.write(tmp_path / "x.parquet", [line])).rows["product-projections"][0].document
    assert made["name"] == {}
    assert made["masterVariant"]["attributes"] == [{"name": "descriptions", "value": []}]


def test_stock_is_derived_and_marked(real: RetailerClient) -> None:
    """It is the quantity invoiced in the last thirty days, at least 0."""
    stock = {row["sku"]: row for row in everything(real, "inventory")}
    assert {sku: row["quantityOnStock"] for sku, row in stock.items() if row["quantityOnStock"]} == {"22423": 45}
    assert stock.keys() == {line[1] for line in LINES}
    assert all(row["availableQuantity"] == row["quantityOnStock"] for row in stock.values())
    assert all(fields(row)["derived"] is True for row in stock.values())
    assert len({row["supplyChannel"]["id"] for row in stock.values()}) == 1


def test_stock_is_never_negative(tmp_path: Path) -> None:
    """More was returned than sold."""
    line = ("C1", "x", "X", -3, "2010-01-04 10:24:00", 1.0, None, UK)
    dataset = Dataset.read(invoice_lines.write(tmp_path / "x.parquet", [line]))
    assert dataset.rows["inventory"][0].document["quantityOnStock"] == 0


def test_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    """IDs are derived from names, not random."""
    path = invoice_lines.write(tmp_path / "lines.parquet")
    assert Dataset.read(path).rows == Dataset.read(path).rows


def test_the_simulation_changes_a_dataset(real: RetailerClient, real_shop: FakeRetailer) -> None:
    """Stock, prices and orders of a real shop change like generated ones."""
    began = real_shop.state.clock.now()
    # There are only ten products to change.
    body = {"stock_moves": 4, "price_changes": 20, "new_orders": 20, "order_changes": 3}
    answer = real.call("POST", "/_sandbox/life", body=body)

    assert answer.status == 200, answer.body
    changed = answer.json
    assert [len(changed[name]) for name in ("inventory", "product-projections", "orders")] == [4, 10, 23]
    assert all(row["lastModifiedAt"] > began for rows in changed.values() for row in rows)
    fresh = [real.get(f"orders/{row['id']}").json for row in changed["orders"][:20]]
    assert all(row["lineItems"] for row in fresh)
    assert {row["totalPrice"]["currencyCode"] for row in fresh} == {"GBP"}


def test_new_price_of_less_than_a_penny_stays_exact(real: RetailerClient) -> None:
    """The pennies and the precise amount change together."""
    real.call("POST", "/_sandbox/life", body={"price_changes": 10})
    value = one(real, "product-projections", "PADS")["masterVariant"]["prices"][0]["value"]
    assert value["preciseAmount"] == value["centAmount"] * 10 + 1
    assert value["centAmount"] >= 10


def states(row: Any) -> tuple[str, str | None]:
    return row["orderState"], row.get("shipmentState")


@pytest.mark.parametrize("name", ["client", "real"])
def test_order_changes_affect_as_many_as_requested(request: pytest.FixtureRequest, name: str) -> None:
    """The state is another, the version one higher, and the lines are the same."""
    client: RetailerClient = request.getfixturevalue(name)
    before = {row["id"]: row for row in everything(client, "orders")}
    changed = client.call("POST", "/_sandbox/life", body={"order_changes": 4}).json["orders"]

    assert len({row["id"] for row in changed}) == 4
    after = {row["id"]: row for row in everything(client, "orders")}
    assert [row["id"] for row in after.values()][-4:] == [row["id"] for row in changed]
    for row_id, row in after.items():
        if row_id not in {row["id"] for row in changed}:
            assert row == before[row_id]
            continue
        assert row["version"] == before[row_id]["version"] + 1
        assert states(row) != states(before[row_id])
        assert row["lineItems"] == before[row_id]["lineItems"]


@pytest.mark.parametrize("name", ["client", "real"])
def test_orders_change_while_they_are_read(request: pytest.FixtureRequest, name: str) -> None:
    """The fault changes them just before its page is made."""
    client: RetailerClient = request.getfixturevalue(name)
    assert client.script("orders", "ok", {"mutate_during": {"order_changes": 2}}).status == 200
    quiet, moved = client.get("orders").json, client.get("orders").json
    before = {row["id"]: row["version"] for row in quiet["results"]}
    assert sum(row["version"] - before[row["id"]] for row in moved["results"]) == 2


def test_a_late_update_keeps_the_custom_fields(real: RetailerClient) -> None:
    """A change without meaning must not remove what came from the file."""
    real.script("orders", {"late_update": {"seconds": 60}})
    rows = real.get("orders", ("limit", 500)).json["results"]
    (late,) = [row for row in rows if row["version"] == 2]
    assert fields(late).keys() >= {"touched", "invoice_date_raw"}


def test_faults_apply_to_a_dataset_too(real: RetailerClient) -> None:
    """Faults are independent of where the rows come from."""
    real.script("orders", {"status": 429, "retry_after": 2}, {"shrink": 0.5}, {"nan": True})
    assert real.get("orders").status == 429
    assert len(real.get("orders").json["results"]) == 4
    assert b"NaN" in real.get("orders").body


def test_a_reset_restores_the_rows_of_the_file(real: RetailerClient, real_shop: FakeRetailer) -> None:
    """The file is not read again, and its size cannot be set."""
    before = everything(real, "orders")
    real.call("POST", "/_sandbox/life", body={"order_changes": 3, "new_orders": 1})
    about = real.call("POST", "/_sandbox/reset", body={"seed": 9}).json
    assert (about["dataset"], about["size"]["orders"], about["size"]["seed"]) == ("lines.parquet", 9, 9)
    assert everything(real, "orders") == before
    refused = real.call("POST", "/_sandbox/reset", body={"orders": 5})
    assert refused.status == 400
    assert "lines.parquet" in refused.json["message"]
    assert len(real_shop.state.collection("orders")) == 9


def test_dataset_takes_no_sizes(tmp_path: Path) -> None:
    """They would have no effect."""
    with pytest.raises(ValueError, match="inventory"):
        FakeRetailer(dataset=invoice_lines.write(tmp_path / "lines.parquet"), inventory=5)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"Price": None}, "no column 'Price'"),
        ({"Quantity": [1] * (len(LINES) - 1) + [None]}, f"Line {len(LINES)} has no Quantity"),
        ({"Price": [float("nan")] * len(LINES)}, "Line 1 has quantity 6 and price nan"),
        ({"InvoiceDate": ["09/12/2010"] * len(LINES)}, "'09/12/2010' is not a valid InvoiceDate"),
        ({"InvoiceDate": ["2010-12-09T20:01:00Z"] * len(LINES)}, "has a zone"),
    ],
)
def test_file_that_cannot_be_served_whole_is_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    """The alternative would be to leave a line out."""
    path = invoice_lines.write(tmp_path / "lines.parquet", **columns)
    with pytest.raises(DatasetRefusedError, match=message):
        Dataset.read(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / "text.parquet").write_text("Invoice,StockCode\n")
    with pytest.raises(DatasetRefusedError, match=r"text\.parquet is not a parquet file"):
        Dataset.read(tmp_path / "text.parquet")
    with pytest.raises(DatasetRefusedError, match="no lines"):
        Dataset.read(invoice_lines.write(tmp_path / "none.parquet", **{name: [] for name in invoice_lines.COLUMNS}))
    with pytest.raises(FileNotFoundError):
        Dataset.read(tmp_path / "missing.parquet")


class Running:
    """The retailer as a process that serves *path*."""

    def __init__(self, path: Path, process: subprocess.Popen[str], port: int, ready_s: float) -> None:
        self.path = path
        self.process = process
        self.ready_s = ready_s
        self.client = RetailerClient(port, client_secret="hush")
        assert self.client.log_in().status == http.client.OK

    def memory_mib(self, name: str = "VmRSS") -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
        raise LookupError(name)


def started(path: Path, stderr: Path) -> Iterator[Running]:
    command = [sys.executable, "-m", "crossdock.sandbox", "--port", "0", "--dataset", str(path)]
    environment = os.environ | {"SANDBOX_CLIENT_SECRET": "hush"}
    began = time.monotonic()
    with (
        stderr.open("w", encoding="utf-8") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as process,
    ):
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            yield Running(path, process, ready["port"], time.monotonic() - began)
        finally:
            process.terminate()


def test_the_process_reports_progress_on_stderr(tmp_path: Path) -> None:
    """Standard output has only the line that the starter waits for."""
    for running in started(invoice_lines.write(tmp_path / "lines.parquet"), tmp_path / "stderr"):
        assert invoice_lines.in_orders(everything(running.client, "orders")) == invoice_lines.in_file(LINES)
    log = (tmp_path / "stderr").read_text(encoding="utf-8")
    assert "read 16 of 16 lines" in log
    assert "made 9 orders" in log


@pytest.mark.parametrize("more", [["--dataset", "none.parquet"], ["--dataset", "none.parquet", "--orders", "5"]])
def test_the_process_refuses_a_wrong_option_with_one_line(tmp_path: Path, more: list[str]) -> None:
    """A mistake in a command is not a stack trace."""
    command = [sys.executable, "-m", "crossdock.sandbox", "--port", "0", *more]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert ("--orders" if "--orders" in more else "none.parquet") in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(3_600)
def test_a_whole_year_is_served_to_the_last_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The real file, over the socket, from a process that must stay small and start soon."""
    name = os.environ.get("HUB_REAL_DATASET")
    if not name:
        pytest.skip(
            "a year of real orders is not part of the project: get Online Retail II of UCI as Parquet, set HUB_REAL_DATASET to it"
        )
    import pyarrow.parquet as pq

    columns = pq.read_table(name, columns=["Invoice", "StockCode", "Quantity", "Price"]).to_pydict()
    expected = Counter(zip(*columns.values(), strict=True))
    sizes: list[int] = []
    for running in started(Path(name), tmp_path / "stderr"):
        loaded_mib = running.memory_mib()
        checksum = running.client.call("GET", "/_sandbox/checksum/orders").json
        began = time.monotonic()
        orders = everything(running.client, "orders", see=sizes.append)
        read_s = time.monotonic() - began
        counts = {path: len(everything(running.client, path)) for path in ("product-projections", "customers")}
        peak_mib = running.memory_mib("VmHWM")
        life = {"order_changes": 500, "stock_moves": 500, "price_changes": 500}
        assert running.client.call("POST", "/_sandbox/life", body=life, timeout_s=600).status == 200

    largest = max(sizes) / MIB
    figures = f"ready in {running.ready_s:.1f} s, {loaded_mib:.0f} MiB then and {peak_mib:.0f} MiB at most"
    pages = f"{len(sizes)} pages of orders read in {read_s:.1f} s, the largest {largest:.1f} MiB"
    with capsys.disabled():
        print(f"\n{figures}; {pages}")  # noqa: T201 - the figures are asked for
    # A price becomes the float of the file again: both are the float nearest to the decimal.
    sold = {(*key[:3], float(key[3])): count for key, count in invoice_lines.in_orders(orders).items()}
    assert Counter(sold) == expected
    assert (sum(sold.values()), len(orders)) == (525_461, 28_816)
    assert checksum == {"rows": 28_816, "versions": 28_816, "quantity": 0, "lines": 525_461}
    assert counts == {"product-projections": 4_632, "customers": 4_383}
    assert peak_mib < 1_500
    assert largest < 32
