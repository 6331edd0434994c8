"""Lists: pagination, limits, and that a page costs its own size."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.sandbox.commercetools.collection import Collection
from crossdock.sandbox.commercetools.predicates import compile_predicate, parse
from crossdock.sandbox.commercetools.queries import query_of
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.test_client import RetailerClient

BY_TIME = (("sort", "lastModifiedAt asc"), ("sort", "id asc"))


def after(row: dict[str, Any]) -> tuple[str, str]:
    at, row_id = row["lastModifiedAt"], row["id"]
    return ("where", f'lastModifiedAt > "{at}" or (lastModifiedAt = "{at}" and id > "{row_id}")')


def walk(client: RetailerClient, entity: str, limit: int) -> list[dict[str, Any]]:
    """Read all rows by keyset pagination; projections of products that are not published are asked for."""
    staged = [("staged", "true")] if entity == "product-projections" else []
    rows: list[dict[str, Any]] = []
    while True:
        where = [after(rows[-1])] if rows else []
        page = client.get(entity, *staged, *BY_TIME, *where, ("limit", limit), ("withTotal", "false")).json["results"]
        rows += page
        if not page:
            return rows


@pytest.mark.parametrize("entity", ["inventory", "product-projections", "orders", "customers"])
def test_keyset_pagination_reads_each_row_once(reader: RetailerClient, still_shop: FakeRetailer, entity: str) -> None:
    """Bulk imports give many rows the same timestamp; the ID breaks the tie, even across pages."""
    rows = walk(reader, entity, 37)
    assert sorted(row["id"] for row in rows) == still_shop.state.collection(entity).ids()
    assert len({row["lastModifiedAt"] for row in rows}) < len(rows)


def test_keyset_page_tests_no_rows(reader: RetailerClient, still_shop: FakeRetailer) -> None:
    """100,000 rows a second are possible only because a page is found by bisecting and joined from bytes."""
    collection = still_shop.state.collection("inventory")
    before = collection.evaluations
    walk(reader, "inventory", 100)
    assert collection.evaluations == before


def test_filtered_keyset_page_tests_only_the_rows_it_passes(reader: RetailerClient, still_shop: FakeRetailer) -> None:
    """Another condition is tested from the start of the page, and only until the page is full."""
    collection = still_shop.state.collection("inventory")
    row = reader.get("inventory", *BY_TIME, ("limit", 500)).json["results"][-1]
    before = collection.evaluations
    page = reader.get(
        "inventory", *BY_TIME, after(row), ("where", "version > 0"), ("limit", 20), ("withTotal", "false")
    )
    assert len(page.json["results"]) == 20
    assert collection.evaluations - before <= 20


def test_lookup_by_sku_tests_few_rows(reader: RetailerClient, still_shop: FakeRetailer) -> None:
    """A stock check for one order line must not scan the warehouse."""
    collection = still_shop.state.collection("inventory")
    flawed = still_shop.state.flawed_ids("inventory")
    sku = next(row.document["sku"] for row in collection.rows() if row.id not in flawed)
    before = collection.evaluations
    page = reader.get("inventory", ("where", "sku in :skus"), ("var.skus", sku), ("var.skus", "none")).json
    assert page["count"] == page["total"] >= 1
    assert {row["sku"] for row in page["results"]} == {sku}
    assert collection.evaluations - before <= 4


def test_a_page_has_the_vendors_defaults(reader: RetailerClient) -> None:
    """These are 20 rows, from the start, with a total, by ID."""
    page = reader.get("inventory").json
    assert [page[k] for k in ("limit", "offset", "count", "total")] == [20, 0, 20, 1200]
    assert [row["id"] for row in page["results"]] == sorted(row["id"] for row in page["results"])


def test_the_total_is_optional(reader: RetailerClient) -> None:
    """Counting makes the vendor slow; withTotal=false avoids it."""
    assert "total" not in reader.get("inventory", ("withTotal", "false")).json


def test_total_counts_all_that_match(reader: RetailerClient, still_shop: FakeRetailer) -> None:
    """The total is of the predicate, not of the page."""
    page = reader.get("inventory", ("where", "quantityOnStock > 200"), ("limit", 5), ("offset", 3)).json
    rows = [row.document.get("quantityOnStock") for row in still_shop.state.collection("inventory").rows()]
    assert page["total"] == sum(isinstance(q, int) and q > 200 for q in rows)
    assert page["count"] == 5


def test_offset_continues_the_page(reader: RetailerClient) -> None:
    """Pages by offset are slices of one order."""
    whole = reader.get("inventory", ("limit", 40)).json["results"]
    assert reader.get("inventory", ("limit", 15), ("offset", 25)).json["results"] == whole[25:]


def test_sort_goes_both_ways_and_by_any_field(reader: RetailerClient) -> None:
    """Descending order finds the newest row."""
    newest = reader.get("inventory", ("sort", "lastModifiedAt desc"), ("limit", 500)).json["results"]
    assert newest == sorted(newest, key=lambda row: row["lastModifiedAt"], reverse=True)
    versions = [r["version"] for r in reader.get("inventory", ("sort", "version desc"), ("limit", 500)).json["results"]]
    assert versions == sorted(versions, reverse=True)


@pytest.mark.parametrize(
    "wrong",
    [
        ("limit", 501),
        ("limit", -1),
        ("limit", "many"),
        ("offset", 10_001),
        ("withTotal", "perhaps"),
        ("sort", "sku upwards"),
        ("sort", "nothing asc"),
        ("where", "sku ="),
        ("where", 'nothing = "x"'),
    ],
)
def test_wrong_parameter_is_refused(reader: RetailerClient, wrong: tuple[str, Any]) -> None:
    """The vendor refuses it too; a more tolerant sandbox would let our mistakes through to production."""
    answer = reader.get("inventory", wrong)
    assert answer.status == 400
    assert answer.json["errors"][0]["code"] == "InvalidInput"
    assert answer.json["message"].startswith(f"Malformed parameter: {wrong[0]}: ")


def test_largest_page_and_offset_are_allowed(reader: RetailerClient) -> None:
    """The limits themselves are allowed."""
    assert reader.get("inventory", ("limit", 500), ("offset", 10_000)).json["count"] == 0


@pytest.mark.parametrize("entity", ["inventory", "product-projections", "products", "customers"])
def test_resource_is_found_by_id_and_by_key(reader: RetailerClient, entity: str) -> None:
    """Both paths give the same document as the list."""
    row = reader.get(entity, ("limit", 1)).json["results"][0]
    assert reader.get(f"{entity}/{row['id']}").json == reader.get(f"{entity}/key={row['key']}").json == row


def test_order_is_found_by_its_number(reader: RetailerClient) -> None:
    """Orders have no key."""
    order = reader.get("orders", ("where", "orderNumber is defined"), ("limit", 1)).json["results"][0]
    assert reader.get(f"orders/order-number={order['orderNumber']}").json == order


def test_unknown_resource_is_not_found(reader: RetailerClient) -> None:
    """Every path gives 404 with the vendor's code."""
    for path in ("inventory/none", "inventory/key=none", "orders/order-number=none", "orders/colour=red", "carts"):
        answer = reader.get(path)
        assert (answer.status, answer.json["errors"][0]["code"]) == (404, "ResourceNotFound")


