"""The event types of this hub: one for each dataset, others that subjects declare, and the engine's own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from crossdock.app.streams import all_datasets
from crossdock.commerce import event_types as of_business
from crossdock.events.event_type import EventType
from crossdock.events.schemas import EventTypes, engine_schemas
from crossdock.workflows.declared import events as of_workflows


@cache
def declared_types() -> Mapping[str, EventType]:
    """Find the event types that are declared one by one, of subjects and of workflows, by name."""
    return {**of_business.event_types(), **of_workflows.EVENT_TYPES}


@cache
def event_types() -> EventTypes:
    """Collect the JSON Schemas of all event types. A dataset's follows from its declaration."""
    of_datasets = {(dataset.event_type, 1): dataset.event_schema for dataset in all_datasets()}
    of_subjects = {(name, 1): declared.schema for name, declared in declared_types().items()}
    return EventTypes({**engine_schemas(), **of_datasets, **of_subjects})
