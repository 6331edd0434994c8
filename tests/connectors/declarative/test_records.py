"""One odd record is its own quarantine item, with what came, and each legal form of a value can be declared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crossdock.connectors.declarative.connection_test import DeclaredConnectionTest
from crossdock.connectors.declarative.files import InvalidDeclaration
from crossdock.connectors.declarative.streams import declared_stream
from crossdock.core.errors import BadRequest, SourceInvalid
from crossdock.db.database import Store
from crossdock.http import call_metrics
from crossdock.http.breaker import Phase
from crossdock.http.config import client_config_of
from crossdock.http.connection import Connection
from crossdock.http.shared_safeguards import SharedSafeguards
from crossdock.integrations.connection_test import run_checks
from crossdock.integrations.model import CheckOutcome
from crossdock.sync.model import Counts, RunState, SyncRequest
from crossdock.sync.quarantine import repository as quarantine_repository
from crossdock.sync.quarantine import service as quarantine_service
from crossdock.sync.source import Axis, Range
from tests.connectors.declarative.worlds import (
    APIS,
    AT,
    BASE,
    HERE,
    a_shop,
    a_sync,
    data_of,
    declared,
    refused,
    source_of,
    written,
)
from tests.shop import query
from tests.sync.quarantine.selected import selected

api = pytest.mark.parametrize("api", APIS)


def thing(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": number, "name": f"R-{number}", "size": 1, "at": AT, **fields}


# What a path does not fit.

MAPPING = {
    "units": {"path": "sum(values(stock))", "type": "integer"},
    "tags": {"path": "join(', ', tags)"},
    "pieces": {"path": "sum(lines[].qty)", "type": "integer"},
}
FITS = {"stock": {"main": 1}, "tags": ["a"], "lines": [{"qty": 1}]}


@api
def test_a_record_that_a_path_does_not_fit_stops_no_other(api: str, store: Store, tmp_path: Path) -> None:
    """The reason names the column, the path and what came, in one line."""
    odd = [
        thing(3, **FITS | {"stock": []}),
        thing(4, **FITS | {"tags": None}),
        thing(5, **FITS | {"lines": [{"qty": "1"}]}),
    ]
    rows = [thing(1, **FITS), thing(2, **FITS | {"stock": {"a": 1, "b": 2}}), *odd]
    with a_shop(api, lambda _: {"items": rows}) as url:
        report = a_sync(declared(api, mapping=MAPPING), url, store, tmp_path)()

    assert (report.state, report.counts) == (RunState.PARTIAL, Counts(read=5, inserted=2, rejected=3))
    assert {key: data["units"] for key, data in data_of(store).items()} == {"R-1": 1, "R-2": 3}
    reasons = refused(store)
    assert reasons["3"].startswith("units_is_readable: units: [] (sum(values(stock)) needs object in values()")
    assert reasons["4"].startswith("tags_is_readable: tags: null (join(', ', tags) needs array-string in join()")
    assert reasons["5"].startswith('pieces_is_readable: pieces: "1" (sum(lines[].qty) needs array-number in sum()')
    assert not any("Traceback" in reason or "\n" in reason for reason in reasons.values())


@pytest.mark.parametrize(
    "identity",
    [{"id": "keys(id)[0]"}, {"version": "sum(v)"}, {"changed_at": "join('T', at)"}, {"key": "max(name)"}],
    ids=lambda part: next(iter(part)),
)
def test_an_identity_that_does_not_fit_stops_no_other(identity: dict[str, str], store: Store, tmp_path: Path) -> None:
    good = {"id": {"9": 1}, "v": [9], "at": ["2026-11-01", "00:00:00Z"], "name": ["good"], "size": 1}
    plain = {"id": 9, "v": 9, "at": AT, "name": "good"}
    (column,) = identity
    part = {"id": "id", "version": "v", "changed_at": "at", "key": "name"}[column]
    rows = [plain | {"size": 1, part: value} for value in (good[part], None, 5, "x", [{}])]
    with a_shop("rest", lambda _: {"items": rows}) as url:
        mapping = {"size": {"path": "size", "type": "integer"}}
        report = a_sync(declared("rest", identity=identity, mapping=mapping), url, store, tmp_path)()

    assert report.counts == Counts(read=5, inserted=1, rejected=4)
    causes = {cause for (cause,) in query(store, "SELECT cause FROM quarantine_item")}
    assert causes == {f"{column}_is_readable"}


def test_an_empty_list_that_php_writes_for_an_empty_object_is_empty(store: Store, tmp_path: Path) -> None:
    """And only that: text, null and a full list in its place are no empty list."""
    bodies: list[Any] = [{"items": {"a": thing(1), "b": thing(2)}}]
    with a_shop("rest", lambda _: bodies[0]) as url:
        sync = a_sync(declared("rest", read={"records": "values(items)"}), url, store, tmp_path)
        assert sync().counts.read == 2
        bodies[0] = {"items": []}
        assert sync(SyncRequest(full=True, allow_shrink=True)).counts.read == 0
        source = source_of(tmp_path / "a_list.yaml", url)
        for body in ({"items": [1]}, {"items": None}, {"items": "none"}, {}, []):
            bodies[0] = body
            with pytest.raises(SourceInvalid, match=r"page 1 of the list.*no list of records at values"):
                source.page("", Range(range_no=0, axis=Axis.ID), None)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (7, "id_is_readable"),
        ("text", "id_is_readable"),
        (None, "id_is_readable"),
        ([], "id_is_readable"),
        (thing(1, size="", **{"$source": "x"}), 'size_is_readable: size: ""'),
        (thing(1, size={"a": 1}), 'size_is_readable: size: {"a":1} (size must be a 64-bit whole number'),
        (thing(1, size=[]), "size_is_readable: size: []"),
        (thing(1, at=None), "changed_at_is_readable: changed_at: null (at has no value"),
        (thing(1, at=5), "changed_at_is_readable: changed_at: 5 (at must be an instant like 2026"),
        (thing(1, at="2026-11-01T00:00:00"), "if the system means one, declare `zone`"),
        (thing(1, name=None), "key_is_readable"),
        (thing(1, name=""), "key_is_present"),
        (thing(1, name={}), "key_is_readable"),
        (thing(1, id=""), "id_is_well_formed"),
        (thing(1, id=True), "id_is_readable"),
        (thing(1, id=[1]), "id_is_readable"),
        (thing(1, more={"a\x00b": 1}), "text_is_storable: more.a\\x00b"),
        (thing(1, name="x" * 12_000), "text_fits_its_index: key"),
    ],
    ids=str,
)
def test_each_odd_record_says_what_came(row: Any, reason: str, store: Store, tmp_path: Path) -> None:
    with a_shop("rest", lambda _: {"items": [row, thing(99)]}) as url:
        report = a_sync(declared("rest"), url, store, tmp_path)()

    assert report.counts == Counts(read=2, inserted=1, rejected=1)
    assert reason in next(iter(refused(store).values()))


# Instants.


@pytest.mark.parametrize(
    ("declaration", "value", "instant"),
    [
        ({"zone": "UTC"}, "2026-10-01T09:00:00", "2026-10-01T09:00:00"),
        ({"zone": "Europe/Berlin"}, "2026-10-01T09:00:00", "2026-10-01T07:00:00"),
        ({"zone": "Europe/Berlin"}, "2026-12-01 09:00:00", "2026-12-01T08:00:00"),
        ({"zone": "Europe/Berlin"}, "2026-10-01T09:00:00Z", "2026-10-01T09:00:00"),
        ({"zone": "Europe/Berlin"}, "2026-10-01", "2026-09-30T22:00:00"),
        ({}, "2026-10-01T09:00:00+0200", "2026-10-01T07:00:00"),
        ({"format": "rfc2822"}, "Thu, 01 Oct 2026 09:00:00 +0000", "2026-10-01T09:00:00"),
        ({"format": "rfc2822"}, "Thu, 01 Oct 2026 09:00:00 GMT", "2026-10-01T09:00:00"),
        ({"format": "rfc2822"}, "Thu, 01 Oct 2026 09:00:00 -0000", "2026-10-01T09:00:00"),
        ({"format": "epoch_s"}, 1790845200, "2026-10-01T09:00:00"),
        ({"format": "epoch_s"}, "1790845200", "2026-10-01T09:00:00"),
        ({"format": "epoch_s"}, 1790845200.25, "2026-10-01T09:00:00.25"),
        ({"format": "epoch_ms"}, 1790845200123, "2026-10-01T09:00:00.123"),
        ({"format": "dotnet"}, "/Date(1790845200000)/", "2026-10-01T09:00:00"),
        ({"format": "dotnet"}, "/Date(1790845200000+0200)/", "2026-10-01T09:00:00"),
        ({"format": "%d.%m.%Y %H:%M", "zone": "Europe/Vienna"}, "01.10.2026 11:00", "2026-10-01T09:00:00"),
    ],
    ids=str,
)
def test_an_instant_is_read_as_it_is_declared(
    declaration: dict[str, str], value: Any, instant: str, store: Store, tmp_path: Path
) -> None:
    """As the time of change, and as a mapped value."""
    mapping = {"due": {"path": "due", "type": "instant", **declaration}}
    with a_shop("rest", lambda _: {"items": [thing(1, at=value, due=value)]}) as url:
        report = a_sync(declared("rest", identity=declaration, mapping=mapping), url, store, tmp_path)()

    assert report.counts == Counts(read=1, inserted=1)
    (found,) = query(
        store,
        "SELECT last_modified_at = %s::timestamptz, (data->>'due')::timestamptz = last_modified_at FROM record",
        instant + "Z",
    )
    assert found == (True, True)


@pytest.mark.parametrize(
    ("declaration", "value"),
    [
        ({}, "2026-10-01T09:00:00"),
        ({}, 1790845200),
        ({}, "0000-00-00 00:00:00"),
        ({"zone": "UTC"}, "0000-00-00 00:00:00"),
        ({"format": "rfc2822"}, "Thu, 01 Oct 2026 09:00:00"),
        ({"format": "rfc2822"}, "2026-10-01T09:00:00Z"),
        ({"format": "epoch_s"}, 1790845200000),
        ({"format": "epoch_s"}, True),
        ({"format": "epoch_s"}, "1_790_845_200"),
        ({"format": "epoch_ms"}, "soon"),
        ({"format": "dotnet"}, 1790845200000),
        ({"format": "%d.%m.%Y", "zone": "UTC"}, "2026-10-01"),
        ({"format": "%d.%m.%Y"}, "01.10.2026"),
    ],
    ids=str,
)
def test_another_instant_is_refused(declaration: dict[str, str], value: Any, store: Store, tmp_path: Path) -> None:
    with a_shop("rest", lambda _: {"items": [thing(1, at=value)]}) as url:
        report = a_sync(declared("rest", identity=declaration), url, store, tmp_path)()

    assert report.counts == Counts(read=1, rejected=1)
    assert "changed_at_is_readable" in next(iter(refused(store).values()))


def test_one_zone_may_be_said_for_all(store: Store, tmp_path: Path) -> None:
    mapping = {
        "due": {"path": "due", "type": "instant"},
        "sent": {"path": "due", "type": "instant", "zone": "UTC"},
    }
    document = declared("rest", mapping=mapping) | {"zone": "Asia/Tokyo"}
    with a_shop("rest", lambda _: {"items": [thing(1, at="2026-10-01T09:00:00", due="2026-10-01T09:00:00")]}) as url:
        a_sync(document, url, store, tmp_path)()

    assert data_of(store)["R-1"] == {"due": "2026-10-01T00:00:00+00:00", "sent": "2026-10-01T09:00:00+00:00"}


# Numbers.

EXACT = '[{"id":1,"name":"N-1","at":"%s","price":1234567890123456.78,"parts":[{"price":0.10},{"price":0.20}],"all":{"b":1.50}}%s]'
NUMBERS = {
    "price": {"path": "price", "type": "decimal"},
    "sum": {"path": "sum(parts[].price)", "type": "decimal"},
    "text": {"path": "to_string(price)"},
    "all": {"path": "all", "type": "json"},
}


@api
@pytest.mark.parametrize("beside", ["", ',{"id":2,"name":"N-2","at":"2026-11-01T00:00:00Z","price":NaN}'])
def test_a_number_keeps_its_digits(api: str, beside: str, store: Store, tmp_path: Path) -> None:
    """Also beside a record that no strict JSON can express, and after a person has edited another field of it."""
    body = b'{"items": ' + (EXACT % (AT, beside)).encode() + b"}"
    with a_shop(api, lambda _: (200, {}, body)) as url:
        report = a_sync(declared(api, mapping=NUMBERS), url, store, tmp_path)()

    assert (report.counts.inserted, report.counts.rejected) == (1, 1 if beside else 0)
    found = data_of(store)["N-1"]
    assert (found["price"], found["sum"], found["text"]) == ("1234567890123456.78", "0.30", "1234567890123456.78")
    assert query(store, "SELECT data->'all'->>'b' FROM record") == [("1.50",)]


CALCULATED = {
    "available": {"path": "subtract(on_hand, reserved)", "type": "integer"},
    "price_minor": {"path": "to_minor(price, 'EUR')", "type": "integer"},
}


@api
def test_a_value_is_calculated_and_a_record_with_which_it_cannot_be_stops_no_other(
    api: str, store: Store, tmp_path: Path
) -> None:
    good = {"on_hand": 12, "reserved": 5, "price": "12.50"}
    odd = [
        thing(2, **good | {"reserved": None}),
        thing(3, **good | {"on_hand": "12"}),
        thing(4, **good | {"price": "12,50"}),
    ]
    with a_shop(api, lambda _: {"items": [thing(1, **good), *odd]}) as url:
        report = a_sync(declared(api, mapping=CALCULATED), url, store, tmp_path)()

    assert report.counts == Counts(read=4, inserted=1, rejected=3)
    assert data_of(store)["R-1"] == {"available": 7, "price_minor": 1250}
    reasons = refused(store)
    assert reasons["2"].startswith(
        "available_is_readable: available: null (subtract(on_hand, reserved) needs a number as the 2nd argument"
    )
    assert 'available: "12" (subtract(on_hand, reserved) needs a number as the 1st argument' in reasons["3"]
    assert "price_minor: \"12,50\" (to_minor(price, 'EUR') needs a number, or text such as '12.50'" in reasons["4"]


def test_an_edit_in_quarantine_keeps_the_digits_of_the_rest(store: Store, tmp_path: Path) -> None:
    row = b'{"items": [{"id": 1, "name": "N-1", "at": "soon", "price": 1234567890123456.78}]}'
    document = declared("rest", mapping={"price": {"path": "price", "type": "decimal"}})
    with a_shop("rest", lambda _: (200, {}, row)) as url:
        a_sync(document, url, store, tmp_path)()
    _, stream = declared_stream(tmp_path / "a_list.yaml")
    ((item,),) = query(store, "SELECT item_id FROM quarantine_item")
    assert quarantine_service.edit_fields(store, item, {"at": AT}, streams=lambda _: stream, actor="test") == ()
    items = selected(store, [item], cause=None, everything=False)
    quarantine_service.replay_all(store, items, streams=lambda _: stream, actor="test")

    assert data_of(store)["N-1"]["price"] == "1234567890123456.78"


def test_an_edit_by_the_name_of_a_column_is_answered_with_the_source_s_names_and_what_came(
    store: Store, tmp_path: Path
) -> None:
    document = declared(
        "rest",
        target="inventory",
        identity={"id": "id", "changed_at": "at", "key": "code"},
        mapping={
            "sku": {"path": "code"},
            "quantity_on_stock": {"path": "pieces", "type": "integer"},
            "available_quantity": {"path": "pieces", "type": "integer"},
        },
    )
    with a_shop("rest", lambda _: {"items": [{"id": 1, "code": "A-1", "at": AT, "pieces": "twelve"}]}) as url:
        a_sync(document, url, store, tmp_path)()
    _, stream = declared_stream(tmp_path / "a_list.yaml")
    with store.transaction() as work:
        item = quarantine_repository.get(work, 1)

    with pytest.raises(BadRequest) as refusal:
        quarantine_service.edit_fields(store, 1, {"quantity_on_stock": 5}, streams=lambda _: stream, actor="t")
    assert "names of their source. Did you mean pieces?" in str(refusal.value)
    assert 'code (received "A-1")' in str(refusal.value)
    assert 'pieces (received "twelve")' in str(refusal.value)
    assert {"code", "pieces", "at"} <= {*quarantine_service.editable_fields(stream, item)}
    assert quarantine_service.sources_of(stream, item)["available_quantity"] == ["pieces"]


@pytest.mark.parametrize(("paging", "announced"), [({"total": "total"}, 2), ({}, None)])
def test_a_run_says_how_many_records_the_source_announced_and_nothing_where_it_does_not(
    store: Store, tmp_path: Path, paging: dict[str, str], announced: int | None
) -> None:
    pages = {"kind": "offset", "parameter": "skip", **paging}
    document = declared("rest", read={"paging": pages}, mapping={"size": {"path": "size", "type": "integer"}})
    rows = [thing(1), thing(2)]
    with a_shop("rest", lambda asked: {"items": rows[int(asked.get("skip", 0)) :], "total": 2}) as url:
        report = a_sync(document, url, store, tmp_path)()

    assert report.counts == Counts(read=2, inserted=2)
    assert query(store, "SELECT expected_records, (SELECT count(*) FROM sync_range) FROM sync_run") == [(announced, 1)]


# What is absent.


@api
@pytest.mark.parametrize(
    ("field", "found"),
    [
        ({"type": "decimal"}, ("refused", None)),
        ({"type": "decimal", "empty": None}, (None, None)),
        ({"type": "decimal", "empty": "null", "missing": "reject"}, ("refused", "refused")),
        ({"type": "text"}, ("", None)),
        ({"type": "text", "empty": "null"}, (None, None)),
        ({"type": "text", "empty": "keep", "missing": "reject"}, ("", "refused")),
        ({"type": "text", "empty": "reject"}, ("refused", None)),
        ({"type": "instant", "empty": "null"}, (None, None)),
    ],
    ids=str,
)
def test_empty_text_and_no_value_are_what_the_declaration_says(
    api: str, field: dict[str, Any], found: tuple[Any, Any], store: Store, tmp_path: Path
) -> None:
    """WooCommerce writes `""` for no price."""
    rows = [thing(1, price=""), thing(2, price=None), thing(3)]
    with a_shop(api, lambda _: {"items": rows}) as url:
        a_sync(declared(api, mapping={"price": {"path": "price", **field}}), url, store, tmp_path)()

    loaded = {key: data["price"] for key, data in data_of(store).items()}
    empty, absent = found
    assert {f"R-{number}": "refused" for number in refused(store)} | loaded == {
        "R-1": empty,
        "R-2": absent,
        "R-3": absent,
    }


@pytest.mark.parametrize("field", [{}, {"empty": "null"}, {"empty": "keep"}], ids=str)
def test_neither_empty_text_nor_no_value_passes_a_rule(field: dict[str, Any], store: Store, tmp_path: Path) -> None:
    """Great Expectations passes a missing value: a code without a code is none."""
    rule = {
        "name": "code_is_a_code",
        "type": "expect_column_values_to_match_regex",
        "arguments": {"column": "code", "regex": "^[A-Z]+$"},
        "message": "a code has capitals",
    }
    document = declared("rest", mapping={"code": {"path": "code", **field}}) | {"expectations": [rule]}
    rows = [thing(1, code=""), thing(2, code=None), thing(3), thing(4, code=" "), thing(5, code="OK")]
    with a_shop("rest", lambda _: {"items": rows}) as url:
        a_sync(document, url, store, tmp_path)()

    assert set(refused(store)) == {"1", "2", "3", "4"}
    assert set(data_of(store)) == {"R-5"}


def test_a_rule_may_be_for_the_values_that_are_there(store: Store, tmp_path: Path) -> None:
    rule = {
        "name": "price_is_plausible",
        "type": "expect_column_values_to_be_between",
        "arguments": {"column": "price", "min_value": 1},
        "message": "a price is 1 or more",
    }
    field = {"path": "price", "type": "integer", "empty": "null", "missing": "null"}
    document = declared("rest", mapping={"price": field}) | {"expectations": [rule]}
    rows = [thing(1, price=""), thing(2), thing(3, price=0), thing(4, price=1)]
    with a_shop("rest", lambda _: {"items": rows}) as url:
        a_sync(document, url, store, tmp_path)()

    assert set(refused(store)) == {"3"}
    assert set(data_of(store)) == {"R-1", "R-2", "R-4"}


# Names, keys and times.


@api
def test_names_with_blanks_are_read_found_and_edited(api: str, store: Store, tmp_path: Path) -> None:
    """As a spreadsheet's columns are called."""
    identity = {"id": '"Item No"', "changed_at": '"Last change"', "key": '"Short name"'}
    mapping = {"units": {"path": '"In stock (pieces)"', "type": "integer"}}
    rows = [
        {"Item No": number, "Last change": AT, "Short name": f"B {number}", "In stock (pieces)": units}
        for number, units in ((1, 5), (2, "many"))
    ]
    with a_shop(api, lambda _: {"items": rows}) as url:
        sync = a_sync(declared(api, identity=identity, mapping=mapping), url, store, tmp_path)
        assert sync(SyncRequest(keys=("B 1",))).counts == Counts(read=1, inserted=1)
        assert sync().counts == Counts(read=2, unchanged=1, rejected=1)

    assert data_of(store) == {"B 1": {"units": 5}}
    assert query(store, "SELECT record_key FROM quarantine_item") == [("B 2",)]
    _, stream = declared_stream(tmp_path / "a_list.yaml")
    assert quarantine_service.edit_fields(store, 1, {"In stock (pieces)": 7}, streams=lambda _: stream, actor="t") == ()


