"""What the validator asks about the hub; `app` provides it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from crossdock.integrations.actions.model import Action, Document
from crossdock.workflows.model import StepCall, TryEnd


class Catalog(Protocol):
    """What workflows may call and listen to."""

    @property
    def has_registry(self) -> bool:
        """Say whether there is a registry. Without one, every declared integration counts as registered and tested."""

    def kind_of(self, integration_id: str) -> str | None:
        """Give the kind of a registered integration, None if there is none."""

    def is_tested(self, integration_id: str) -> bool:
        """Whether the last test of the integration's connection succeeded."""

    def actions_of(self, integration_id: str, kind: str) -> Mapping[str, Action] | None:
        """Give the actions of an integration of a kind, by name; None if the kind is unknown."""

    def event_types(self) -> Mapping[str, Document]:
        """Give the JSON Schema of each event type's data."""

    def webhook_owner(self, name: str) -> str | None:
        """Name the workflow that has this webhook already."""


class Performer(Protocol):
    """Performs an action of an integration for a step."""

    def __call__(
        self, integration: str, action: str, given: Document, call: StepCall, timeout_s: float | None
    ) -> TryEnd:
        """
        Perform it with the key of *call*; return how it ended, whatever happens but a failure of the hub's database.

        Raises:
            StoreUnavailable: the hub's database failed.

        """
