"""Declared integrations: a file is refused with every mistake and its line, or synced like everything else."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import msgspec
import pytest
import yaml

from crossdock.connectors.declarative import factory, files
from crossdock.connectors.declarative.files import InvalidDeclaration
from crossdock.connectors.declarative.model import Field, ReadLimits
from crossdock.connectors.declarative.signing import destination, signer_of
from crossdock.connectors.declarative.source import DeclaredSource
from crossdock.connectors.declarative.streams import declared_stream, declared_streams, valid_declaration
from crossdock.connectors.declarative.values import Unreadable, read
from crossdock.core.errors import AddressRefused, BadRequest, NotFound, SourceInvalid, SystemRefused, SystemUnavailable
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Store
from crossdock.http import call_metrics
from crossdock.http.breaker import BreakerRules, Phase
from crossdock.http.config import ClientConfig, policy_of
from crossdock.http.connection import Connection
from crossdock.http.shared_safeguards import SharedSafeguards
from crossdock.integrations.manifests import GIVEN_FOR
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sync import Stream, Systems
from crossdock.sync.landing import Landing
from crossdock.sync.model import Counts, RunState, SyncRequest
from crossdock.sync.quarantine import service as quarantine_service
from tests.connectors.declarative.worlds import AT, BASE, HERE, THINGS, ids_read, serving, source_of, sync_all, written
from tests.shop import QUICK, query
from tests.sync.quarantine.selected import selected

EXAMPLES = files.folder() / "examples"
REST, GRAPHQL = EXAMPLES / "sandbox_stock_rest.yaml", EXAMPLES / "sandbox_orders_graphql.yaml"


def systems_for(path: Path, url: str, shop: FakeRetailer, store: Store, landing: Path) -> tuple[Stream, Systems]:
    declaration, sync = declared_stream(path)
    connection = Connection(
        connection_id=declaration.name,
        conn_type="declared",
        host=url,
        login=shop.client_id,
        password=shop.client_secret,
        extra=HERE,
    )
    source = DeclaredSource(declaration, connection, limits=QUICK)
    return sync, Systems(source=source, store=store, landing=Landing(str(landing)))


def test_stock_over_rest_comes_into_the_hubs_own_table(store: Store, tmp_path: Path) -> None:
    """The worked example, end to end: every record of the shop, and a second time nothing."""
    with FakeRetailer(seed=7, inventory=450, products=0, orders=0, customers=0, flaws=0) as shop:
        sync, systems = systems_for(REST, shop.url, shop, store, tmp_path)
        first, second = sync_all(sync, systems), sync_all(sync, systems)
        theirs = {
            row.document["sku"]: row.document["quantityOnStock"] for row in shop.state.collection("inventory").rows()
        }

    assert first.counts == Counts(read=450, inserted=450)
    assert second.counts == Counts(read=450, unchanged=450)
    ours = query(store, "SELECT sku, quantity_on_stock FROM inventory WHERE integration = 'sandbox_stock_rest'")
    assert dict(ours) == theirs


def test_dirty_records_go_to_quarantine_and_every_row_is_accounted_for(store: Store, tmp_path: Path) -> None:
    with FakeRetailer(seed=7, inventory=300, products=0, orders=0, customers=0, flaws=0.1) as shop:
        sync, systems = systems_for(REST, shop.url, shop, store, tmp_path)
        report = sync_all(sync, systems)

    assert report.counts.read == 300
    assert report.counts.balanced
    assert report.counts.rejected > 0
    items = query(store, "SELECT count(*) FROM quarantine_item WHERE integration = 'sandbox_stock_rest'")
    assert items == [(report.counts.rejected,)]


def test_a_changed_record_is_updated(store: Store, tmp_path: Path) -> None:
    with FakeRetailer(seed=7, inventory=50, products=0, orders=0, customers=0, flaws=0) as shop:
        sync, systems = systems_for(REST, shop.url, shop, store, tmp_path)
        sync_all(sync, systems)
        entry = next(iter(shop.state.collection("inventory").rows()))

        def sell(document: dict[str, Any]) -> None:
            document["quantityOnStock"] += 5

        shop.state.change("inventory", entry.id, sell)
        report = sync_all(sync, systems, SyncRequest())

    assert report.counts == Counts(read=1, updated=1)


def test_a_limit_and_named_keys_are_kept(store: Store, tmp_path: Path) -> None:
    with FakeRetailer(seed=7, inventory=250, products=0, orders=0, customers=0, flaws=0) as shop:
        sync, systems = systems_for(REST, shop.url, shop, store, tmp_path)
        limited = sync_all(sync, systems, SyncRequest(full=True, limit=130))
        skus = [row.document["sku"] for row in shop.state.collection("inventory").rows()]
        named = sync_all(sync, systems, SyncRequest(keys=(skus[0],)))

    assert limited.counts == Counts(read=130, inserted=130)
    # One sku lies in several warehouses.
    assert named.counts.read == skus.count(skus[0])
    assert named.counts.balanced


def test_orders_over_graphql_come_into_the_table_of_records(store: Store, tmp_path: Path) -> None:
    """The second worked example: a query with variables, a mapping of its own, and a delta that asks for what changed."""
    with FakeRetailer(seed=7, inventory=0, products=20, orders=120, customers=5, flaws=0) as shop:
        sync, systems = systems_for(GRAPHQL, shop.url, shop, store, tmp_path)
        first, delta = sync_all(sync, systems), sync_all(sync, systems, SyncRequest())
        orders = [row.document for row in shop.state.collection("orders").rows()]

    assert first.counts == Counts(read=120, inserted=120)
    assert delta.counts.read <= 120
    assert delta.counts.unchanged == delta.counts.read
    ours = dict(query(store, "SELECT key, data FROM record WHERE integration = 'sandbox_orders_graphql'"))
    assert {number: data["total_minor"] for number, data in ours.items()} == {
        order.get("orderNumber", order["id"]): order["totalPrice"]["centAmount"] for order in orders
    }
    skus = [line["variant"]["sku"] for line in orders[0]["lineItems"] if "sku" in line["variant"]]
    assert ours[orders[0].get("orderNumber", orders[0]["id"])]["skus"] == skus


def cut(first: int, size: int) -> list[dict[str, Any]]:
    return THINGS[first : first + size]


PAGINGS: dict[str, tuple[dict[str, Any], Callable[[dict[str, str]], Any]]] = {
    "page": (
        {"kind": "page", "parameter": "page", "size_parameter": "per_page", "size": 10},
        lambda asked: {"items": cut((int(asked["page"]) - 1) * 10, int(asked["per_page"]))},
    ),
    "pages from zero without a size": (
        {"kind": "page", "parameter": "page", "first": 0},
        lambda asked: {"items": cut(int(asked["page"]) * 10, 10)},
    ),
    "offset": (
        {"kind": "offset", "parameter": "skip", "size_parameter": "take", "size": 5},
        lambda asked: {"items": cut(int(asked.get("skip", 0)), int(asked["take"]))},
    ),
    "cursor": (
        {"kind": "cursor", "parameter": "after", "next": "meta.next", "size_parameter": "n", "size": 10},
        lambda asked: {
            "items": cut(int(asked.get("after", "0")), 10),
            "meta": {"next": str(int(asked.get("after", "0")) + 10) if int(asked.get("after", "0")) < 20 else None},
        },
    ),
    "link in the answer": (
        {"kind": "link", "next": "next"},
        lambda asked: {
            "items": cut(int(asked.get("from", "0")), 10),
            "next": f"/things?from={int(asked.get('from', '0')) + 10}" if int(asked.get("from", "0")) < 20 else None,
        },
    ),
    "link in the header": (
        {"kind": "link"},
        lambda asked: (
            200,
            {"Link": f'</x>; rel="first", </things?from={int(asked.get("from", "0")) + 10}>; rel="next"'}
            if int(asked.get("from", "0")) < 20
            else {},
            {"items": cut(int(asked.get("from", "0")), 10)},
        ),
    ),
    "keyset": (
        {
            "kind": "keyset",
            "parameter": "filter",
            "value": "id",
            "template": "id gt {value}",
            "size_parameter": "n",
            "size": 10,
        },
        lambda asked: {"items": cut(int(asked["filter"].rpartition(" ")[2]) + 1 if "filter" in asked else 0, 10)},
    ),
}


@pytest.mark.parametrize(("paging", "answer"), PAGINGS.values(), ids=list(PAGINGS))
def test_every_kind_of_paging_reads_all_once(
    tmp_path: Path, paging: dict[str, Any], answer: Callable[[dict[str, str]], Any]
) -> None:
    path = written(tmp_path, BASE | {"read": BASE["read"] | {"paging": paging}})
    with serving(lambda asked, _: answer(asked)) as url:
        assert ids_read(source_of(path, url)) == [str(number) for number in range(25)]


def test_a_page_that_links_to_itself_is_an_error_and_not_an_endless_run(tmp_path: Path) -> None:
    path = written(tmp_path, BASE | {"read": BASE["read"] | {"paging": PAGINGS["cursor"][0]}})
    with (
        serving(lambda *_: {"items": THINGS[:3], "meta": {"next": "again"}}) as url,
        pytest.raises(SourceInvalid, match=r"page 2 of the list.*links to itself"),
    ):
        ids_read(source_of(path, url))


IN_HEADER, IN_BODY = {"kind": "link"}, {"kind": "link", "next": "next"}


@pytest.mark.parametrize("place", [IN_HEADER, IN_BODY], ids=["header", "body"])
@pytest.mark.parametrize(
    ("link", "base_path"),
    [
        ("http://{host}/things?page={page}", ""),
        ("https://{host}/things?page={page}", ""),
        ("//{host}/things?page={page}", ""),
        ("?page={page}", ""),
        ("things?page={page}", ""),
        ("https://{host}/api/v1/things?page={page}", "/api/v1"),
        ("things?page={page}", "/api/v1"),
        ("https://{host}/things?page={page}&id=1&id=2&id=", ""),
    ],
)
def test_a_link_to_the_next_page_is_followed_however_it_is_written(
    place: dict[str, Any], link: str, base_path: str, tmp_path: Path
) -> None:
    """With the credentials, over the scheme of the connection, and with each value of a parameter that comes twice."""
    document = BASE | {"read": BASE["read"] | {"paging": place}, "auth": {"kind": "bearer"}}
    came: list[BaseHTTPRequestHandler] = []

    def answer(asked: dict[str, str], handler: BaseHTTPRequestHandler) -> Any:
        came.append(handler)
        page = int(asked.get("page", 1))
        to = link.format(host=handler.headers["Host"], page=page + 1) if page < 3 else ""
        header = {"Link": f'</things?page=1>; rel="first", <{to}>; title="a, b; c=d"; rel="last next"'} if to else {}
        return 200, header if place is IN_HEADER else {}, {"items": THINGS[page - 1 : page], "next": to or None}

    with serving(answer) as url:
        assert ids_read(source_of(written(tmp_path, document), url + base_path, password="secret")) == ["0", "1", "2"]

    assert [handler.headers["Authorization"] for handler in came] == ["Bearer secret"] * 3
    assert {urlsplit(handler.path).path for handler in came} == {f"{base_path}/things"}
    if "id=1" in link:
        assert came[2].path == "/things?page=3&id=1&id=2&id="


def test_a_link_header_that_cannot_be_read_is_not_the_end(tmp_path: Path) -> None:
    path = written(tmp_path, BASE | {"read": BASE["read"] | {"paging": IN_HEADER}})
    with (
        serving(lambda *_: (200, {"Link": '</things?page=2; rel="next"'}, {"items": THINGS[:1]})) as url,
        pytest.raises(SourceInvalid, match=r"no link that can be followed in its Link header"),
    ):
        ids_read(source_of(path, url))


def test_a_next_page_on_another_server_is_not_requested(tmp_path: Path) -> None:
    """It would be shown our credentials."""
    path = written(tmp_path, BASE | {"read": BASE["read"] | {"paging": {"kind": "link", "next": "next"}}})
    other_page = {"items": THINGS[:3], "next": "https://elsewhere.example/things?from=3"}
    with (
        serving(lambda *_: other_page) as url,
        pytest.raises(SystemRefused, match=r"another server, elsewhere\.example"),
    ):
        ids_read(source_of(path, url))


AUTHS: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "basic": ({"kind": "basic"}, ("Authorization", "Basic bWU6c2VjcmV0")),
    "bearer": ({"kind": "bearer"}, ("Authorization", "Bearer secret")),
    "api key": ({"kind": "api_key", "header": "X-Shop-Key"}, ("X-Shop-Key", "secret")),
    "api key with a prefix": (
        {"kind": "api_key", "header": "Authorization", "prefix": "Token"},
        ("Authorization", "Token secret"),
    ),
}


@pytest.mark.parametrize(("auth", "header"), AUTHS.values(), ids=list(AUTHS))
def test_requests_are_signed_as_declared(tmp_path: Path, auth: dict[str, Any], header: tuple[str, str]) -> None:
    path, seen = written(tmp_path, BASE | {"auth": auth}), []

    def answer(_: Any, handler: BaseHTTPRequestHandler) -> Any:
        seen.append(handler.headers[header[0]])
        return {"items": []}

    with serving(answer) as url:
        ids_read(source_of(path, url, login="me", password="secret"))
    assert seen == [header[1]]


def test_a_connection_without_its_secret_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadRequest) as raised:
        source_of(written(tmp_path, BASE | {"auth": {"kind": "bearer"}}), "http://127.0.0.1:1")

    assert raised.value.hint == Hint(HintId.CONNECT_DECLARED, "a_list")


def test_graphql_errors_come_with_http_200(tmp_path: Path) -> None:
    document = BASE | {"read": BASE["read"] | {"graphql": "{ items { id } }"}}
    refusal = {"errors": [{"message": "Cannot query field"}], "data": None}
    with serving(lambda *_: refusal) as url, pytest.raises(SystemRefused, match="Cannot query field"):
        ids_read(source_of(written(tmp_path, document), url))


def test_throttling_of_graphql_is_waited_for_and_no_end_of_the_list(tmp_path: Path) -> None:
    """Shopify's comes with 200, on any page; a declaration may say that errors past the last page are the end."""
    paging = {"kind": "page", "parameter": "page", "past_end": ["errors"]}
    read = BASE["read"] | {"graphql": "{ items { id } }", "records": "data.items", "paging": paging}
    throttled = {"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]}
    past_the_end = {"errors": [{"message": "no such page"}]}
    asked_for: list[int] = []

    def answer(asked: dict[str, Any], _: BaseHTTPRequestHandler) -> Any:
        page = asked["variables"]["page"]
        asked_for.append(page)
        if asked_for.count(page) == 1:
            return throttled
        return {"data": {"items": [THINGS[page]]}} if page < 3 else past_the_end

    with serving(answer) as url:
        assert ids_read(source_of(written(tmp_path, BASE | {"read": read}), url)) == ["1", "2"]
    assert asked_for == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("body", [{"items": None}, {"items": {}}, [], {"other": []}], ids=str)
def test_an_answer_without_its_records_never_counts_as_none(tmp_path: Path, body: Any) -> None:
    with serving(lambda *_: body) as url, pytest.raises(SourceInvalid, match="no list of records"):
        ids_read(source_of(written(tmp_path, BASE), url))


def test_two_workers_share_the_declared_rate(store: Store, tmp_path: Path) -> None:
    """The limit is the system's, not a worker's: the requests are counted at the server."""
    document = BASE | {"read": BASE["read"] | {"paging": PAGINGS["offset"][0]}, "limits": {"calls_per_s": 20}}
    path, came = written(tmp_path, document), []

    def answer(asked: dict[str, str], _: BaseHTTPRequestHandler) -> Any:
        came.append(time.monotonic())
        return PAGINGS["offset"][1](asked)

    def worker(url: str) -> list[str]:
        with SharedSafeguards(store, "a_list") as calls:
            connection = Connection(connection_id="a_list", conn_type="declared", host=url, extra=HERE)
            return ids_read(DeclaredSource(files.read(path), connection, calls.safeguards))

    with serving(answer) as url, ThreadPoolExecutor(2) as pool:
        found = list(pool.map(worker, [url, url]))

    assert [len(ids) for ids in found] == [25, 25]
    assert max(came) - min(came) > (len(came) - 2) / 20
    with store.transaction() as work:
        health = call_metrics.health(work, "a_list")
    assert health.usage.successes == len(came) == 12


@pytest.mark.parametrize(("calls_per_s", "calls", "per_s"), [(50, 50, 1), (2.5, 2, 0.8), (0.1, 1, 10)])
def test_a_declared_rate_may_be_less_than_one_a_second(calls_per_s: float, calls: int, per_s: float) -> None:
    policy = ReadLimits(calls_per_s=calls_per_s).policy

    assert policy.rate is not None
    assert (policy.rate.calls, policy.rate.per_s) == (calls, pytest.approx(per_s))


def test_the_connection_s_call_limits_override_the_declaration() -> None:
    """The operator of the hub knows the contract with the system; the file's author may not."""
    declared = ReadLimits(timeout_s=7, calls_per_s=20).policy
    connection = Connection(connection_id="a", conn_type="declared", extra={"calls": {"limits": {"attempts": 2}}})

    policy = policy_of(connection, declared)

    assert (policy.limits.timeout_s, policy.limits.attempts, policy.rate) == (7, 2, declared.rate)
    with pytest.raises(BadRequest, match="limts"):
        policy_of(msgspec.structs.replace(connection, extra={"calls": {"limts": {}}}), declared)


def test_a_declared_system_that_is_down_is_no_longer_called(store: Store, tmp_path: Path) -> None:
    came: list[int] = []

    def answer(*_: Any) -> Any:
        came.append(1)
        return 503, {}, {}

    with serving(answer) as url, SharedSafeguards(store, "a_list") as calls:
        connection = Connection(connection_id="a_list", conn_type="declared", host=url, extra=HERE)
        source = DeclaredSource(files.read(written(tmp_path, BASE)), connection, calls.safeguards, limits=QUICK)
        for _ in range(6):
            with pytest.raises(SystemUnavailable):
                source.describe("", None)

    assert len(came) == BreakerRules().failures_in_a_row
    with store.transaction() as work:
        assert call_metrics.health(work, "a_list").phase is Phase.OPEN


def test_a_declared_system_reaches_our_own_network_only_if_its_connection_allows_it(tmp_path: Path) -> None:
    with serving(lambda *_: pytest.fail("it was called")) as url:
        connection = Connection(connection_id="a_list", conn_type="declared", host=url)
        with pytest.raises(AddressRefused, match="not a public address"):
            DeclaredSource(files.read(written(tmp_path, BASE)), connection, limits=QUICK).describe("", None)


def test_a_jwt_of_our_own_signs_the_requests(tmp_path: Path) -> None:
    secret, seen = "a shared secret of at least thirty-two bytes", []
    auth = {"auth": {"kind": "jwt", "algorithm": "HS256", "audience": "https://erp.example"}}

    def answer(_: Any, handler: BaseHTTPRequestHandler) -> Any:
        seen.append(handler.headers["Authorization"].removeprefix("Bearer "))
        return {"items": []}

    with serving(answer) as url:
        ids_read(source_of(written(tmp_path, BASE | auth), url, login="crossdock", password=secret))
    claims = jwt.decode(seen[0], secret, ["HS256"], audience="https://erp.example")
    assert (claims["iss"], claims["sub"]) == ("crossdock", "crossdock")


def test_a_key_that_was_given_to_sign_with_is_not_sent_because_the_file_has_changed(tmp_path: Path) -> None:
    """A private key never leaves the hub; as a bearer token it would."""
    signing = files.read(written(tmp_path, BASE | {"auth": {"kind": "jwt", "algorithm": "HS256"}}))
    sending = files.read(written(tmp_path, BASE | {"auth": {"kind": "bearer"}}))
    key = "a shared secret of at least thirty-two bytes"
    connection = Connection(
        connection_id="things", conn_type="declared", host="https://erp.example", login="crossdock", password=key
    )
    given = msgspec.structs.replace(connection, extra={GIVEN_FOR: destination(signing, connection)})

    assert signer_of(signing, given, "https://erp.example", ClientConfig()) is not None
    with pytest.raises(BadRequest, match="as a signature alone"):
        signer_of(sending, given, "https://erp.example", ClientConfig())


def test_a_value_without_its_type_goes_to_quarantine_with_the_reason_and_can_be_fixed(
    store: Store, tmp_path: Path
) -> None:
    """One bad record stops no other, and goes through the same quarantine and replay as every record."""
    path = written(tmp_path, BASE | {"identity": BASE["identity"] | {"version": "v"}})
    bad = [
        {"id": 1, "name": "x", "size": "many", "at": AT, "v": 1},
        {"id": 2, "name": "x", "size": 1, "at": "yesterday", "v": 1},
        {"id": None, "name": "x", "size": 1, "at": AT, "v": 1},
        {"id": 4, "name": None, "size": 1, "at": AT, "v": 1},
        {"id": 5, "name": "x", "size": 1, "at": AT, "v": None},
        "no record at all",
    ]
    good = {"id": 9, "name": "good", "size": 3, "at": AT, "v": 1}
    with serving(lambda *_: {"items": [*bad, good]}) as url:
        _, sync = declared_stream(path)
        systems = Systems(source=source_of(path, url), store=store, landing=Landing(str(tmp_path / "landing")))
        report = sync_all(sync, systems)

    assert report.counts == Counts(read=7, inserted=1, rejected=6)
    assert report.state is RunState.PARTIAL
    reasons = query(store, "SELECT item_id, cause, failures::text FROM quarantine_item ORDER BY item_id")
    assert sorted(cause for _, cause, _ in reasons) == [
        "changed_at_is_readable",
        "id_is_readable",
        "id_is_readable",
        "key_is_readable",
        "size_is_readable",
        "version_is_readable",
    ]
    assert any("size" in failures and "a 64-bit whole number" in failures for *_, failures in reasons)

    item = next(item_id for item_id, _, failures in reasons if "a 64-bit whole number" in failures)
    assert quarantine_service.edit_fields(store, item, {"size": 7}, streams=lambda _: sync, actor="test") == ()
    (replayed,) = quarantine_service.replay_all(
        store,
        selected(store, [item], cause=None, everything=False),
        streams=lambda _: sync,
        actor="test",
    )
    assert replayed.counts == Counts(read=1, inserted=1)
    assert query(store, "SELECT data FROM record WHERE id = '1'") == [({"name": "x", "size": 7},)]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", 5, "5"),
        ("text", "5", "5"),
        ("text", {}, None),
        ("text", True, None),
        ("integer", "12", 12),
        ("integer", Decimal("12.0"), 12),
        ("integer", Decimal("12.5"), None),
        ("integer", "1e999999", None),
        ("integer", "1_000", None),
        ("integer", "١٢", None),
        ("integer", "", None),
        ("integer", True, None),
        ("integer", 2**63, None),
        ("integer", "1e400", None),
        ("integer", "many", None),
        ("decimal", "19.90", "19.90"),
        ("decimal", Decimal("19.90"), "19.90"),
        ("decimal", "1234567890123456.78", "1234567890123456.78"),
        ("decimal", " -0.5 ", "-0.5"),
        ("decimal", "1e2", "100"),
        ("decimal", "1_000", None),
        ("decimal", "1,5", None),
        ("decimal", "", None),
        ("decimal", "NaN", None),
        ("decimal", "1e999", None),
        ("boolean", "true", True),
        ("boolean", 1, True),
        ("boolean", "yes", None),
        ("instant", "2026-11-01", "2026-11-01T00:00:00+00:00"),
        ("instant", "2026-11-01T00:00:00", None),
        ("instant", 1_793_491_200, None),
        ("json", [1, {"b": Decimal("1.50"), "a": None}], '[1,{"a":null,"b":1.50}]'),
        ("json", {"a": Decimal("1e999999")}, None),
    ],
)
def test_a_value_is_of_its_declared_type_or_unreadable(kind: Any, value: Any, expected: Any) -> None:
    try:
        found = read(Field(path="x", type=kind), value)
    except Unreadable:
        found = None
    assert (found.isoformat() if kind == "instant" and found else found) == expected