@api
def test_records_without_key_and_times_are_compared_by_content(api: str, store: Store, tmp_path: Path) -> None:
    rows = [{"id": "a", "size": 1}, {"id": "b", "size": 2}, {"id": "c", "size": "many"}]
    document = declared(api, mapping={"size": {"path": "size", "type": "integer"}})
    document["identity"] = {"id": "id"}
    with a_shop(api, lambda _: {"items": rows}) as url:
        sync = a_sync(document, url, store, tmp_path)
        first, again = sync(), sync()
        rows[0] = {"id": "a", "size": 3}
        changed = sync()

    assert first.counts == Counts(read=3, inserted=2, rejected=1)
    assert again.counts == Counts(read=3, unchanged=2, rejected=1)
    assert changed.counts == Counts(read=3, updated=1, unchanged=1, rejected=1)
    assert data_of(store) == {"a": {"size": 3}, "b": {"size": 2}}
    assert query(store, "SELECT times_seen FROM quarantine_item") == [(3,)]


def test_stock_without_times_comes_into_the_hubs_own_table(store: Store, tmp_path: Path) -> None:
    mapping = {
        "sku": {"path": "sku"},
        "quantity_on_stock": {"path": "n", "type": "integer"},
        "available_quantity": {"path": "n", "type": "integer"},
    }
    rows = [{"sku": "S-1", "n": 5}, {"sku": "S-2", "n": None}]
    document = declared("rest", mapping=mapping) | {"identity": {"id": "sku"}, "target": "inventory"}
    with a_shop("rest", lambda _: {"items": rows}) as url:
        sync = a_sync(document, url, store, tmp_path)
        first, again = sync(), sync()

    assert (first.counts.inserted, first.counts.rejected, again.counts.unchanged) == (1, 1, 1)
    assert query(store, "SELECT sku, quantity_on_stock FROM inventory") == [("S-1", 5)]