def test_answer_says_when_it_was_given(reader: RetailerClient) -> None:
    """A window ends at the source's now, which is read from Date; the correlation id finds the request again."""
    before = datetime.now(UTC).replace(microsecond=0)
    answer = reader.call("GET", "inventory", headers={"X-Correlation-ID": "mine"})
    assert before <= parsedate_to_datetime(answer.headers["Date"]) <= datetime.now(UTC)
    assert answer.headers["X-Correlation-ID"] == "mine"
    assert reader.get("inventory").headers["X-Correlation-ID"]


def test_project_describes_itself(reader: RetailerClient) -> None:
    """A connection test reads it."""
    assert reader.get("/demo").json["key"] == "demo"


IDS = st.sampled_from("abcd")
DAYS = st.integers(1, 4).map("2026-01-0{}T00:00:00.000Z".format)
SIGN = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
BY_ID = st.builds('id {} "{}"'.format, SIGN, IDS)
BY_DAY = st.builds('lastModifiedAt {} "{}"'.format, SIGN, DAYS)
OTHER = st.builds("version {} {}".format, SIGN, st.integers(1, 3))
LIST = st.builds('id in ("{}", "{}")'.format, IDS, IDS)
PREDICATES = st.recursive(
    BY_ID | BY_DAY | OTHER | LIST,
    lambda p: st.builds("({} and {})".format, p, p) | st.builds("({} or {})".format, p, p) | p.map("not({})".format),
    max_leaves=7,
)
SORTS = st.sampled_from(
    [[], ["id asc"], ["id desc"], ["lastModifiedAt asc", "id asc"], ["lastModifiedAt desc", "id desc"], ["version asc"]]
)
ROWS = [
    {"id": f"{letter}{day}", "version": 1 + (ord(letter) + day) % 3, "lastModifiedAt": f"2026-01-0{day}T00:00:00.000Z"}
    for letter in "abcd"
    for day in (1, 2, 2, 3, 4)
]
FIELDS = frozenset({"id", "version", "lastModifiedAt"})


@given(PREDICATES, SORTS, st.integers(0, 5), st.booleans())
def test_index_answers_as_a_full_scan_would(where: str, sorts: list[str], limit: int, with_total: bool) -> None:
    """Key ranges are only a short cut: for any query and order, no row is lost and none is added."""
    collection = Collection()
    collection.fill(ROWS)
    parameters = {"where": [where], "sort": sorts, "limit": [str(limit)], "withTotal": [str(with_total).lower()]}
    page = collection.page(query_of(parameters, FIELDS))
    matching = sorted(
        (row for row in {r["id"]: r for r in ROWS}.values() if compile_predicate(parse(where))(row)), key=by(sorts)
    )
    expected = [row["id"] for row in (matching[::-1] if "desc" in "".join(sorts) else matching)][:limit]
    assert [row.id for row in page.rows] == expected
    assert page.total == (len(matching) if with_total else None)


def by(sorts: list[str]) -> Any:
    fields = [sort.split()[0] for sort in sorts]
    return lambda row: (*(row[field] for field in fields), row["id"])
