"""What steps read and are given: each mapping and condition against what is there when the step runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from crossdock.integrations.actions.model import Action
from crossdock.integrations.json_schema import validator_of
from crossdock.workflows.declared import conditions, mappings
from crossdock.workflows.declared.calls import action_of, sound_params
from crossdock.workflows.declared.json_types import (
    ANY,
    Schema,
    array_of,
    field_of,
    fields_of,
    fits,
    in_words,
    inlined,
    item_of,
    object_of,
    types_of,
)
from crossdock.workflows.declared.mapping_types import type_of
from crossdock.workflows.declared.mappings import ExpressionInvalid
from crossdock.workflows.declared.model import (
    Assign,
    Block,
    Call,
    Called,
    Case,
    Decide,
    Fork,
    Listen,
    Loop,
    Rule,
    Step,
    Switch,
    Trigger,
    Workflow,
)
from crossdock.workflows.declared.ports import Catalog
from crossdock.workflows.declared.structure import Mistake

_TEXT: Schema = {"type": "string"}
#: What a handler sees of the step that did not succeed.
_ERROR = object_of({"step": _TEXT, "error": _TEXT, "message": _TEXT})


@dataclass(frozen=True)
class Scope:
    """What an expression may read at one place."""

    params: Schema
    #: What the steps before this one put out, by their ids.
    steps: Mapping[str, Schema] = field(default_factory=dict)
    #: What the step before put out.
    data: Schema = field(default_factory=dict)
    #: `event`, `error`, `output`, and the items of loops.
    more: Mapping[str, Schema] = field(default_factory=dict)

    @property
    def names(self) -> dict[str, Schema]:
        return {"params": self.params, "steps": object_of(self.steps), "data": self.data, **self.more}

    def after(self, step: Step, output: Schema) -> Scope:
        return replace(self, steps={**self.steps, step.id: output}, data=output)


class Dataflow:
    """Walks through the steps in their order, with what is there at each."""

    def __init__(self, workflow: Workflow, catalog: Catalog) -> None:
        self._workflow, self._catalog = workflow, catalog
        self._ids = {step.id for step in workflow.steps()}
        self._params = sound_params(workflow)
        self._found: list[Mistake] = []

    def check(self) -> list[Mistake]:
        """List the mistakes in all mappings and conditions."""
        params = object_of(self._params)
        for trigger in self._workflow.triggers:
            self._trigger(trigger)
        start = Scope(params=params, data=params)
        end = self._block(self._workflow.block, start)
        for block in self._workflow.handlers.values():
            # Which step failed is not known before: a handler may read what each of them put out.
            self._block(block, replace(end, data=_ERROR, more={"error": _ERROR}))
        return self._found

    def _trigger(self, trigger: Trigger) -> None:
        data = self._catalog.event_types().get(trigger.event or "", ANY)
        event = _event(data) if trigger.event else object_of({"id": _TEXT, "time": _TEXT, "data": ANY})
        names = {"event": event}
        if trigger.where is not None:
            self._condition(trigger.where, f"{trigger.at}/where", names, Rule.FILTER_FIELD)
        for name, mapping in trigger.given.items():
            at = f"{trigger.at}/with/{name}"
            if name not in self._workflow.params:
                known = ", ".join(self._workflow.params) or "none"
                self._add(Rule.UNDECLARED_PARAM, at, f"{name} is not declared in params ({known})")
            else:
                self._argument(mapping, self._params[name], at, names)
        for name, declared in self._workflow.params.items():
            if isinstance(declared, Mapping) and "default" not in declared and name not in trigger.given:
                message = f"{name} has no default: the trigger has to give it in `with`"
                self._add(Rule.MISSING_ARGUMENT, trigger.at, message)

    def _block(self, block: Block, scope: Scope) -> Scope:
        for step in block.steps:
            scope = self._step(step, scope)
        return scope

    def _step(self, step: Step, scope: Scope) -> Scope:
        if step.condition is not None:
            self._condition(step.condition, f"{step.at}/if", scope.names)
        match step.does:
            case Switch(cases):
                return self._switch(cases, scope).after(step, ANY)
            case Fork(branches):
                # A branch does not see what the others do; afterwards all is there.
                ends = [self._block(branch, scope) for branch in branches.values()]
                steps = {name: part for end in ends for name, part in end.steps.items()}
                output = object_of({name: end.data for name, end in zip(branches, ends, strict=True)})
                return replace(scope, steps={**scope.steps, **steps}).after(step, output)
        return scope.after(step, self._output(step, scope))

    def _switch(self, cases: Iterable[Case], scope: Scope) -> Scope:
        """Walk through the cases. Afterwards each of their steps may have run."""
        steps = dict(scope.steps)
        for case in cases:
            if case.when is not None:
                self._condition(case.when, f"{case.at}/when", scope.names)
            steps |= self._block(case.block, scope).steps
        return replace(scope, steps=steps)

    def _output(self, step: Step, scope: Scope) -> Schema:
        """Check a step that has no lists of steps but that of a loop; give the schema of what it puts out."""
        match step.does:
            case Call() as call:
                return self._call(step, call, scope)
            case Loop() as loop:
                return self._loop(step, loop, scope)
            case Assign(values):
                self._expressions(values, f"{step.at}/set")
                return self._typed(values, f"{step.at}/set", scope.names)
            case Listen(event=event, where=where):
                output = _event(self._catalog.event_types().get(event, ANY))
                if where is not None:
                    names = {**scope.names, "event": output}
                    self._condition(where, f"{step.at}/listen/where", names, Rule.FILTER_FIELD)
                return output
            case Decide(options=options, shows=shows):
                self._expressions(shows, f"{step.at}/decide/shows")
                self._typed(shows, f"{step.at}/decide/shows", scope.names)
                return object_of({"option": {"enum": list(options)}, "decided_by": _TEXT})
        return ANY

    def _call(self, step: Step, call: Call, scope: Scope) -> Schema:
        action = action_of(self._workflow, call.called, self._catalog)
        self._arguments(call.called, action, scope.names)
        output = inlined(action.output) if action is not None else ANY
        if call.key is not None:
            self._expressions(call.key, f"{step.at}/key")
            self._typed(call.key, f"{step.at}/key", scope.names)
        if call.undo is not None:
            undo = action_of(self._workflow, call.undo, self._catalog)
            self._arguments(call.undo, undo, {**scope.names, "output": output})
        return output

    def _loop(self, step: Step, loop: Loop, scope: Scope) -> Schema:
        at = f"{step.at}/for/in"
        self._expressions(loop.items, at)
        items = self._typed(loop.items, at, scope.names)
        item = item_of(items)
        if item is None:
            self._add(Rule.MAPPING_TYPE, at, f"must be a list; it is {in_words(items)}")
        if loop.each in scope.names:
            self._add(
                Rule.DUPLICATE_ID, f"{step.at}/for/each", f"{loop.each} has a meaning already; choose another name"
            )
        inner = replace(scope, more={**scope.more, loop.each: item or ANY}, data=item or ANY)
        return array_of(self._block(loop.block, inner).data)

    def _arguments(self, called: Called, action: Action | None, names: Mapping[str, Schema]) -> None:
        """Compare what a step gives with what its action takes."""
        at = f"{called.at}/with"
        if action is None:
            self._expressions(called.given, at)
            self._typed(called.given, at, names)
            return
        wanted = inlined(action.input)
        known = wanted.get("properties", {})
        for name in wanted.get("required", ()):
            if name not in called.given:
                self._add(
                    Rule.MISSING_ARGUMENT,
                    at,
                    f"{name} is missing: {called.action} needs it, {in_words(known.get(name, ANY))}",
                )
        for name, mapping in called.given.items():
            if name not in known and wanted.get("additionalProperties") is False:
                self._expressions(mapping, f"{at}/{name}")
                message = f"{called.action} takes no {name}; it takes {', '.join(known)}"
                self._add(Rule.EXTRA_ARGUMENT, f"{at}/{name}", message)
            else:
                self._argument(mapping, known.get(name, ANY), f"{at}/{name}", names)

    def _argument(self, mapping: object, wanted: Schema, at: str, names: Mapping[str, Schema]) -> None:
        self._expressions(mapping, at)
        given = self._typed(mapping, at, names)
        if not fits(given, wanted):
            # A text is an expression: one that is wrong is a mistake of the mapping, a value of the argument.
            rule = Rule.MAPPING_TYPE if isinstance(mapping, str) and "const" not in given else Rule.ARGUMENT_TYPE
            self._add(rule, at, f"must be {in_words(wanted)}; it is {in_words(given)}")
        elif "const" in given and not validator_of(wanted).is_valid(given["const"]):
            rules = {name: rule for name, rule in wanted.items() if name not in ("description", "title", "examples")}
            self._add(Rule.ARGUMENT_TYPE, at, f"does not fit the action's schema: {mappings.shown(rules)}")

    def _expressions(self, mapping: object, at: str) -> None:
        """Report texts that are not expressions."""
        for place, text in mappings.expressions_in(mapping, at):
            try:
                mappings.compiled(text)
            except ExpressionInvalid as error:
                self._add(Rule.EXPRESSION, place, str(error))

    def _typed(self, mapping: object, at: str, names: Mapping[str, Schema]) -> Schema:
        """Infer what a mapping puts out; report what it reads and is not there."""
        if isinstance(mapping, dict):
            return object_of({name: self._typed(part, f"{at}/{name}", names) for name, part in mapping.items()})

        def report(path: str, message: str) -> None:
            self._add(*self._missing(path, message, at, Rule.MAPPING_FIELD))

        return type_of(mapping, object_of(names), report)

    def _condition(self, text: str, at: str, names: Mapping[str, Schema], rule: Rule = Rule.MAPPING_FIELD) -> None:
        try:
            result = conditions.result_type(text, tuple(sorted(names)))
        except ExpressionInvalid as error:
            self._add(Rule.EXPRESSION, at, str(error))
            return
        paths = conditions.paths_in(text)
        schemas = [self._path(path, at, names, rule) for path in paths]
        if result == "DYN" and len(paths) == 1 and ".".join(paths[0]) == text.strip():
            types = types_of(schemas[0])
            result = "BOOL" if types is None or "boolean" in types else in_words(schemas[0])
        if result not in ("BOOL", "DYN"):
            self._add(Rule.NOT_BOOLEAN, at, f"must be true or false; it is {result.lower()}. Compare it with something")

    def _path(self, path: tuple[str, ...], at: str, names: Mapping[str, Schema], rule: Rule) -> Schema:
        schema: Schema = object_of(names)
        for number, name in enumerate(path):
            found = field_of(schema, name)
            if found is None:
                before = ".".join(path[:number])
                known = ", ".join(fields_of(schema)) or in_words(schema)
                self._add(
                    *self._missing(
                        ".".join(path[: number + 1]), f"{before}.{name} does not exist; {before} has {known}", at, rule
                    )
                )
                return ANY
            schema = found
        return schema

    def _missing(self, path: str, message: str, at: str, rule: Rule) -> Mistake:
        """Name the mistake by what the path begins with."""
        root, _, rest = path.partition(".")
        name = rest.partition(".")[0]
        if root == "params" and name == rest and name not in self._workflow.params:
            return (
                Rule.UNDECLARED_PARAM,
                at,
                f"{name} is not declared in params ({', '.join(self._workflow.params) or 'none'})",
            )
        if root == "steps" and name == rest:
            why = (
                "has not run at this point, or ran inside a loop or another branch"
                if name in self._ids
                else "does not exist"
            )
            return Rule.UNKNOWN_STEP, at, f"the step {name} {why}"
        return rule, at, message

    def _add(self, rule: Rule, at: str, message: str) -> None:
        self._found.append((rule, at, message))


def _event(data: Schema) -> Schema:
    names = ("id", "type", "source", "subject", "time")
    return object_of({**dict.fromkeys(names, _TEXT), "data": inlined(data)})


def check(workflow: Workflow, catalog: Catalog) -> Iterator[Mistake]:
    """Yield the mistakes in what steps and triggers read and are given."""
    yield from Dataflow(workflow, catalog).check()