WRONG = """\
title: Full of mistakes
base_url: not a url
colour: red
read:
  path: things
  records: "items["
  paging:
    kind: cursor
    parameter: after
identity:
  id: id
  changed_at: at
mapping:
  Name: {path: name}
  size: {path: size, type: number}
  size: {path: size}
"""


@pytest.mark.parametrize("paging", ["{type: page, parameter: page}", "{parameter: page}", "{}"])
def test_a_paging_without_a_kind_is_a_mistake_like_any_other(tmp_path: Path, paging: str) -> None:
    """Another error than `InvalidDeclaration` would take the DAGs of the other declarations with it."""
    lines = (line for line in WRONG.splitlines()[:-1] if "paging" not in line and not line.startswith("    "))
    (tmp_path / "wrong.yaml").write_text("\n".join(lines).replace("read:\n", f"read:\n  paging: {paging}\n"))

    with pytest.raises(InvalidDeclaration) as wrong:
        declared_stream(tmp_path / "wrong.yaml")

    assert (5, "/read/paging/kind") in [(each.line, each.pointer) for each in wrong.value.mistakes]


def test_every_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(WRONG)
    with pytest.raises(InvalidDeclaration) as twice:
        declared_stream(tmp_path / "wrong.yaml")
    assert [(each.line, each.pointer) for each in twice.value.mistakes] == [(16, "/mapping/size")]

    (tmp_path / "wrong.yaml").write_text(WRONG.replace("  size: {path: size}\n", ""))
    with pytest.raises(InvalidDeclaration) as wrong:
        declared_stream(tmp_path / "wrong.yaml")
    assert [(each.line, each.pointer) for each in wrong.value.mistakes] == [
        (2, "/base_url"),
        (3, "/colour"),
        (5, "/read/path"),
        (6, "/read/records"),
        (7, "/read/paging/next"),
        (14, "/mapping/Name"),
        (15, "/mapping/size/type"),
    ]
    assert "one of text, integer, decimal, boolean, instant, json" in str(wrong.value)


