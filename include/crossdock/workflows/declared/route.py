"""
The way of an execution through a declared workflow: its definition, read against how far its steps are.

With the same definition and the same progress it is the same way, so any process can go on. Only while one caller moves an
execution, the items of its loops that are done are looked at once.
What a condition, a list or a case says is evaluated anew each time; all that could say something else the second time
(calls, waits, answers of people) is a step of the engine, whose output is read from its progress.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from crossdock.core.errors import BadRequest
from crossdock.integrations.actions.model import Document
from crossdock.workflows.declared import conditions, mappings
from crossdock.workflows.declared.effects import Effects, Making, name_of
from crossdock.workflows.declared.model import END, Block, Call, Cancel, Catch, Fork, Loop, Step, Switch, Workflow
from crossdock.workflows.machine import error_of, may_retry
from crossdock.workflows.model import (
    UNRESOLVED,
    Direction,
    Execution,
    Outside,
    Progress,
    Route,
    StepError,
    StepKind,
    StepProgress,
)
from crossdock.workflows.model import Step as EngineStep
from crossdock.workflows.model import StepState as Known

Scope = Mapping[str, Any]


class ShownState(StrEnum):
    """How far a step of a declared workflow is."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    #: Its handler ran, or the workflow is undone because of it.
    FAILED = "FAILED"
    #: Its retries are used up, and it is not undone by itself: a person has to decide.
    PERMANENTLY_FAILED = "PERMANENTLY_FAILED"
    SKIPPED = "SKIPPED"
    COMPENSATED = "COMPENSATED"


class Shown(NamedTuple):
    """How far a step is: one of a loop or a handler by a name of its own."""

    step: str
    name: str
    state: ShownState
    #: Of a step that the engine made.
    act: StepProgress | None = None
    undo: StepProgress | None = None


@dataclass(frozen=True)
class Way:
    """The route of the engine, and how far each step is."""

    route: Route
    shown: tuple[Shown, ...]
    #: Step → what it is given for its call and for its undo, of those that are made.
    inputs: Mapping[str, Any] = field(default_factory=dict)


class _Stopped(Exception):
    """The way goes no further for now: a step has not ended."""


class _Failed(Exception):
    """A step failed, and a handler takes it."""

    def __init__(self, error: StepError, message: str, step: str, at: datetime) -> None:
        self.error, self.message, self.step, self.at = error, message, step, at
        super().__init__(message)


class _Place(NamedTuple):
    """Where in its loops and handlers a step is made."""

    #: Of a step in a loop, the numbers of the items: `[0][2]`.
    items: str = ""
    #: Of a step of a handler, what it handles: `@authorise`.
    handles: str = ""

    def name(self, step: str, key: str | None = None) -> str:
        # A key takes the place of the item's number: that changes when the list does.
        items = self.items if key is None else f"{self.items.rpartition('[')[0]}[{key}]"
        return f"{step}{items}{self.handles}"


def step_of(name: str) -> str:
    """Read which step of the definition a step of the engine is: `write[3]@check` is `write`."""
    return name.partition("@")[0].partition("[")[0]


def way_of(
    workflow: Workflow,
    effects: Effects,
    execution: Execution,
    progress: Progress,
    *,
    with_inputs: bool = False,
    finished: FinishedItems | None = None,
) -> Way:
    """
    Find how far an execution is, and what comes next.

    Args:
        workflow: The version that it keeps.
        effects: Makes its steps.
        execution: The execution.
        progress: How far its steps are.
        with_inputs: Also find what its steps are given.
        finished: The items of its loops that need no second look. With it, their steps are not among those shown.

    """
    walk = _Walk(workflow, effects, progress, with_inputs=with_inputs, finished=finished)
    params = dict(execution.input)
    with suppress(_Stopped):
        walk.block(workflow.block, {"params": params, "steps": {}, "data": params}, _Place())
    route = Route(tuple(walk.reached), tuple(walk.open), walk.cancelled)
    # Where it is cancelled, what it is inside of goes no further, nor do the branches beside it.
    shown = walk.shown if walk.cancelled is None else map(_held, walk.shown)
    return Way(route, tuple(shown), walk.inputs)


