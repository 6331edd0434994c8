"""commercetools over GraphQL: the records of REST, and errors that come with 200."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from crossdock.connectors.commercetools import Api, Commercetools
from crossdock.connectors.commercetools.inventory import InventoryEntry
from crossdock.connectors.commercetools.orders import OrderRecord
from crossdock.connectors.commercetools.prices import StandalonePrice
from crossdock.connectors.commercetools.product_records import ProductRecord
from crossdock.core.errors import BadRequest, HubError, SourceInvalid, SystemRefused, SystemUnavailable
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sync.source import Axis, FetchedPage, Range
from tests.http.raw_server import QUICK, RawServer, answer

EVERYTHING = Range(range_no=0, axis=Axis.ID)


@pytest.fixture(scope="module")
def shop() -> Iterator[FakeRetailer]:
    with FakeRetailer(seed=7, inventory=60, products=60, orders=60, customers=20, flaws=0) as opened:
        yield opened


def source_of(shop: FakeRetailer, api: Api) -> Commercetools:
    scope = f"view_products:{shop.project} view_orders:{shop.project}"
    return Commercetools.signed_in(
        shop.url, shop.project, client_id=shop.client_id, secret=shop.client_secret, scope=scope, limits=QUICK, api=api
    )


def records(page: FetchedPage, kind: Any) -> list[Any]:
    return msgspec.json.decode(msgspec.json.encode(json.loads(page.body)["results"]), type=list[kind])


@pytest.mark.parametrize(
    ("resource", "kind", "lines_fields"),
    [
        ("inventory", InventoryEntry, ()),
        ("products", ProductRecord, ()),
        ("standalone-prices", StandalonePrice, ()),
        ("orders", OrderRecord, ("lineItems", "customLineItems")),
    ],
)
def test_a_record_is_the_same_over_both(
    shop: FakeRetailer, resource: str, kind: Any, lines_fields: tuple[str, ...]
) -> None:
    """No code behind the connector can see which API was used."""
    rest, other = (
        source_of(shop, api).page(resource, EVERYTHING, None, lines_fields=lines_fields)
        for api in (Api.REST, Api.GRAPHQL)
    )
    expected, found = records(rest, kind), records(other, kind)

    assert len(found) > 50
    assert [_read(record) for record in found] == [_read(record) for record in expected]
    assert other.lines == rest.lines


def _read(record: Any) -> Any:
    """What the hub reads of it."""
    document = msgspec.to_builtins(record)
    if address := document.get("shippingAddress"):
        address.pop("id", None)
    return document


@pytest.mark.parametrize("resource", ["inventory", "products", "standalone-prices", "orders"])
def test_the_totals_are_those_of_the_pages(shop: FakeRetailer, resource: str) -> None:
    source = source_of(shop, Api.GRAPHQL)

    assert source.describe(resource, None).records == source.page(resource, EVERYTHING, None).records


def test_a_resource_without_a_query_is_refused(shop: FakeRetailer) -> None:
    with pytest.raises(BadRequest, match=r"carts cannot be read over GraphQL here. Supported: inventory"):
        source_of(shop, Api.GRAPHQL).page("carts", EVERYTHING, None)


def fetch(server: RawServer) -> FetchedPage:
    return Commercetools(server.url, "demo", limits=QUICK, api=Api.GRAPHQL).page("inventory", EVERYTHING, None)


def errors(code: str, message: str = "no", **more: Any) -> bytes:
    return answer(json.dumps({"errors": [{"message": message, "extensions": {"code": code}}], **more}))


@pytest.mark.parametrize("code", ["OverCapacity", "General", "QueryTimedOut"])
def test_an_error_that_passes_is_tried_again_although_it_comes_with_200(code: str) -> None:
    with RawServer(errors(code)) as server, pytest.raises(SystemUnavailable, match=code):
        fetch(server)

    assert len(server.requests) == QUICK.attempts


@pytest.mark.parametrize("code", ["InvalidInput", "insufficient_scope", "QueryComplexityLimitExceeded", ""])
def test_any_other_error_is_a_refusal(code: str) -> None:
    """Never "0 rows, success", and never half a page: what stands beside an error is not all."""
    beside = {"data": {"page": {"count": 0, "results": []}}}
    with RawServer(errors(code, "not\nthis", **beside)) as server, pytest.raises(SystemRefused, match=r"not\\nthis"):
        fetch(server)

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b"{}",
        b'{"data": null}',
        b'{"data": {"page": null}}',
        b'{"data": {"page": {"count": 0}}}',
        b'{"data": {"page": {"count": 1, "results": []}}}',
        b'{"data": {"page": {"count": 1, "results": [null]}}}',
        b'{"data": {"page": {"count": 0, "results": {}}}}',
        b'{"errors": 7}',
        b'{"data": {"page": {"count": 0, "results": []}',
        b"[" * 100_000,
    ],
)
def test_an_invalid_page_is_never_taken_for_an_empty_one(body: bytes) -> None:
    with RawServer(answer(body)) as server, pytest.raises(HubError) as caught:
        fetch(server)

    assert isinstance(caught.value, SourceInvalid | SystemRefused)


def test_the_fields_are_named_and_the_values_are_variables() -> None:
    """Text of a caller never becomes part of a query."""
    evil = '") { id } evil: x(y: "'
    with RawServer(answer(b'{"data": {"page": {"count": 0, "results": []}}}')) as server:
        source = Commercetools(server.url, "demo", limits=QUICK, api=Api.GRAPHQL)
        source.page("inventory", Range(range_no=0, axis=Axis.KEYS, field="sku", keys=(evil,)), None)

    sent = json.loads(server.requests[0].partition("\r\n\r\n")[2])
    assert evil not in sent["query"]
    assert sent["variables"]["where"] == 'sku in ("\\") { id } evil: x(y: \\"")'
    assert sent["variables"]["limit"] == 500


class TestSandbox:
    """The sandbox itself refuses as the vendor does."""

    @pytest.mark.parametrize(
        "query", ["{", "{ nothing }", "{ orders(limit: 1) { results { salary } } }", "{ " + "a " * 3000 + "}"]
    )
    def test_a_malformed_query_is_a_400(self, shop: FakeRetailer, query: str) -> None:
        client = source_of(shop, Api.GRAPHQL)._client

        with pytest.raises(SystemRefused, match=r"HTTP 400.*Malformed query"):
            client.post_json("/demo/graphql", {"query": query}, lambda got: got)

    def test_a_malformed_predicate_is_an_error_without_data(self, shop: FakeRetailer) -> None:
        document = {"query": '{ orders(where: "salary > 3") { count } }'}

        got = source_of(shop, Api.GRAPHQL)._client.post_json(
            "/demo/graphql", document, lambda found: json.loads(found.body)
        )

        assert got["data"] == {"orders": None}
        assert got["errors"][0]["extensions"] == {"code": "InvalidInput"}

    def test_without_a_token_there_is_no_answer(self, shop: FakeRetailer) -> None:
        with pytest.raises(SystemRefused, match="401"):
            Commercetools(shop.url, shop.project, limits=QUICK, api=Api.GRAPHQL).describe("inventory", None)