def test_a_mistake_beyond_the_schema_has_its_line_too(tmp_path: Path) -> None:
    text = REST.read_text() + (
        "schedule: whenever\n"
        "expectations:\n"
        "  - {name: sku_is_present, type: expect_column_values_to_not_be_null, arguments: {column: colour}, message: x}\n"
    )
    text = text.replace("records: results", "records: 'results['").replace(
        "  sku: {path: sku}\n", "  skoo: {path: sku}\n"
    )
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(InvalidDeclaration) as wrong:
        declared_stream(tmp_path / "wrong.yaml")

    lines = text.splitlines()
    found = {(each.pointer, lines[each.line - 1].strip().partition(":")[0]) for each in wrong.value.mistakes}
    assert {
        ("/read/records", "records"),
        ("/mapping/skoo", "skoo"),
        ("/mapping", "mapping"),
        ("/schedule", "schedule"),
    } <= found
    assert {each.pointer for each in wrong.value.mistakes} >= {"/expectations/0/name", "/expectations/0/arguments"}


def test_a_function_that_does_not_exist_is_a_mistake_of_its_line(tmp_path: Path) -> None:
    text = REST.read_text().replace("path: availableQuantity", "path: 'minus(quantityOnStock, reserved)'")
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(InvalidDeclaration) as wrong:
        declared_stream(tmp_path / "wrong.yaml")

    (mistake,) = wrong.value.mistakes
    assert mistake.pointer == "/mapping/available_quantity/path"
    assert "available_quantity" in text.splitlines()[mistake.line - 1]
    assert "has no function minus(); There are abs, add," in str(wrong.value)


