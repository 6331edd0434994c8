"""A dataset is declared once: the table, the columns and the event follow from it, by name."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import jsonschema
import pytest

from crossdock.app.event_types import event_types
from crossdock.app.streams import all_datasets
from crossdock.commerce.inventory.schema import StockLevel
from crossdock.commerce.orders.schema import Order
from crossdock.db.columns import as_columns
from crossdock.db.database import Store
from crossdock.sync.dataset import CheckOnly, Cleansed, Dataset, JsonList, Personal, Schema, Version

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DATASETS = sorted(all_datasets(), key=lambda dataset: dataset.name)
#: As PostgreSQL calls the types that a field may have.
_TYPES = {
    "text": "text",
    "int8": "bigint",
    "bool": "boolean",
    "timestamptz": "timestamp with time zone",
    "jsonb": "jsonb",
}
#: Besides the fields: where a row comes from, and what replaced it.
_TIME = "timestamp with time zone"
_OURS = {("integration", "text", "NO"), ("batch_id", "bigint", "NO"), ("known_at", _TIME, "YES")}
_SUPERSEDED = {("superseded_by", "bigint", "NO"), ("superseded_at", _TIME, "YES")}


class Person(Dataset, name="people", event="crossdock.person.changed", key="email"):
    """A person."""

    id: str
    version: Version
    email: Personal[str]
    tags: JsonList | None
    last_modified_at: datetime
    lineage: Cleansed | None
    tags_given: CheckOnly[int | None]


def person(**fields: object) -> Person:
    plain = {"id": "a", "version": 1, "email": "a@example.com", "tags": None, "last_modified_at": NOW, "lineage": None}
    return Person(**{**plain, "tags_given": 0, **fields})  # type: ignore[arg-type]  # what each test gives


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)
@pytest.mark.parametrize("twin", ["", "_history"])
def test_the_migrated_table_has_exactly_the_declared_columns(store: Store, dataset: Schema, twin: str) -> None:
    """A column that only one of the two knows is lost, or fails the first load."""
    statement = """
        SELECT column_name, data_type, is_nullable FROM information_schema.columns
         WHERE table_schema = 'hub' AND table_name = %s"""
    with store.transaction() as work:
        found = set(work.execute(statement.encode(), [dataset.table + twin]).fetchall())

    declared = {
        (field.name, _TYPES[field.pg_type], "YES" if field.nullable else "NO")
        for field in dataset.fields
        if not field.check_only
    }
    ours = _SUPERSEDED if twin else {("inserted_by", "bigint", "YES")}
    assert found == declared | _OURS | ours


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)
def test_each_text_in_an_index_has_a_longest_length(store: Store, dataset: Schema) -> None:
    """PostgreSQL refuses the whole batch for one text that is longer than an entry of an index."""
    statement = """
        SELECT DISTINCT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
         WHERE i.indrelid = ANY(ARRAY[%s, %s]::regclass[]) AND a.atttypid = 'text'::regtype"""
    with store.transaction() as work:
        found = {name for (name,) in work.execute(statement.encode(), [dataset.table, dataset.history])}

    # The ID of an integration has 63 characters at most.
    assert found - {"integration"} == set(dataset.indexed_names)


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)
def test_the_event_of_each_dataset_has_a_schema(dataset: Schema) -> None:
    """Each event links to it, and an event type without one cannot be selected."""
    schema = event_types().schema(dataset.event_type, 1)

    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]) == set(dataset.column_names)
    assert event_types().known([dataset.event_type]) == (dataset.event_type,)


def test_two_fields_that_swap_their_lines_keep_their_values() -> None:
    """By position, first names would be stored as last names."""
    assert Person.columns_of([person(id="a"), person(id="b", tags="[]")]) == {
        "id": ("a", "b"),
        "version": (1, 1),
        "email": ("a@example.com", "a@example.com"),
        "tags": (None, "[]"),
        "last_modified_at": (NOW, NOW),
        "lineage": (None, None),
        "tags_given": (0, 0),
    }
    values = dict(reversed(Person.columns_of([person()]).items()))
    (row,) = as_columns(Person.schema.checked_columns, values).to_pylist()
    assert (row["id"], row["email"], row["version"]) == ("a", "a@example.com", 1)


def test_no_records_are_columns_without_values() -> None:
    assert as_columns(Person.schema.checked_columns, Person.columns_of([])).num_rows == 0


def test_a_mapping_that_forgets_a_field_or_invents_one_is_refused() -> None:
    """Otherwise the column would silently be empty."""
    with pytest.raises(TypeError, match=r"StockLevel lacks \['available_quantity'.*does not declare \['availible'\]"):
        StockLevel.columns(id=[], availible=[])


def test_what_is_only_checked_is_neither_stored_nor_published() -> None:
    assert "tags_given" not in Person.schema.column_names
    assert "tags_given" in {column.name for column in Person.schema.checked_columns}
    assert "tags_given" not in Person.schema.event_schema["properties"]


def test_personal_data_is_known_by_its_declaration() -> None:
    """Masking and retention ask for it; a list of its own would be forgotten."""
    assert Person.schema.personal_fields == {"email"}
    assert Order.schema.personal_fields == {"customer_email", "shipping_address", "returns", "deliveries"}


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        ("version", {"type": "integer", "minimum": 1}),
        ("tags", {"type": ["array", "null"]}),
        ("last_modified_at", {"type": "string", "format": "date-time"}),
        ("email", {"type": "string"}),
    ],
)
def test_the_schema_of_a_field_follows_from_its_type(annotation: str, schema: dict[str, object]) -> None:
    assert Person.schema.event_schema["properties"][annotation] == schema


def test_a_dataset_without_what_every_sync_needs_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="'last_modified_at'"):

        class Nameless(Dataset, name="x", event="x", key="id"):
            """Lacks the time of its change."""

            id: str
            version: int


def test_a_field_of_a_type_that_no_column_holds_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="price"):

        class Priced(Dataset, name="x", event="x", key="id"):
            """A float is not a price."""

            id: str
            version: int
            last_modified_at: datetime
            price: float


def test_a_row_as_json_matches_the_schema_of_its_dataset() -> None:
    """The event is the row as JSON, so a nullable column must be a nullable field."""
    empty = {field.name: None for field in Order.schema.fields if field.nullable and not field.check_only}
    full = {"id": "a", "version": 1, "order_number": "1", "order_state": "Open", "currency": "EUR", "total_minor": 1}
    full |= {
        "line_count": 0,
        "lines": [],
        "placed_at": "2026-03-01T00:00:00Z",
        "last_modified_at": "2026-03-01T00:00:00Z",
    }

    jsonschema.validate(json.loads(json.dumps({**empty, **full})), Order.schema.event_schema)
