"""
Evaluate expectations over whole batches with Great Expectations.

The batches are large, because the cost is per validation: 10,000 rows at once are twenty times cheaper than
in pages of 500. First it checks whether a rule holds for all rows; only for the rules that do not, it finds
the rows that broke them.
"""

from __future__ import annotations

import gc
import os
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from crossdock.core.printable import printable
from crossdock.sync.quarantine.model import Expectation, Failure, SuiteBroken

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: How much of a failing value is shown to people.
_SHOWN_CHARACTERS = 80


def check(rows: pa.Table, expectations: Sequence[Expectation]) -> dict[int, tuple[Failure, ...]]:
    """
    Find the failures of each row that broke a rule, by row number from 0; other rows are not in the result.

    Raises:
        SuiteBroken: a rule names a missing column, or has wrong arguments.

    """
    if rows.num_rows == 0:
        return {}
    batch = _batch(rows, expectations)
    _refuse_shared_names(expectations)
    broken = [
        expectation
        for expectation, result in zip(
            expectations, _validated(batch, expectations, {"result_format": "BOOLEAN_ONLY"}), strict=True
        )
        if not result.success
    ]
    failures: dict[int, list[Failure]] = defaultdict(list)
    complete = {"result_format": "COMPLETE"}
    for expectation, result in zip(broken, _validated(batch, broken, complete), strict=True):
        for row_no in _rows_of(result, expectation):
            failures[row_no].append(_failure(rows, row_no, expectation))
    return {row_no: tuple(found) for row_no, found in failures.items()}


def _refuse_shared_names(expectations: Sequence[Expectation]) -> None:
    """Refuse duplicate names: results are identified by name, so one of the two rules would not be checked."""
    names = [expectation.name for expectation in expectations]
    shared = sorted({name for name in names if names.count(name) > 1})
    if shared:
        raise SuiteBroken(f"Several expectations are called {', '.join(shared)}. Give each a unique name")


def _batch(rows: pa.Table, expectations: Sequence[Expectation]) -> Any:
    """Build a batch of the columns that rules name, as pandas on Arrow's memory; other columns are not copied."""
    import pandas as pd

    needed = sorted({column for expectation in expectations for column in expectation.columns})
    unknown = set(needed) - set(rows.column_names)
    if unknown:
        raise SuiteBroken(f"Expectations name columns that the rows do not have: {', '.join(sorted(unknown))}")
    frame = pd.DataFrame({column: _series(rows.column(column)) for column in needed}, copy=False)
    return _batch_definition().get_batch({"dataframe": frame})


def _series(column: pa.ChunkedArray) -> pd.Series[Any]:
    """
    Convert *column* to the fastest form for Great Expectations: plain numbers without nulls, otherwise Arrow's.

    Instants become microseconds since 1970: pandas compares aware instants one Python object at a time.
    """
    import pandas as pd
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    if pa.types.is_integer(column.type) and column.null_count == 0:
        return pd.Series(column.to_numpy())
    return column.to_pandas(types_mapper=pd.ArrowDtype)  # type: ignore[no-any-return]


def _validated(batch: Any, expectations: Sequence[Expectation], result_format: dict[str, str]) -> list[Any]:
    if not expectations:
        return []
    results = batch.validate(_suite(tuple(expectations)), result_format=result_format).results
    for result in results:
        if result.exception_info.get("raised_exception") or any(
            isinstance(info, dict) and info.get("raised_exception") for info in result.exception_info.values()
        ):
            raise SuiteBroken(
                f"The expectation {result.expectation_config.type} cannot be evaluated: {result.exception_info}"
            )
    by_name = {result.expectation_config.meta["name"]: result for result in results}
    return [by_name[expectation.name] for expectation in expectations]


@cache
def _batch_definition() -> Any:
    """Create the process's ephemeral Great Expectations context; it stores nothing on disk and calls nobody."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.execution_engine import pandas_execution_engine

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    # It hashes every batch under this size, which costs more than checking it; our batches are checked once.
    pandas_execution_engine.HASH_THRESHOLD = 0
    asset = context.data_sources.add_pandas("batches").add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("whole")


def load_great_expectations() -> None:
    """
    Import and set up everything that the first check of a process needs.

    These objects stay forever, so they are frozen for the garbage collector: it would walk a million objects again and
    again while a sync makes short-lived ones, and in a forked worker its marks would copy all their memory pages.
    """
    import pandas as pd
    import pyarrow as pa

    # Arrow's own allocator keeps the memory that each batch's threads have freed: forty megabytes more in every worker.
    pa.set_memory_pool(pa.system_memory_pool())
    rows = pa.table({"number": pa.array([1], pa.int64())})
    rows.to_pandas(types_mapper=pd.ArrowDtype)
    # A check of one row triggers the imports of the first use.
    check(
        rows,
        (
            Expectation(
                "number_is_positive", "expect_column_values_to_be_between", {"column": "number", "min_value": 1}, ""
            ),
        ),
    )
    gc.collect()
    gc.freeze()


@cache
def _suite(expectations: tuple[Expectation, ...]) -> Any:
    from great_expectations import ExpectationSuite
    from great_expectations.exceptions.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation_configuration import (
        ExpectationConfiguration,
    )

    try:
        rules = [
            ExpectationConfiguration(
                type=expectation.type, kwargs=_arguments(expectation), meta={"name": expectation.name}
            ).to_domain_obj()
            for expectation in expectations
        ]
        # All at once: if they were added one by one, a second rule of the same type on the same column replaces the first.
        return ExpectationSuite(
            name="-".join(expectation.name for expectation in expectations)[:200], expectations=rules
        )
    except (GreatExpectationsError, ValueError, TypeError) as error:
        names = ", ".join(expectation.name for expectation in expectations)
        raise SuiteBroken(f"One of the expectations {names} is declared incorrectly: {error}") from error


def _arguments(expectation: Expectation) -> dict[str, Any]:
    """Let a pair of values of which one is missing pass, as a missing value does: Great Expectations cannot compare it."""
    pair = {"ignore_row_if": "either_value_is_missing"} if "column_A" in expectation.arguments else {}
    return {**pair, **expectation.arguments}


def _rows_of(result: Any, expectation: Expectation) -> list[int]:
    rows = result.result.get("unexpected_index_list")
    if rows is None:
        raise SuiteBroken(f"{expectation.type} does not say which rows fail it; use an expectation over columns")
    return [int(row) for row in rows]


def _failure(rows: pa.Table, row_no: int, expectation: Expectation) -> Failure:
    shown = ", ".join(_text(rows.column(column)[row_no]) for column in expectation.columns)
    return Failure(
        rule=expectation.name,
        column=", ".join(expectation.columns),
        message=expectation.message,
        value=printable(shown[:_SHOWN_CHARACTERS]),
    )


def _text(value: pa.Scalar) -> str:
    try:
        return str(value.as_py())
    except (OverflowError, ValueError):
        return "a date outside the calendar"