def test_mistakes_of_the_form_and_of_the_meaning_are_named_at_once(tmp_path: Path) -> None:
    """A person corrects a file once. What may follow from a wrong form is not guessed: it may be gone with it."""
    text = REST.read_text().replace("records: results", "records: 'results['").replace("title:", "colour: red\ntitle:")
    text = text.replace("  sku: {path: sku}\n", "  skoo: {path: sku}\n").replace("type: integer", "type: int", 1)
    (tmp_path / "Wrong.yaml").write_text(text + "schedule: whenever\n")
    with pytest.raises(InvalidDeclaration) as wrong:
        declared_stream(tmp_path / "Wrong.yaml")
    found = {each.pointer for each in wrong.value.mistakes}

    assert found >= {"/colour", "/read/records", "/mapping/skoo", "/schedule", ""}
    assert "/mapping" not in found, "which column it lacks is known once the mapping has its form"


@pytest.mark.parametrize("path", ["`1`", '"Item No".x', "meta: id", "'\"a\"'.b"])
def test_a_path_that_yaml_cannot_read_is_answered_with_its_quotes(tmp_path: Path, path: str) -> None:
    (tmp_path / "wrong.yaml").write_text(REST.read_text().replace("{path: sku}", f"\n    path: {path}\n    type: text"))
    with pytest.raises(InvalidDeclaration, match="goes as a whole into apostrophes"):
        declared_stream(tmp_path / "wrong.yaml")