def test_a_records_own_id_and_version_can_be_mapped_beside_those_of_its_identity(store: Store, tmp_path: Path) -> None:
    mapping = {"number": {"path": "id", "type": "integer"}, "release": {"path": "version"}}
    rows = [{"id": 51, "sku": "S-1", "version": "1.0-beta", "at": AT}]
    with a_shop("rest", lambda _: {"items": rows}) as url:
        a_sync(declared("rest", identity={"id": "sku", "key": "sku"}, mapping=mapping), url, store, tmp_path)()

    assert query(store, "SELECT id, data FROM record") == [("S-1", {"number": 51, "release": "1.0-beta"})]


# Content that is none.


@api
def test_one_byte_that_is_no_text_breaks_its_own_record(api: str, store: Store, tmp_path: Path) -> None:
    body = json.dumps({"items": [thing(1, name="BÄR-1"), thing(2)]}, ensure_ascii=False).encode("latin-1")
    with a_shop(api, lambda _: (200, {}, body)) as url:
        report = a_sync(declared(api), url, store, tmp_path)()

    assert report.counts == Counts(read=2, inserted=1, rejected=1)
    assert refused(store)["1"].startswith("text_is_storable: name: B\\udcc4R-1")


@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-16", "UTF-8", "no-such-set"])
def test_a_declared_character_set_is_read(charset: str, store: Store, tmp_path: Path) -> None:
    """With a byte order mark or without."""
    known = charset if charset != "no-such-set" else "utf-8-sig"
    body = json.dumps({"items": [thing(1, name="BÄR-1")]}, ensure_ascii=False).encode(known)
    headers = {"Content-Type": f"application/json; charset={charset}"}
    with a_shop("rest", lambda _: (200, headers, body)) as url:
        a_sync(declared("rest"), url, store, tmp_path)()

    assert list(data_of(store)) == ["BÄR-1"]


