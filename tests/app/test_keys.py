"""The business keys of all datasets: people type them, and lists, logs and URLs show them."""

from __future__ import annotations

import pytest

from crossdock.app.streams import all_datasets
from crossdock.commerce.datasets import datasets
from crossdock.connectors.declarative.streams import RECORD_RULES
from crossdock.sync.dataset import Record, Schema
from crossdock.sync.expectations import check
from crossdock.sync.quarantine.model import Expectation

#: ESC, C1, bidi, zero width, an invisible tag, line breaks of three kinds.
HOSTILE = [f"ada@example.com{sign}x" for sign in "\x1b\x9b\u202e\u200b\U000e0041\n\u2028\x7f"] + ["ada@example.com\n"]


@pytest.mark.parametrize(
    "schema", sorted(all_datasets(), key=lambda schema: schema.name), ids=lambda schema: schema.name
)
def test_the_key_of_each_dataset_is_printable(schema: Schema) -> None:
    """A key with an escape sequence was loaded, where a SKU with one was not."""
    rules = RECORD_RULES if schema is Record.schema else datasets()[schema.name].expectations
    of_key = [rule for rule in rules if rule.columns == (schema.key,)]

    assert set(_refused(of_key, schema.key, HOSTILE)) == set(range(len(HOSTILE)))
    assert _refused(of_key, schema.key, ["ada.ünal@example.com", "a@b.c"]) == {}


def _refused(rules: list[Expectation], column: str, values: list[str]) -> dict[int, list[str]]:
    import pyarrow as pa

    found = check(pa.table({column: pa.array(values, pa.string())}), rules)
    assert not any(failure.value and not failure.value.isprintable() for of_row in found.values() for failure in of_row)
    return {row: [failure.rule for failure in of_row] for row, of_row in found.items()}
