"""Declared workflows, wired: their versions from the hub's database, and the actions of integrations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from crossdock.app.workflow_catalog import WorkflowCatalog
from crossdock.core.errors import HubError, NotFound, Transient
from crossdock.db.database import Store, StoreUnavailable, Work
from crossdock.http.deadline import Deadline
from crossdock.integrations.actions import service as actions
from crossdock.integrations.actions.model import Document, Done, Failed, Refused, Unknown
from crossdock.integrations.actions.ports import OpenClient
from crossdock.integrations.attempts import repository as attempts
from crossdock.integrations.attempts.model import Outcome
from crossdock.workflows.declared import document, repository
from crossdock.workflows.declared.effects import Effects
from crossdock.workflows.declared.flow import DeclaredFlow, version_in
from crossdock.workflows.declared.model import Workflow
from crossdock.workflows.model import Flow, Postponed, StepCall, TimedOut, TryEnd


class Calls(Protocol):
    """What calls of steps need: a database of their own, and the clients of integrations."""

    @property
    def store(self) -> Store: ...

    @property
    def open_client(self) -> OpenClient: ...


@dataclass(frozen=True)
class Performing:
    """Performs the actions of steps."""

    calls: Callable[[], Calls]

    def __call__(
        self, integration: str, action: str, given: Document, call: StepCall, timeout_s: float | None
    ) -> TryEnd:
        found = self.calls()

        def perform() -> TryEnd:
            return actions.perform(
                found.store,
                found.open_client,
                integration,
                action,
                given,
                key=call.key,
                actor=call.actor,
                on_begin=call.refuse_replaced,
                asks_person=False,  # the step asks
            )

        try:
            ended = perform() if timeout_s is None else _in_time(perform, timeout_s)
        except StoreUnavailable:
            raise
        except HubError as error:
            ended = _ended_by(error, is_in_doubt=_is_in_doubt(found.store, integration, call.key))
        if isinstance(ended, Failed) and not ended.was_called:
            ended = Postponed(ended.message, ended.retry_in_s)
        return _without_persons(ended, {"params": call.given, "input": given})


def _is_in_doubt(store: Store, integration: str, key: str) -> bool:
    """Whether an earlier call with *key* may have had its effect."""
    with store.transaction() as work:
        attempt = attempts.find(work, integration, key)
    return attempt is not None and attempt.outcome not in (Outcome.REFUSED, Outcome.FAILED)


def _ended_by(error: HubError, *, is_in_doubt: bool) -> TryEnd:
    """Say how a try ended whose call was not made. What an earlier try has done may be there all the same."""
    if is_in_doubt:
        return Unknown(f"{error}. An earlier call of the step may have had its effect: look it up in the system")
    return Failed(str(error), error.retry_in_s) if isinstance(error, Transient) else Refused(str(error))


def _in_time(perform: Callable[[], TryEnd], timeout_s: float) -> TryEnd:
    """Perform within *timeout_s*. What may have had its effect stays unknown."""
    with Deadline(timeout_s) as deadline:
        ended = perform()
    if isinstance(ended, Failed) and deadline.passed:
        return TimedOut(f"no answer within {timeout_s:g} s: {ended.message}")
    return ended


def _without_persons(ended: TryEnd, given: Document) -> TryEnd:
    """Hide addresses and names where a system quotes them in its reason: reasons are kept longer than they, and shown to all."""
    if isinstance(ended, Done):
        return ended
    message = ended.message
    for quoted in sorted(_persons_in(given), key=len, reverse=True):
        message = message.replace(quoted, "[hidden]")
    return msgspec.structs.replace(ended, message=message)


def _persons_in(value: Any) -> Iterator[str]:
    """Yield the texts that may name a person: an address has an @, a name a space."""
    match value:
        case str() if "@" in value or " " in value.strip():
            yield value
        case Mapping():
            for part in value.values():
                yield from _persons_in(part)
        case list():
            for part in value:
                yield from _persons_in(part)


class DeclaredFlows(Mapping[str, Flow]):
    """
    The flows of declared workflows, by name. A version never changes, so that it is read once.

    *calls* gives the database of the calling thread.
    """

    def __init__(self, calls: Callable[[], Calls]) -> None:
        self._calls = calls
        self._effects = Effects(Performing(calls), WorkflowCatalog())
        self._known: dict[str, DeclaredFlow] = {}

    def __getitem__(self, name: str) -> DeclaredFlow:
        if name not in self._known:
            if version_in(name) is None:
                raise KeyError(name)
            with self._calls().store.question() as work:
                try:
                    return self.of(work, name)
                except NotFound:
                    raise KeyError(name) from None
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def of(self, work: Work, name: str) -> DeclaredFlow:
        """
        Find a flow by its name.

        Raises:
            NotFound: there is no such version.

        """
        if (found := self._known.get(name)) is not None:
            return found
        version = version_in(name)
        stored = repository.version_of(work, *version) if version is not None else None
        if stored is None:
            raise NotFound(f"There is no version {name!r} of a workflow")
        return self._known.setdefault(name, DeclaredFlow(read(stored.definition), self._effects))


def read(definition: str) -> Workflow:
    """Read a definition that was validated when it was stored."""
    found, _ = document.read(definition)
    return document.workflow_of(found, [])