class FinishedItem(NamedTuple):
    """An item of a loop whose steps are all done: what is done stays done."""

    #: What it put out.
    data: Any
    reached: tuple[EngineStep, ...]


#: By the name of the loop with its number: `each[3]`. Without them, each step of a long loop looked at all the steps before it.
FinishedItems = dict[str, FinishedItem]


class _Walk:
    def __init__(
        self,
        workflow: Workflow,
        effects: Effects,
        progress: Progress,
        *,
        with_inputs: bool,
        finished: FinishedItems | None,
    ) -> None:
        self._workflow, self._effects, self._progress = workflow, effects, progress
        self._with_inputs, self._finished = with_inputs, finished
        self.inputs: dict[str, Any] = {}
        self.reached: list[EngineStep] = []
        self.open: list[EngineStep] = []
        self.shown: list[Shown] = []
        #: The message of the `cancel` that was reached.
        self.cancelled: str | None = None
        self._catches: list[Catch] = []
        pivots = {step.id for step in workflow.steps() if isinstance(step.does, Call) and step.does.pivot}
        # From the progress, not from the way: a branch that nothing waits for may be older than the pivot.
        self._is_past_pivot = bool(pivots) and any(
            row.state is Known.DONE and direction is Direction.ACT and step_of(name) in pivots
            for (name, direction), row in progress.items()
        )

    def block(self, block: Block, scope: Scope, place: _Place) -> Scope:
        """Go through the steps of a list; give what can be read after it."""
        places = {step.id: number for number, step in enumerate(block.steps)}
        number = 0
        while number < len(block.steps):
            step = block.steps[number]
            was_run, output, scope = self._step(step, scope, place)
            scope = {
                **scope,
                "steps": {**scope["steps"], step.id: output},
                "data": output if was_run else scope["data"],
            }
            if was_run and step.then == END:
                break
            number = places[step.then] if was_run and step.then is not None else number + 1
        return scope

    def _step(self, step: Step, scope: Scope, place: _Place) -> tuple[bool, Any, Scope]:
        """Go through one step, or skip it; give its output, and the scope with what the steps inside it put out."""
        try:
            with self._caught(step.catch):
                if step.condition is not None and not self._is_true(step, step.condition, scope, place):
                    self._show(step, place, ShownState.SKIPPED)
                    return False, None, scope
                output, scope = self._does(step, scope, place)
        except _Failed as failed:
            if step.catch is None or not _takes(step.catch, failed.error):
                raise
            error = {"step": failed.step, "error": failed.error, "message": failed.message}
            handler = self._workflow.handlers[step.catch.handler]
            inside = place._replace(handles=f"@{place.name(step.id)}")
            self.block(handler, {**scope, "data": error, "error": error}, inside)
            return True, None, scope
        return True, output, scope

    @contextmanager
    def _caught(self, catch: Catch | None) -> Iterator[None]:
        """Know of a handler while the step it belongs to is made; it does not handle its own failures."""
        if catch is None:
            yield
            return
        self._catches.append(catch)
        try:
            yield
        finally:
            self._catches.pop()

    def _does(self, step: Step, scope: Scope, place: _Place) -> tuple[Any, Scope]:
        match step.does:
            case Switch():
                return self._switch(step, step.does, scope, place)
            case Fork():
                return self._fork(step, step.does, scope, place)
            case Loop():
                return self._loop(step, step.does, scope, place), scope
        return self._made(step, scope, place), scope

    def _switch(self, step: Step, switch: Switch, scope: Scope, place: _Place) -> tuple[Any, Scope]:
        with self._shown_around(step, place):
            for case in switch.cases:
                if case.when is None or self._is_true(step, case.when, scope, place):
                    after = self.block(case.block, scope, place)
                    return after["data"], {**scope, "steps": after["steps"]}
            return None, scope

    def _fork(self, step: Step, fork: Fork, scope: Scope, place: _Place) -> tuple[Any, Scope]:
        """Go through all branches; wait for those that are joined. What others put out is not read: it may come at any time."""
        before = len(self.open)
        steps, outputs = dict(scope["steps"]), {}
        failed: list[_Failed] = []
        is_waiting = False
        with self._shown_around(step, place):
            for name, block in fork.branches.items():
                is_joined = fork.join is None or name in fork.join
                try:
                    # The failure of a branch that nothing waits for may come when what follows is done: no handler takes it.
                    with nullcontext() if is_joined else self._uncaught():
                        after = self.block(block, scope, place)
                except _Stopped:
                    is_waiting = is_waiting or is_joined
                except _Failed as error:
                    failed.append(error)
                else:
                    if is_joined:
                        steps |= after["steps"]
                        outputs[name] = after["data"]
            if failed:
                # What the other branches began ends; nothing new of them begins. Later failures change nothing.
                self.open[before:] = [found for found in self.open[before:] if self._is_at_work(found)]
                raise min(failed, key=lambda each: each.at)
            if is_waiting:
                raise _Stopped
        return outputs, {**scope, "steps": steps}

    @contextmanager
    def _uncaught(self) -> Iterator[None]:
        """Know of no handler while a branch is made."""
        catches, self._catches = self._catches, []
        try:
            yield
        finally:
            self._catches = catches

    def _loop(self, step: Step, loop: Loop, scope: Scope, place: _Place) -> list[Any]:
        with self._shown_around(step, place):
            items = self._items(step, loop, scope, place)
            return [
                self._item(
                    step,
                    loop,
                    {**scope, loop.each: item, "data": item},
                    place._replace(items=f"{place.items}[{number}]"),
                )
                for number, item in enumerate(items)
            ]

    def _item(self, step: Step, loop: Loop, scope: Scope, place: _Place) -> Any:
        """Go through the steps for one item, unless all of them are known to be done."""
        name = place.name(step.id)
        known = self._finished.get(name) if self._finished is not None else None
        if known is not None:
            self.reached += known.reached
            return known.data
        before = len(self.reached)
        data = self.block(loop.block, scope, place)["data"]
        reached = tuple(self.reached[before:])
        # One that failed and was handled may be retried, a branch that nothing waits for may go on, or have come to a `cancel`.
        if self._finished is not None and self.cancelled is None and all(self._is_done(each) for each in reached):
            self._finished[name] = FinishedItem(data, reached)
        return data

    def _items(self, step: Step, loop: Loop, scope: Scope, place: _Place) -> list[Any]:
        try:
            items = mappings.evaluate(loop.items, scope)
        except BadRequest as error:
            self._refuse(step, place, str(error))
            return []
        if isinstance(items, list) and len(items) <= (loop.at_most or 0):
            return items
        wrong = (
            f"there are {len(items)} items; at_most is {loop.at_most}"
            if isinstance(items, list)
            else "it is not a list"
        )
        self._refuse(step, place, f"{loop.items}: {wrong}")
        return []

    def _is_true(self, step: Step, condition: str, scope: Scope, place: _Place) -> bool:
        try:
            return conditions.is_true(condition, scope)
        except BadRequest as error:
            self._refuse(step, place, str(error))
            return False

    def _refuse(self, step: Step, place: _Place, message: str) -> None:
        """Have the engine record that a step cannot be made. If a person says that it is done, the way goes on without it."""
        self._engine_step(step, place.name(step.id), self._effects.refusal(message))

    def _made(self, step: Step, scope: Scope, place: _Place) -> Any:
        """Give the output of a step that the engine makes."""
        if isinstance(step.does, Cancel):
            self._cancel(step, step.does, place)
            return None
        name = place.name(step.id)
        if isinstance(step.does, Call) and step.does.key is not None:
            try:
                key = mappings.evaluate(step.does.key, scope)
            except BadRequest as error:
                self._refuse(step, place, str(error))
                return None
            name = place.name(step.id, name_of(key))
        if self._with_inputs:
            known = self._progress.get((name, Direction.ACT))
            self.inputs[name] = self._effects.given(
                self._workflow, step, scope, known.output if known is not None else None
            )
        return self._engine_step(step, name, self._effects.making(self._workflow, step, scope))

    def _cancel(self, step: Step, cancel: Cancel, place: _Place) -> None:
        """End the way as cancelled, once this step is done."""
        if self._is_past_pivot:
            self._refuse(step, place, f"{cancel.message} (it comes after the pivot: nothing is undone any more)")
            return
        self._engine_step(step, place.name(step.id), self._effects.cancellation())
        self.cancelled = cancel.message
        raise _Stopped

    def _engine_step(self, step: Step, name: str, making: Making) -> Document | None:
        is_pivot = isinstance(step.does, Call) and step.does.pivot
        before = StepKind.PIVOT if is_pivot else StepKind.COMPENSATABLE
        made = EngineStep(
            name=name,
            kind=StepKind.RETRIABLE if self._is_past_pivot else before,
            act=making.act,
            undo=making.undo,
            retry=making.retry,
            undo_retry=making.undo_retry,
            undo_resolves=making.undo_resolves,
        )
        self.reached.append(made)
        known = self._progress.get((name, Direction.ACT))
        if known is not None and known.state is Known.DONE:
            self._show_made(step, made, known)
            return known.output
        error = error_of(known) if known is not None else None
        if known is not None and error is not None and not may_retry(made, known) and self._is_caught(error):
            self._show_made(step, made, known, is_caught=True)
            raise _Failed(error, known.message or error, step.id, known.ended_at or known.began_at)
        self._show_made(step, made, known)
        self.open.append(made)
        raise _Stopped

    def _is_caught(self, error: StepError) -> bool:
        return any(_takes(catch, error) for catch in self._catches)

    def _is_done(self, step: EngineStep) -> bool:
        known = self._progress.get((step.name, Direction.ACT))
        return known is not None and known.state is Known.DONE

    def _is_at_work(self, step: EngineStep) -> bool:
        known = self._progress.get((step.name, Direction.ACT))
        return known is not None and known.state in UNRESOLVED

    @contextmanager
    def _shown_around(self, step: Step, place: _Place) -> Iterator[None]:
        """Show a step that has steps inside: it ends when they have ended."""
        number = len(self.shown)
        self._show(step, place, ShownState.RUNNING)
        try:
            yield
        except _Failed:
            self.shown[number] = self.shown[number]._replace(state=ShownState.FAILED)
            raise
        if self.shown[number].state is ShownState.RUNNING:
            self.shown[number] = self.shown[number]._replace(state=ShownState.SUCCESS)

    def _show(self, step: Step, place: _Place, state: ShownState) -> None:
        self.shown.append(Shown(step.id, place.name(step.id), state))

    def _show_made(self, step: Step, made: EngineStep, act: StepProgress | None, *, is_caught: bool = False) -> None:
        undo = self._progress.get((made.name, Direction.UNDO))
        self.shown.append(Shown(step.id, made.name, _state_of(made, act, undo, is_caught=is_caught), act, undo))