HTML = {"Content-Type": "text/html"}


@api
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((200, HTML, b"<html>Sign in</html>"), "is text/html, not application/json"),
        ((200, {}, b"<html>Sign in</html>"), "is not JSON|has no list of records"),
        ((200, {}, b"[" * 100_000), "nests too deeply|is not JSON"),
        ((200, {}, b'{"items": 5}'), "no list of records at"),
    ],
    ids=["html", "html as json", "deep", "a number"],
)
def test_invalid_content_is_no_outage(api: str, answer: Any, says: str, store: Store, tmp_path: Path) -> None:
    """The system answers: nobody is sent to look for an outage, and no breaker keeps the hub from a page that is right."""
    path = written(tmp_path, declared(api))
    with a_shop(api, lambda _: answer) as url, SharedSafeguards(store, "a_list") as calls:
        source = source_of(path, url, calls.safeguards)
        for _ in range(10):
            with pytest.raises(SourceInvalid, match=rf"page 1 of the list.*({says})") as raised:
                source.page("", Range(range_no=0, axis=Axis.ID), None)
            assert "unavailable" not in str(raised.value)

    with store.transaction() as work:
        assert call_metrics.health(work, "a_list").phase is Phase.CLOSED


@pytest.mark.parametrize(
    ("part", "body"),
    [
        ({"records": "values(items)"}, {"items": []}),
        ({"records": "values(items)"}, {"items": 5}),
        ({"records": "sort(items)"}, {"items": [1, "a", None]}),
        ({"records": "sort_by(items, &a)"}, {"items": [{"a": 1}, {"a": None}]}),
        ({"records": "items[?a > `1`]"}, {"items": [{"a": "x"}, 5, None]}),
        ({"records": "@"}, "text"),
        ({"paging": {"kind": "page", "parameter": "p", "total": "sum(items)"}}, {"items": ["x"]}),
        ({"paging": {"kind": "cursor", "parameter": "p", "next": "keys(next)"}}, {"items": [1], "next": 5}),
        ({"paging": {"kind": "keyset", "parameter": "p", "value": "keys(@)[0]"}}, {"items": [1, None, []]}),
        ({"paging": {"kind": "page", "parameter": "p", "more": "length(items) > `0`"}}, {"items": None}),
    ],
    ids=str,
)
def test_a_test_of_a_connection_answers_in_words(
    part: dict[str, Any], body: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the first thing that meets a system: `integration add` shows what it found, and never a mistake of the hub."""
    monkeypatch.setenv("HUB_DECLARATIONS", str(tmp_path))
    written(tmp_path, declared("rest", read=part))
    with a_shop("rest", lambda _: body) as url:
        connection = Connection(connection_id="a_list", conn_type="declared", host=url, extra=HERE)
        checks = run_checks(DeclaredConnectionTest(connection), allowed=client_config_of(connection).allowed_networks)

    assert {check.name for check in checks} == {"address", "tls", "credentials", "scope", "sample"}
    failed = [check.message for check in checks if check.outcome is CheckOutcome.FAILED]
    assert all("a_list: GET /things" in message for message in failed)


# Declarations that are wrong themselves.


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mapping:\n  on: {path: on}\n", "name that is not text"),
        ("mapping:\n  1: {path: x}\n", "name that is not text"),
        ("mapping:\n  ? [a]\n  : {path: x}\n", "unhashable key"),
        ("mapping:\n  a: {path: x, type: integer, empty: keep}\n", "keep is for text and json"),
        ("mapping:\n  a: {path: x, zone: Europe/Berlin}\n", "must be instant"),
        ("mapping:\n  a: {path: x, type: instant, zone: Mars/Olympus}\n", "not a time zone"),
        ("mapping:\n  a: {path: x, type: instant, zone: ../../etc/passwd}\n", "not a time zone"),
        ("mapping:\n  a: {path: x, type: instant, format: swatch}\n", "must be one of iso, epoch_s"),
        ("mapping:\n  a: {path: x, type: instant, format: '%Q'}\n", "must be one of iso, epoch_s"),
        ("mapping:\n  a: {path: x, empty: maybe}\n", "must be one of null, keep, reject"),
        ("mapping:\n  a: {path: 'no_such_function('}\n", "is not a JMESPath expression"),
    ],
)
def test_a_wrong_declaration_is_refused_in_words(text: str, says: str, tmp_path: Path) -> None:
    head = "title: A\nbase_url: https://a.example\nread: {path: /a, records: a}\nidentity: {id: id}\n"
    (tmp_path / "wrong.yaml").write_text(head + text)

    with pytest.raises(InvalidDeclaration, match=says):
        declared_stream(tmp_path / "wrong.yaml")


def test_without_version_and_time_the_version_says_nothing(tmp_path: Path) -> None:
    document = BASE | {"identity": {"id": "id", "compare": "version"}}
    with pytest.raises(InvalidDeclaration, match="must be content"):
        declared_stream(written(tmp_path, document))


@pytest.mark.parametrize(
    ("paging", "says"),
    [
        ({"kind": "page", "parameter": "p", "past_end": [500]}, "must be one of 204, 400"),
        ({"kind": "page", "parameter": "p", "size": 100.0, "max_pages": 0}, "less than the minimum"),
        ({"kind": "page", "parameter": "p", "size": 100.0}, "100.0 is not of type 'integer'"),
        ({"kind": "page", "parameter": "p", "total": "a["}, "is not a JMESPath expression"),
    ],
    ids=str,
)
def test_a_wrong_pagination_is_refused_in_words(paging: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidDeclaration, match=says):
        declared_stream(written(tmp_path, BASE | {"read": BASE["read"] | {"paging": paging}}))