@pytest.mark.parametrize("path", ["Item No", "order-no", "a == `1", "meta:id"])
def test_a_path_that_jmespath_cannot_read_is_answered_with_its_quotes(tmp_path: Path, path: str) -> None:
    (tmp_path / "wrong.yaml").write_text(REST.read_text().replace("{path: sku}", f"{{path: '{path}'}}"))
    with pytest.raises(InvalidDeclaration, match=r"such as '\"Item No\"', \"state == 'open'\" or 'total > `1`'"):
        declared_stream(tmp_path / "wrong.yaml")


LAUGHS = "\n".join(["a0: &a0 [x, x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))])


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        "title: 2026-02-31\n",
        'title: "\\e[2J"\n',
        "",
        "- a\n",
        "a: [",
        "\t",
        "a: &x [*x]\n",
        "title: !!python/object:os.system x\n",
    ],
)
def test_a_file_that_is_not_a_declaration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "none.yaml").write_text(text)
    with pytest.raises(InvalidDeclaration):
        declared_stream(tmp_path / "none.yaml")


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidDeclaration, match="No such file or directory"):
        declared_stream(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", ["With-Dash", "Upper", "a b", "1st"])
def test_a_file_is_called_as_its_dag_can_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidDeclaration, match="lowercase letters"):
        declared_stream(written(tmp_path, BASE, name))