def _held(step: Shown) -> Shown:
    """Show a step that only has steps inside, and is not left, as one that has ended."""
    only_holds = step.state is ShownState.RUNNING and step.act is None
    return step._replace(state=ShownState.SUCCESS) if only_holds else step


def _takes(catch: Catch, error: StepError) -> bool:
    """Whether a handler takes a failure; one of unknown outcome only if it says so."""
    return error in catch.errors if catch.errors else error is not StepError.UNKNOWN


def _state_of(made: EngineStep, act: StepProgress | None, undo: StepProgress | None, *, is_caught: bool) -> ShownState:
    if undo is not None and error_of(undo) is not None and not may_retry(made, undo):
        return ShownState.PERMANENTLY_FAILED
    is_undone = undo is not None and undo.state is Known.DONE
    if is_undone and isinstance(made.act, Outside):
        return ShownState.COMPENSATED
    if act is None:
        return ShownState.PENDING
    if act.state is Known.DONE:
        return ShownState.SUCCESS
    if error_of(act) is None or may_retry(made, act):
        # What was only waited for is not undone: the wait was given up.
        return ShownState.SKIPPED if is_undone else ShownState.RUNNING
    is_stuck = made.kind is StepKind.RETRIABLE or act.state is Known.UNKNOWN
    return ShownState.PERMANENTLY_FAILED if is_stuck and not is_caught else ShownState.FAILED
