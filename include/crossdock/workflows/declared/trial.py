"""
A test run of a workflow: all its steps, against given answers or samples, with no effect outside.

Nothing is called. Time is a number that waits add to, so that retries, time-outs and days of waiting take none. What a step
would send is checked against the schema of its action, as it is when it runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from crossdock.integrations.actions.model import Action, ActionKind
from crossdock.integrations.json_schema import errors_in
from crossdock.workflows.declared import conditions, mappings
from crossdock.workflows.declared.answers import Answer, Status
from crossdock.workflows.declared.calls import action_of
from crossdock.workflows.declared.inputs import sent
from crossdock.workflows.declared.json_types import inlined
from crossdock.workflows.declared.mappings import ExpressionInvalid
from crossdock.workflows.declared.model import (
    END,
    Assign,
    Block,
    Call,
    Called,
    Cancel,
    Case,
    Decide,
    Fork,
    Listen,
    Loop,
    Raise,
    Step,
    Switch,
    Wait,
    Workflow,
)
from crossdock.workflows.declared.ports import Catalog
from crossdock.workflows.declared.samples import answer_of, example_of
from crossdock.workflows.declared.trial_model import Evaluated, StepState, Trial, TrialState, TrialStep, Tried

#: Of one test run: loops in loops could have a million.
MOST_TRIES = 5_000
#: Of all values of its expressions.
MOST_SHOWN = 5_000_000
_LONGEST_WAIT_S = 300.0


class _Failed(Exception):
    """A step did not succeed."""

    def __init__(self, kind: str, message: str, step: str) -> None:
        self.kind, self.message, self.step = kind, message, step
        super().__init__(message)


class _Cancelled(Exception):
    """The workflow cancels itself."""


def run(
    workflow: Workflow, catalog: Catalog, params: Mapping[str, Any], answers: Mapping[str, Sequence[Answer]]
) -> Trial:
    """Run a valid workflow. Params that are not given are their defaults, or samples."""
    filled = {
        name: params.get(name, declared.get("default", example_of(declared)))
        for name, declared in workflow.params.items()
    }
    return _Run(workflow, catalog, filled, answers).run()


@dataclass
class _Made:
    """What a step has done so far."""

    began_at_s: float
    input: Any = None
    tries: list[Tried] = field(default_factory=list)
    expressions: list[Evaluated] = field(default_factory=list)


Scope = dict[str, Any]


class _Run:
    def __init__(
        self, workflow: Workflow, catalog: Catalog, params: Mapping[str, Any], answers: Mapping[str, Sequence[Answer]]
    ) -> None:
        self._workflow, self._catalog, self._params = workflow, catalog, params
        self._left: dict[str, Iterator[Answer]] = {name: iter(given) for name, given in answers.items()}
        self._steps: list[TrialStep] = []
        #: Calls that are done and can be undone, with what they could read.
        self._done: list[tuple[Step, Called, Scope]] = []
        self._now_s, self._tries, self._shown, self._is_past_pivot = 0.0, 0, 0, False

    def run(self) -> Trial:
        state, message = TrialState.COMPLETED, None
        try:
            self._block(self._workflow.block, {"params": dict(self._params), "steps": {}, "data": dict(self._params)})
        except _Failed as failed:
            state, message = TrialState.FAILED, f"{failed.step}: {failed.message}"
            if not self._is_past_pivot and failed.kind != Status.UNKNOWN:
                self._undo()
        except _Cancelled as cancelled:
            state, message = TrialState.CANCELLED, str(cancelled)
            self._undo()
        return Trial(state, message, self._params, tuple(self._steps), self._now_s)

    def _block(self, block: Block, scope: Scope) -> Scope:
        """Run the steps of a list; give what can be read after it."""
        places = {step.id: number for number, step in enumerate(block.steps)}
        number = 0
        while number < len(block.steps):
            step = block.steps[number]
            was_run, output, scope = self._step(step, scope)
            scope = {
                **scope,
                "steps": {**scope["steps"], step.id: output},
                "data": output if was_run else scope["data"],
            }
            if was_run and step.then == END:
                break
            number = places[step.then] if was_run and step.then is not None else number + 1
        return scope

    def _step(self, step: Step, scope: Scope) -> tuple[bool, Any, Scope]:
        """Run one step, or skip it; give its output, and the scope with what steps inside it put out."""
        made = _Made(self._now_s)
        try:
            self._refuse_late(step)
            if step.condition is not None and not self._is_true(step.condition, f"{step.at}/if", scope, made, step):
                self._record(step, StepState.SKIPPED, made)
                return False, None, scope
            output, scope = self._does(step, scope, made)
        except _Cancelled as cancelled:
            self._record(step, StepState.SUCCESS, made, message=str(cancelled))
            raise
        except _Failed as failed:
            return True, None, self._failed(step, failed, scope, made)
        self._record(step, StepState.SUCCESS, made, output)
        return True, output, scope

    def _failed(self, step: Step, failed: _Failed, scope: Scope, made: _Made) -> Scope:
        """Run the step's handler, if it has one for this error."""
        catch = step.catch
        is_caught = catch is not None and (
            failed.kind in catch.errors if catch.errors else failed.kind != Status.UNKNOWN
        )
        is_stuck = self._is_past_pivot or failed.kind == Status.UNKNOWN
        state = StepState.PERMANENTLY_FAILED if is_stuck and not is_caught else StepState.FAILED
        self._record(step, state, made, message=failed.message)
        if catch is None or not is_caught:
            raise failed
        error = {"step": step.id, "error": failed.kind, "message": failed.message}
        self._block(self._workflow.handlers[catch.handler], {**scope, "data": error, "error": error})
        return scope

    def _does(self, step: Step, scope: Scope, made: _Made) -> tuple[Any, Scope]:
        match step.does:
            case Switch(cases):
                return self._switch(step, cases, scope, made)
            case Fork() as fork:
                return self._fork(fork, scope)
        return self._output(step, scope, made), scope

    def _output(self, step: Step, scope: Scope, made: _Made) -> Any:
        match step.does:
            case Loop() as loop:
                return self._loop(step, loop, scope, made)
            case Call() as call:
                return self._call(step, call, scope, made)
            case Assign(values):
                return self._mapped(values, f"{step.at}/set", scope, made, step)
            case Raise(message):
                raise _Failed("raised", message, step.id)
            case Cancel(message):
                if self._is_past_pivot:
                    raise _Failed(Status.REFUSED, message, step.id)
                raise _Cancelled(message)
            case Wait(seconds):
                self._now_s += seconds
            case Listen() | Decide():
                return self._waited(step, scope, made)
        return None

    def _switch(self, step: Step, cases: Sequence[Case], scope: Scope, made: _Made) -> tuple[Any, Scope]:
        for case in cases:
            if case.when is None or self._is_true(case.when, f"{case.at}/when", scope, made, step):
                after = self._block(case.block, scope)
                return after["data"], {**scope, "steps": after["steps"]}
        return None, scope

    def _fork(self, fork: Fork, scope: Scope) -> tuple[Any, Scope]:
        """Run the branches one after the other, each from the same time on."""
        began_s, ended_s, steps, outputs = self._now_s, self._now_s, dict(scope["steps"]), {}
        for name, block in fork.branches.items():
            self._now_s = began_s
            after = self._block(block, scope)
            if fork.join is None or name in fork.join:
                # What the others put out is not read: it may come at any time.
                steps |= after["steps"]
                outputs[name] = after["data"]
                ended_s = max(ended_s, self._now_s)
        self._now_s = ended_s
        return outputs, {**scope, "steps": steps}

    def _loop(self, step: Step, loop: Loop, scope: Scope, made: _Made) -> list[Any]:
        items = self._evaluated(loop.items, f"{step.at}/for/in", scope, made, step)
        if not isinstance(items, list):
            raise _Failed(Status.REFUSED, f"{loop.items} is not a list", step.id)
        if len(items) > (loop.at_most or 0):
            raise _Failed(Status.REFUSED, f"there are {len(items)} items; at_most is {loop.at_most}", step.id)
        return [self._block(loop.block, {**scope, loop.each: item, "data": item})["data"] for item in items]

    def _call(self, step: Step, call: Call, scope: Scope, made: _Made) -> Any:
        """Try until it is done, as often as its retries say."""
        action, request = self._request(step, call.called, call.key, scope, made)
        retry = call.retry
        while True:
            answer = self._answer(step, action, request["input"], made, request)
            if answer.status is Status.DONE:
                break
            if answer.status not in retry.errors or len(made.tries) > retry.limit:
                tried = f" (tried {len(made.tries)} times)" if len(made.tries) > 1 else ""
                raise _Failed(answer.status, f"{answer.message or answer.status}{tried}", step.id)
            factor = 2.0 ** (len(made.tries) - 1) if retry.exponential else 1.0
            self._now_s += min(retry.delay_s * factor, max(_LONGEST_WAIT_S, retry.delay_s))
        if call.undo is not None:
            self._done.append((step, call.undo, {**scope, "output": answer.output}))
        self._is_past_pivot = self._is_past_pivot or call.pivot
        return answer.output

    def _request(
        self, step: Step, called: Called, key: str | None, scope: Scope, made: _Made
    ) -> tuple[Action, dict[str, Any]]:
        """Fill the input of a call, and check it against the schema of its action."""
        action = action_of(self._workflow, called, self._catalog)
        if action is None:
            raise _Failed(Status.REFUSED, f"there is no action {called.action}", step.id)
        given = sent(action, self._mapped(called.given, f"{called.at}/with", scope, made, step))
        made.input = given
        if wrong := list(errors_in(action.input, given, "/with")):
            where = "; ".join(f"{error.pointer} {error.message}" for error in wrong)
            raise _Failed(Status.REFUSED, f"the input of {called.action} is not valid: {where}", step.id)
        named = self._evaluated(key, f"{step.at}/key", scope, made, step) if key is not None else None
        return action, {"integration": called.integration, "action": called.action, "input": given, "key": named}

    def _answer(self, step: Step, action: Action, given: Any, made: _Made, request: Mapping[str, Any]) -> Answer:
        """Take the next given answer, or a sample."""
        self._count(step)
        began_s = self._now_s
        answer = next(self._left.get(step.id, iter(())), None) or Answer()
        if answer.status is Status.DONE and answer.output is None:
            answer = replace(answer, output=answer_of(action, given), is_sample=True)
        if step.timeout_s is not None and answer.delay_s > step.timeout_s:
            # Who does not wait for the answer to a write does not know what became of it.
            late = Status.UNKNOWN if action.kind is ActionKind.WRITE else Status.TIMEOUT
            answer = Answer(late, None, f"no answer within {step.timeout_s:g} s", step.timeout_s)
        self._now_s += answer.delay_s
        made.tries.append(Tried(began_s, request, answer))
        return answer

    def _waited(self, step: Step, scope: Scope, made: _Made) -> Any:
        """Wait for an event or a person, up to the timeout."""
        self._count(step)
        answer = next(self._left.get(step.id, iter(())), None) or Answer(is_sample=True)
        limit_s = step.timeout_s or 0.0
        if isinstance(step.does, Decide) and step.does.shows:
            made.input = self._mapped(step.does.shows, f"{step.at}/decide/shows", scope, made, step)
        made.tries.append(Tried(self._now_s, None, answer))
        output = answer.output if answer.output is not None else self._awaited(step)
        is_late = answer.status is not Status.DONE or answer.delay_s > limit_s
        if not is_late and isinstance(step.does, Listen) and step.does.where is not None:
            is_late = not self._is_true(
                step.does.where, f"{step.at}/listen/where", {**scope, "event": output}, made, step
            )
        self._now_s += limit_s if is_late else answer.delay_s
        if is_late and isinstance(step.does, Decide) and step.does.default is not None:
            return {"option": step.does.default, "decided_by": "default"}
        if is_late:
            raise _Failed(Status.TIMEOUT, f"nothing came within {limit_s:g} s", step.id)
        return output

    def _awaited(self, step: Step) -> Any:
        """Make what a step waits for."""
        if isinstance(step.does, Decide):
            return {"option": step.does.options[0], "decided_by": "sample"}
        name = step.does.event if isinstance(step.does, Listen) else ""
        data = example_of(inlined(self._catalog.event_types().get(name, {"type": "object"})))
        texts = {"id": "1-1", "type": name, "source": "sample", "subject": "sample-1", "time": "2026-11-21T09:30:00Z"}
        return {**texts, "data": data}

    def _undo(self) -> None:
        """Undo what is done, the last one first."""
        for step, undo, scope in reversed(self._done):
            made = _Made(self._now_s)
            try:
                action, request = self._request(step, undo, None, scope, made)
                answer = Answer(output=answer_of(action, request["input"]), is_sample=True)
                made.tries.append(Tried(self._now_s, request, answer))
                self._record(step, StepState.COMPENSATED, made, answer.output, is_undo=True)
            except _Failed as failed:
                self._record(step, StepState.PERMANENTLY_FAILED, made, message=failed.message, is_undo=True)

    def _refuse_late(self, step: Step) -> None:
        limit_s = self._workflow.timeout_s
        if limit_s is not None and not self._is_past_pivot and self._now_s > limit_s:
            raise _Failed(Status.TIMEOUT, f"the workflow's timeout of {limit_s:g} s is over", step.id)

    def _count(self, step: Step) -> None:
        self._tries += 1
        if self._tries > MOST_TRIES:
            raise _Failed(Status.REFUSED, f"a test run has {MOST_TRIES:,} tries at most", step.id)

    def _mapped(self, mapping: Any, at: str, scope: Scope, made: _Made, step: Step) -> Any:
        match mapping:
            case str():
                return self._evaluated(mapping, at, scope, made, step)
            case dict():
                return {name: self._mapped(part, f"{at}/{name}", scope, made, step) for name, part in mapping.items()}
            case list():
                return [self._mapped(part, f"{at}/{number}", scope, made, step) for number, part in enumerate(mapping)]
        return mapping

    def _evaluated(self, expression: str, at: str, scope: Scope, made: _Made, step: Step) -> Any:
        try:
            value = mappings.evaluate(expression, scope)
        except ExpressionInvalid as error:
            raise _Failed(Status.REFUSED, f"{at}: {error}", step.id) from None
        self._shown += mappings.size_of(value)
        if self._shown > MOST_SHOWN:
            raise _Failed(Status.REFUSED, f"a test run shows {MOST_SHOWN:,} characters at most", step.id)
        made.expressions.append(Evaluated(at, expression, value))
        return value

    def _is_true(self, condition: str, at: str, scope: Scope, made: _Made, step: Step) -> bool:
        try:
            value = conditions.is_true(condition, scope)
        except ExpressionInvalid as error:
            raise _Failed(Status.REFUSED, f"{at}: {error}", step.id) from None
        made.expressions.append(Evaluated(at, condition, value))
        return value

    def _record(
        self,
        step: Step,
        state: StepState,
        made: _Made,
        output: Any = None,
        message: str | None = None,
        *,
        is_undo: bool = False,
    ) -> None:
        self._steps.append(
            TrialStep(
                step=step.id,
                state=state,
                began_at_s=made.began_at_s,
                ended_at_s=self._now_s,
                input=made.input,
                output=output,
                message=message,
                is_undo=is_undo,
                tries=tuple(made.tries),
                expressions=tuple(made.expressions),
            )
        )