def test_one_wrong_file_takes_no_other_along(tmp_path: Path) -> None:
    shutil.copy(REST, tmp_path)
    (tmp_path / "wrong.yaml").write_text(WRONG)

    assert [declaration.name for declaration, _ in declared_streams(tmp_path)] == ["sandbox_stock_rest"]


def test_declarations_cost_little_more_than_reading_their_yaml(tmp_path: Path) -> None:
    """Airflow parses the DAG file again and again, and once for every task. One and a half times, of CPU; four are too many."""
    for number in range(20):
        shutil.copy(GRAPHQL, tmp_path / f"copy_{number}.yaml")
    assert len(list(declared_streams(tmp_path))) == 20

    def cpu_s(act: Callable[[], object]) -> float:
        began = time.process_time()
        act()
        return time.process_time() - began

    rounds = [
        (
            cpu_s(lambda: list(declared_streams(tmp_path))),
            cpu_s(lambda: [yaml.safe_load(path.read_text()) for path in tmp_path.glob("*.yaml")]),
        )
        for _ in range(3)
    ]

    assert min(ours for ours, _ in rounds) < 4 * min(plain for _, plain in rounds), rounds


def _described(schema: Any, path: str = "") -> Any:
    """Each field of the schema, by its path."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}/{name}", field
        yield from _described(field, f"{path}/{name}")
        yield from _described(field.get("items", {}), f"{path}/{name}")
        if isinstance(each := field.get("additionalProperties"), dict):
            yield from _described(each, f"{path}/{name}/NAME")


def test_every_field_of_a_declaration_says_what_it_is() -> None:
    """The reference is generated from it, and so is what a mistake says."""
    assert [path for path, field in _described(files.schema()) if not field.get("description")] == []


@pytest.mark.parametrize(
    ("place", "example"),
    [
        *((("auth",), example) for example in files.schema()["properties"]["auth"]["examples"]),
        *(
            (("read", "paging"), example)
            for example in files.schema()["properties"]["read"]["properties"]["paging"]["examples"]
        ),
    ],
    ids=lambda found: found.get("kind") if isinstance(found, dict) else found[-1],
)
def test_every_example_of_the_reference_is_valid(tmp_path: Path, place: tuple[str, ...], example: Any) -> None:
    document = deepcopy(BASE)
    at = document
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = example
    (tmp_path / "example.yaml").write_text(yaml.safe_dump(document))

    declaration, _ = declared_stream(tmp_path / "example.yaml")

    assert declaration.name == "example"


def test_there_is_an_example_of_every_kind() -> None:
    properties = files.schema()["properties"]
    for described in (properties["auth"], properties["read"]["properties"]["paging"]):
        assert [example["kind"] for example in described["examples"]] == described["properties"]["kind"]["enum"]


def test_a_field_that_a_kind_needs_is_named_with_what_it_is_for(tmp_path: Path) -> None:
    """`line 10: is missing` points at a place where nothing is."""
    document = deepcopy(BASE)
    document["read"]["paging"] = {"kind": "cursor", "parameter": "after"}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(document))

    with pytest.raises(InvalidDeclaration) as refused:
        declared_stream(tmp_path / "wrong.yaml")

    (mistake,) = refused.value.mistakes
    assert mistake.pointer == "/read/paging/next"
    assert mistake.message.startswith("is missing: cursor needs it. cursor: JMESPath of the next cursor in the answer.")


def test_a_mistake_in_its_file_leaves_the_source_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream runs on with the last valid version: what reads for it must not fail by the file of now."""
    monkeypatch.setenv("HUB_DECLARATIONS", str(tmp_path))
    monkeypatch.setenv("HUB_DEFINITIONS_URL", f"file://{tmp_path}/definitions")
    path, never_valid = written(tmp_path, BASE), written(tmp_path, {**BASE, "read": {}}, "never")
    valid = valid_declaration(path.stem)
    path.write_text("kind: barer\n")

    connection = Connection(connection_id="a_list", conn_type="declared", host="http://127.0.0.1:1", extra=HERE)
    assert valid_declaration(path.stem) == valid
    factory.source_of("a_list", connection, None)
    assert factory.destination_of(connection) == destination(valid, connection)
    with pytest.raises(InvalidDeclaration):
        valid_declaration(never_valid.stem)
    with pytest.raises(NotFound, match=r"missing\.yaml does not exist"):
        valid_declaration("missing")
