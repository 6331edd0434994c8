"""The event types of the business beside those of datasets: each subject declares its own in its `events.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules

import crossdock.commerce
from crossdock.events.event_type import EventType


@cache
def event_types() -> Mapping[str, EventType]:
    """Find the event types by name."""
    return {found.name: found for found in _found()}


def _found() -> Iterator[EventType]:
    for subject in iter_modules(crossdock.commerce.__path__, "crossdock.commerce."):
        if subject.ispkg and find_spec(f"{subject.name}.events"):
            yield from (
                value
                for value in vars(import_module(f"{subject.name}.events")).values()
                if isinstance(value, EventType)
            )
