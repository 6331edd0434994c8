"""What each kind of step does when it is made: calls, values, waits, and the questions to people."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from crossdock.core.errors import BadRequest
from crossdock.core.roles import Role
from crossdock.db.database import Work
from crossdock.integrations.actions.model import ActionKind, Document, Done, Refused
from crossdock.observability import decisions
from crossdock.observability.decisions import DecisionKind
from crossdock.workflows.declared import conditions, listeners_repository, mappings
from crossdock.workflows.declared.calls import action_of
from crossdock.workflows.declared.inputs import sent
from crossdock.workflows.declared.model import (
    Assign,
    Call,
    Called,
    Decide,
    Listen,
    Raise,
    Step,
    Wait,
    Workflow,
)
from crossdock.workflows.declared.model import Retry as DeclaredRetry
from crossdock.workflows.declared.ports import Catalog, Performer
from crossdock.workflows.model import (
    Effect,
    InHub,
    Outside,
    Retry,
    StepCall,
    StepError,
    TimedOut,
    TryEnd,
    Waiting,
)

Scope = Mapping[str, Any]

#: Waits are looked at when something has come, or when their time is over; no number of looks ends them.
_UNTIL_IT_COMES = Retry(attempts=1_000_000, errors=frozenset())
_ONCE_OR_MORE = Retry()
_UNDO = Retry(attempts=10)
#: A wait without an end is looked at so often.
_LOOK_EVERY_S = 86400.0
_LONGEST_WAIT_S = 300.0
#: Characters that a question shows of one text, and of one value with all that is inside it.
_MOST_SHOWN = 500
_MOST_SHOWN_IN_ALL = 5000
#: Quotes, brackets and separators around one.
_AROUND = 4
#: Longer than any call takes, with what its client does around it.
_AROUND_S = 30.0


@dataclass(frozen=True)
class Making:
    """How a step is made, and undone."""

    act: Effect
    undo: Effect | None = None
    retry: Retry = _ONCE_OR_MORE
    undo_retry: Retry = _UNDO
    #: As of a step of the engine.
    undo_resolves: bool = False


class Effects:
    """Makes the steps of declared workflows."""

    def __init__(self, performer: Performer, catalog: Catalog) -> None:
        self._performer, self._catalog = performer, catalog

    def refusal(self, message: str) -> Making:
        """Refuse a step that cannot be made: its condition or its list is wrong for these values."""
        return Making(InHub(lambda _work, _call: Refused(message)), retry=Retry(errors=frozenset()))

    def cancellation(self) -> Making:
        """Do nothing: once the step is done, the way goes no further, and the engine undoes what was done."""
        return Making(InHub(lambda _work, _call: Done({})))

    def making(self, workflow: Workflow, step: Step, scope: Scope) -> Making:
        """Give how a step is made that calls, waits or sets. Nothing is done before its effect runs."""
        match step.does:
            case Call() as call:
                return self._call(workflow, step, call, scope)
            case Assign(values):
                return _assigning(values, scope)
            case Raise(message):
                return self.refusal(message)
            case Wait(seconds):
                return _waiting(seconds)
            case Listen() as listen:
                return _listening(listen, step, scope)
            case Decide() as decide:
                return _asking(decide, step, workflow, scope)
        raise AssertionError(step.does)

    def given(self, workflow: Workflow, step: Step, scope: Scope, output: Any) -> Any:
        """Give what a step that writes is given for its call and for its undo, for a comparison; None of all others."""
        if not isinstance(step.does, Call):
            return None
        if not self.writes(workflow, step):
            return None
        undo = step.does.undo
        try:
            sent_to = mappings.mapped(step.does.called.given, scope)
            return sent_to, mappings.mapped(undo.given, {**scope, "output": output}) if undo is not None else None
        except BadRequest as error:
            return str(error)

    def writes(self, workflow: Workflow, step: Step) -> bool:
        """Whether a step has an effect at another system."""
        if not isinstance(step.does, Call):
            return False
        action = action_of(workflow, step.does.called, self._catalog)
        return action is None or action.kind is ActionKind.WRITE

    def _call(self, workflow: Workflow, step: Step, call: Call, scope: Scope) -> Making:
        def act(made: StepCall) -> TryEnd:
            return self._perform(workflow, step, call.called, scope, made)

        def undo(made: StepCall) -> TryEnd:
            assert call.undo is not None  # noqa: S101  see below
            output = made.outputs.get(made.step)
            return self._perform(workflow, step, call.undo, {**scope, "output": output}, made)

        timeout_s = max((step.timeout_s or 0.0) + _AROUND_S, Outside.timeout_s)
        return Making(
            Outside(act, timeout_s),
            Outside(undo, timeout_s) if call.undo is not None else None,
            retry=_rules(call.retry),
        )

    def _perform(self, workflow: Workflow, step: Step, called: Called, scope: Scope, made: StepCall) -> TryEnd:
        action = action_of(workflow, called, self._catalog)
        try:
            given = mappings.mapped(called.given, scope)
            # Of an action that is gone, the performer knows whether an earlier try may have had its effect.
            given = sent(action, given) if action is not None else given
        except BadRequest as error:
            return Refused(str(error))
        return self._performer(called.integration, called.action, given, made, step.timeout_s)


def name_of(key: Any) -> str:
    """Name the item of a loop by its key; by a digest of it where it is no short plain text."""
    text = key if isinstance(key, str) else mappings.shown(key)
    is_plain = 0 < len(text) <= 64 and text.isprintable() and not set(text) & set("[]@")  # noqa: PLR2004  as keys of the engine
    return text if is_plain else hashlib.sha256(text.encode()).hexdigest()[:32]


def _assigning(values: Document, scope: Scope) -> Making:
    def act(_work: Work, _call: StepCall) -> TryEnd:
        try:
            return Done(mappings.mapped(values, scope))
        except BadRequest as error:
            return Refused(str(error))

    return Making(InHub(act))


def _waiting(seconds: float) -> Making:
    def act(_work: Work, call: StepCall) -> TryEnd:
        left_s = _left_s(call, seconds)
        return Waiting(f"it waits for {seconds:g} s", left_s) if left_s > 0 else Done({})

    return Making(InHub(act), undo=InHub(lambda _work, _call: Done({})), retry=_UNTIL_IT_COMES, undo_resolves=True)


def _rules(declared: DeclaredRetry) -> Retry:
    return Retry(
        attempts=declared.limit + 1,
        first_wait_s=declared.delay_s,
        longest_wait_s=max(_LONGEST_WAIT_S, declared.delay_s),
        doubles=declared.exponential,
        errors=frozenset(StepError(each) for each in declared.errors),
    )


def _left_s(call: StepCall, limit_s: float | None) -> float:
    if limit_s is None:
        return _LOOK_EVERY_S
    return (call.began_at + timedelta(seconds=limit_s) - call.now).total_seconds()


def _asking(decide: Decide, step: Step, workflow: Workflow, scope: Scope) -> Making:
    """Ask a person; once the time is over, the default counts as decided."""

    def act(work: Work, call: StepCall) -> TryEnd:
        subject = decision_subject(call.execution_id, call.step)
        asked = decisions.last(work, DecisionKind.WORKFLOW, subject, about=call.execution_id)
        if asked is not None and asked.choice is not None:
            return Done({"option": asked.choice, "decided_by": asked.decided_by})
        left_s = _left_s(call, step.timeout_s)
        if left_s <= 0:
            decisions.withdraw(work, DecisionKind.WORKFLOW, subject)
            if decide.default is not None:
                return Done({"option": decide.default, "decided_by": "default"})
            return TimedOut(f"nobody decided within {step.timeout_s:g} s")
        if asked is None:
            try:
                shows = mappings.mapped(dict(decide.shows), scope)
            except BadRequest as error:
                return Refused(str(error))
            decisions.ask(
                work,
                DecisionKind.WORKFLOW,
                subject,
                about=call.execution_id,
                question=f"{workflow.title}: {decide.question}",
                shows={name: _shortened(value, _MOST_SHOWN_IN_ALL)[0] for name, value in shows.items()},
                choices=decide.options,
                role=Role.USER,
            )
        return Waiting(f"a person is asked: {decide.question}", left_s)

    def undo(work: Work, call: StepCall) -> TryEnd:
        decisions.withdraw(work, DecisionKind.WORKFLOW, decision_subject(call.execution_id, call.step))
        return Done({})

    return Making(InHub(act), InHub(undo), retry=_UNTIL_IT_COMES, undo_resolves=True)


def _shortened(value: Any, left: int) -> tuple[Any, int]:
    """
    Cut what is too long to be read with a question, and say how many of *left* characters are left.

    Only texts are cut. Objects stay objects: by the names of their fields, personal data is masked.
    """
    match value:
        case dict():
            return _shortened_object(value, left)
        case list():
            return _shortened_list(value, left)
        case str():
            text = value if len(value) <= _MOST_SHOWN else f"{value[: _MOST_SHOWN - 3]}..."
            return text, left - len(text) - _AROUND
    return value, left - len(json.dumps(value)) - _AROUND


def _shortened_object(value: Mapping[str, Any], left: int) -> tuple[dict[str, Any], int]:
    shown: dict[str, Any] = {}
    for name, inner in value.items():
        if len(name) >= left:
            return {**shown, _and_more(len(value) - len(shown)): None}, 0
        shown[name], left = _shortened(inner, left - len(name) - _AROUND)
    return shown, left - _AROUND


def _shortened_list(value: Sequence[Any], left: int) -> tuple[list[Any], int]:
    shown: list[Any] = []
    for inner in value:
        if left <= 0:
            return [*shown, _and_more(len(value) - len(shown))], 0
        short, left = _shortened(inner, left)
        shown.append(short)
    return shown, left - _AROUND


def _and_more(left_out: int) -> str:
    return f"... and {left_out} more"


def decision_subject(execution_id: str, step: str) -> str:
    """Name a step for the decision that it waits for."""
    return f"{execution_id}/{step}"


def _listening(listen: Listen, step: Step, scope: Scope) -> Making:
    """Wait for an event. Whoever hears it writes it down and wakes the execution."""

    def act(work: Work, call: StepCall) -> TryEnd:
        event = listeners_repository.heard(work, call.execution_id, call.step)
        if event is not None:
            listeners_repository.remove(work, call.execution_id, call.step)
            return Done(event)
        left_s = _left_s(call, step.timeout_s)
        if left_s <= 0:
            listeners_repository.remove(work, call.execution_id, call.step)
            return TimedOut(f"no {listen.event} came within {step.timeout_s:g} s")
        listeners_repository.add(
            work,
            call.execution_id,
            call.step,
            event_type=listen.event,
            condition=listen.where,
            scope=_read_by(listen.where, scope),
        )
        return Waiting(f"it waits for {listen.event}", left_s)

    def undo(work: Work, call: StepCall) -> TryEnd:
        listeners_repository.remove(work, call.execution_id, call.step)
        return Done({})

    return Making(InHub(act), InHub(undo), retry=_UNTIL_IT_COMES, undo_resolves=True)


def _read_by(condition: str | None, scope: Scope) -> Document:
    """Select what a condition on an event reads besides the event."""
    names = {path[0] for path in conditions.paths_in(condition)} if condition is not None else set()
    return {name: value for name, value in scope.items() if name in names}
