"""What is exported is read back by other tools as it is in the views."""

from __future__ import annotations

import stat
from datetime import datetime
from pathlib import Path

import duckdb
import pandas as pd  # noqa: TID253  a test, not a DAG file
import psycopg
import pyarrow as pa  # noqa: TID253  as above
import pyarrow.parquet as pq  # noqa: TID253  as above
import pytest

from crossdock.app import exports
from crossdock.cli.export import write_whole
from crossdock.core.errors import BadRequest, NotFound
from crossdock.core.export_formats import ExportFormat
from crossdock.db import views
from crossdock.db.database import Store
from crossdock.observability import audit

_ADD = """
INSERT INTO hub.customers (integration, id, version, email, first_name, customer_number, email_verified, addresses,
                           created_at, last_modified_at, batch_id)
VALUES ('commercetools', %s, 9007199254740993, 'ada@example.com', %s, %s, true, '[]', '2026-03-29T00:59:59.123456+01:00', now(), 1)
"""


@pytest.fixture(autouse=True)
def customers(hub_dsn: str) -> None:
    with psycopg.connect(hub_dsn) as connection:
        for number, (first_name, customer_number) in enumerate(
            [("Ada", "=1+1"), ("", None), ('O"Neil,\nJr.', "-5"), ("Зоя", "007")]
        ):
            connection.execute(_ADD, [f"c-{number}", first_name, customer_number])


def _export(
    store: Store, path: Path, name: str, form: ExportFormat, *, personal: bool = False, safe: bool = False
) -> Path:
    write_whole(path, lambda file: exports.export(store, name, file, form, personal=personal, for_spreadsheets=safe))
    return path


@pytest.mark.parametrize("name", [view.name for view in views.VIEWS])
def test_every_view_is_exported_with_its_types_even_without_a_row(store: Store, tmp_path: Path, name: str) -> None:
    read = pq.read_table(_export(store, tmp_path / "x.parquet", name, ExportFormat.PARQUET))
    header = _export(store, tmp_path / "x.csv", name, ExportFormat.CSV).read_text().splitlines()[0]

    assert read.column_names == header.split(",") == [column.name for column in exports.find(name).columns]


def test_parquet_keeps_large_numbers_instants_and_nulls(store: Store, tmp_path: Path) -> None:
    read = pq.read_table(_export(store, tmp_path / "c.parquet", "customers", ExportFormat.PARQUET, personal=True))
    row = next(row for row in read.to_pylist() if row["customer_id"] == "c-1")

    assert read.schema.field("version").type == pa.int64()
    assert row["version"] == 9007199254740993
    assert row["created_at"].isoformat() == "2026-03-28T23:59:59.123456+00:00"
    assert (row["first_name"], row["last_name"], row["customer_number"]) == ("", None, None)


def test_pandas_reads_both_formats_as_the_same(store: Store, tmp_path: Path) -> None:
    parquet = pd.read_parquet(_export(store, tmp_path / "c.parquet", "customers", ExportFormat.PARQUET, personal=True))
    csv = pd.read_csv(
        _export(store, tmp_path / "c.csv", "customers", ExportFormat.CSV, personal=True),
        dtype={"customer_number": "string", "version": "int64"},
    )

    assert sorted(parquet["first_name"]) == sorted(csv["first_name"].fillna(""))
    assert list(parquet["version"]) == list(csv["version"])


def test_duckdb_reads_both_formats_as_the_same(store: Store, tmp_path: Path) -> None:
    rows = []
    for form in ExportFormat:
        path = _export(store, tmp_path / f"c.{form}", "customers", form, personal=True)
        # All text, as CSV has no types: a customer number of digits would be taken for a number.
        read = duckdb.sql(
            "SELECT customer_id, version::bigint, nullif(first_name, ''), customer_number, email_verified::boolean,"
            f" created_at::timestamptz AT TIME ZONE 'UTC' FROM {_reader(form)} ORDER BY customer_id",
            params=[str(path)],
        )
        rows.append(read.fetchall())

    assert rows[0] == rows[1]
    instant = datetime(2026, 3, 28, 23, 59, 59, 123456)  # noqa: DTZ001  in UTC, as asked
    assert rows[0][0] == ("c-0", 9007199254740993, "Ada", "=1+1", True, instant)


def _reader(form: ExportFormat) -> str:
    return "read_parquet(?)" if form is ExportFormat.PARQUET else "read_csv(?, all_varchar = true)"


def test_duckdb_knows_the_types_of_a_parquet_file(store: Store, tmp_path: Path) -> None:
    path = _export(store, tmp_path / "c.parquet", "customers", ExportFormat.PARQUET)
    described = duckdb.sql(
        "DESCRIBE SELECT version, email, email_verified, created_at FROM read_parquet(?)", params=[str(path)]
    )

    assert [row[:2] for row in described.fetchall()] == [
        ("version", "BIGINT"),
        ("email", "VARCHAR"),
        ("email_verified", "BOOLEAN"),
        ("created_at", "TIMESTAMP WITH TIME ZONE"),
    ]


def test_personal_data_is_masked_unless_it_is_asked_for(store: Store, tmp_path: Path) -> None:
    text = _export(store, tmp_path / "c.csv", "customers", ExportFormat.CSV).read_text()

    assert "ada@example.com" not in text
    assert "***" in text


def test_a_text_that_a_spreadsheet_takes_for_a_formula_gets_an_apostrophe_on_demand(
    store: Store, tmp_path: Path
) -> None:
    plain = _export(store, tmp_path / "plain.csv", "customers", ExportFormat.CSV).read_text()
    safe = _export(store, tmp_path / "safe.csv", "customers", ExportFormat.CSV, safe=True).read_text()

    assert (",=1+1," in plain, ",-5," in plain) == (True, True)
    assert (",'=1+1," in safe, ",'-5," in safe, ",007," in safe) == (True, True, True)


def test_reading_personal_data_needs_a_reason_which_is_kept(store: Store) -> None:
    with pytest.raises(BadRequest, match="needs a reason"):
        exports.record_personal(store, "view/customers", actor="cli:ada", reason=" ")
    exports.record_personal(store, "view/customers", actor="cli:ada", reason="a recall")
    with store.transaction() as work:
        kept = audit.last(work, "view/customers", ["personal_data.read"], not_by=())

    assert kept is not None
    assert (kept.actor, kept.detail) == ("cli:ada", {"reason": "a recall"})


def test_a_file_is_whole_or_not_there_and_only_its_owner_reads_it(store: Store, tmp_path: Path) -> None:
    path = _export(store, tmp_path / "c.csv", "customers", ExportFormat.CSV)
    before = path.read_text()

    def fail(_: object) -> int:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_whole(path, fail, replace=True)
    with pytest.raises(BadRequest, match=r"exists\. Choose another file with --to, or add --replace"):
        _export(store, path, "customers", ExportFormat.CSV)
    assert path.read_text() == before
    assert [each.name for each in tmp_path.iterdir()] == ["c.csv"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_unknown_view_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(NotFound, match="There are: orders, order_lines"):
        exports.find("order")
