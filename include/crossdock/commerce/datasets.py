"""All datasets of the business with their rules: one for each subject that has a `schema.py` and `expectations.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules

import crossdock.commerce
from crossdock.sync.dataset import Dataset, Schema
from crossdock.sync.quarantine.model import Expectation


@dataclass(frozen=True)
class CheckedDataset:
    """A dataset, and the rules that each of its records must pass."""

    record: type[Dataset]
    expectations: tuple[Expectation, ...]

    @property
    def schema(self) -> Schema:
        return self.record.schema


@cache
def datasets() -> Mapping[str, CheckedDataset]:
    """Find the datasets by name."""
    return {found.schema.name: found for found in _found()}


def _found() -> Iterator[CheckedDataset]:
    for subject in iter_modules(crossdock.commerce.__path__, "crossdock.commerce."):
        if not subject.ispkg or find_spec(f"{subject.name}.schema") is None:
            continue
        schema, rules = import_module(f"{subject.name}.schema"), import_module(f"{subject.name}.expectations")
        for value in vars(schema).values():
            if isinstance(value, type) and issubclass(value, Dataset) and value.__module__ == schema.__name__:
                yield CheckedDataset(value, rules.EXPECTATIONS)
