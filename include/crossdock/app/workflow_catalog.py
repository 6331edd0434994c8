"""What declared workflows may call and listen to: actions from the manifests, and the event types of the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from crossdock.app.event_types import event_types
from crossdock.core.errors import HubError
from crossdock.db.database import Store
from crossdock.integrations import repository as integrations
from crossdock.integrations.actions.model import Action, Document
from crossdock.integrations.manifests import manifests
from crossdock.workflows.declared import repository
from crossdock.workflows.declared.events import EVENT_TYPES


@dataclass(frozen=True)
class WorkflowCatalog:
    """The catalog without a registry: it knows all that comes with the hub's code."""

    has_registry: bool = False
    #: Registered integration → its kind.
    kinds: Mapping[str, str] = field(default_factory=dict)
    #: Those whose connection passed its last test.
    tested: frozenset[str] = frozenset()
    #: Webhook → the workflow that it starts.
    webhooks: Mapping[str, str] = field(default_factory=dict)

    def kind_of(self, integration_id: str) -> str | None:
        return self.kinds.get(integration_id)

    def is_tested(self, integration_id: str) -> bool:
        return integration_id in self.tested

    def actions_of(self, integration_id: str, kind: str) -> Mapping[str, Action] | None:
        manifest = manifests().get(kind)
        if manifest is None:
            return None
        try:
            return manifest.of_integration(integration_id).actions
        except HubError:  # no file declares it: it has none
            return {}

    def event_types(self) -> Mapping[str, Document]:
        """Give the newest schema of each event type. Those of executions are left out: one could start itself without end."""
        known = event_types()
        names = [name for name in known.names if name not in EVENT_TYPES]
        return {name: known.schemas[name, known.versions_of(name)[-1]] for name in names}

    def webhook_owner(self, name: str) -> str | None:
        return self.webhooks.get(name)


def registered(store: Store) -> WorkflowCatalog:
    """Read what the registry has now."""
    with store.transaction() as work:
        known = integrations.list_all(work)
        webhooks = repository.webhooks(work)
    return WorkflowCatalog(
        has_registry=True,
        kinds={each.integration_id: each.kind for each in known},
        tested=frozenset(each.integration_id for each in known if each.test_passed),
        webhooks=webhooks,
    )
