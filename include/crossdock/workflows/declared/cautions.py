"""What a valid definition may have and probably does not mean: `validate` warns of it, and refuses nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from crossdock.integrations.actions.model import ActionKind
from crossdock.workflows.declared import mappings
from crossdock.workflows.declared.calls import action_of
from crossdock.workflows.declared.model import (
    END,
    Assign,
    Block,
    Call,
    Called,
    Cancel,
    Caution,
    Decide,
    Fork,
    Listen,
    Loop,
    Raise,
    Step,
    Switch,
    Workflow,
)
from crossdock.workflows.declared.ports import Catalog

#: A caution, the place, and what happens there.
Warned = tuple[Caution, str, str]
#: The steps that have certainly run at a place; None for a place that nothing reaches.
_Sure = frozenset[str] | None

_READ = re.compile(r"(?<![\w.])steps\.([a-z]\w*)")
#: An expression that looks whether there is something before it reads it.
_LOOKED_AT = re.compile(r"(?<![\w.])steps\.([a-z]\w*)\s*[!=]=\s*null|has\(\s*steps\.([a-z]\w*)")
_IS_THERE = re.compile(r"(?<![\w.])steps\.([a-z]\w*)\s*!=\s*null|(?<!!)has\(\s*steps\.([a-z]\w*)")
_IS_NULL = re.compile(r"(?<![\w.])steps\.([a-z]\w*)\s*==\s*null")


def check(workflow: Workflow, catalog: Catalog) -> Iterator[Warned]:
    """Yield the cautions of a workflow in which nothing is wrong."""
    yield from _Reads(workflow).check()
    yield from _lasting(workflow, catalog)


class _Reads:
    """Follows the ways through each list of steps, with the steps that have certainly run, and finds reads of others."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._steps = {step.id: step for step in workflow.steps()}
        self._why = dict(_reasons(workflow.block))
        self._found: list[Warned] = []

    def check(self) -> list[Warned]:
        """List the reads of steps that may be skipped."""
        self._block(self._workflow.block, frozenset())
        for block in self._workflow.handlers.values():
            # Which step failed is not known before: a handler has to look what is there anyway.
            outside = frozenset(self._steps) - {step.id for step in block.steps}
            self._block(block, outside)
        return self._found

    def _block(self, block: Block, sure: frozenset[str]) -> _Sure:
        """Give what has certainly run at the end of a list."""
        places = {step.id: number for number, step in enumerate(block.steps)} | {END: len(block.steps)}
        entries: dict[int, frozenset[str]] = {0: sure}

        def leads_to(place: int, known: frozenset[str]) -> None:
            entries[place] = entries[place] & known if place in entries else known

        for number, step in enumerate(block.steps):
            if (here := entries.get(number)) is None:
                continue
            after = self._step(step, here)
            if after is not None and not isinstance(step.does, Raise | Cancel):
                leads_to(places.get(step.then or "", number + 1), after | {step.id})
            if step.condition is not None:
                # A way that does not end at `if: steps.a == null` is one on which it is there.
                ends = isinstance(step.does, Raise | Cancel) or step.then is not None
                leads_to(number + 1, here | (_there_unless(step.condition) if ends else frozenset()))
        return entries.get(len(block.steps))

    def _step(self, step: Step, here: frozenset[str]) -> _Sure:
        """Look at what a step reads, and at the steps inside it; give what has certainly run after them."""
        if step.condition is not None:
            self._text(step.condition, f"{step.at}/if", here)
            # Also what has the same condition: it has run if this does.
            alike = {each.id for each in self._steps.values() if each.condition == step.condition}
            here = here | _ids(_IS_THERE, step.condition) | alike
        for place, text in _mappings(step):
            self._mapping(text, place, here)
        match step.does:
            case Listen(where=where) if where is not None:
                self._text(where, f"{step.at}/listen/where", here)
            case Switch():
                return self._switch(step.does, here)
            case Fork(branches, join):
                ends = {name: self._block(branch, here) for name, branch in branches.items()}
                joined = [end for name, end in ends.items() if join is None or name in join]
                return None if None in joined else here.union(*(end for end in joined if end is not None))
            case Loop(block=inside):
                self._block(inside, here)
        return here

    def _switch(self, switch: Switch, here: frozenset[str]) -> _Sure:
        ends: list[_Sure] = []
        for case in switch.cases:
            if case.when is not None:
                self._text(case.when, f"{case.at}/when", here)
            ends.append(self._block(case.block, here | (_ids(_IS_THERE, case.when) if case.when else frozenset())))
        if all(case.when is not None for case in switch.cases):
            ends.append(here)
        left = [end for end in ends if end is not None]
        return frozenset.intersection(*left) if left else None

    def _mapping(self, text: str, at: str, here: frozenset[str]) -> None:
        # These say what counts where there is nothing.
        if "||" not in text and "not_null(" not in text:
            self._text(text, at, here)

    def _text(self, text: str, at: str, here: frozenset[str]) -> None:
        looked_at = _ids(_LOOKED_AT, text)
        for name in dict.fromkeys(_READ.findall(text)):
            if name in self._steps and name not in here and name not in looked_at:
                why = self._why.get(name, "a step before it may lead past it")
                message = f"{name} may be skipped ({why}): this reads null then"
                self._found.append((Caution.MAY_BE_NULL, at, message))


def _ids(pattern: re.Pattern[str], text: str) -> frozenset[str]:
    return frozenset(name for found in pattern.finditer(text) for name in found.groups() if name)


def _there_unless(condition: str) -> frozenset[str]:
    """Name the steps that have certainly run where *condition* is false."""
    return _ids(_IS_NULL, condition) if "&&" not in condition else frozenset()


def _reasons(block: Block) -> Iterator[tuple[str, str]]:
    """Say of steps why they may be skipped."""
    for step in block.steps:
        inside: Mapping[str, str] = {}
        match step.does:
            case Switch(cases):
                for case in cases:
                    inside = {**inside, **{each.id: f"it is in a case of {step.id}" for each in case.block.steps}}
            case Fork(branches, join) if join is not None:
                for name, branch in branches.items():
                    if name not in join:
                        inside = {**inside, **{each.id: "no step waits for its branch" for each in branch.steps}}
        yield from inside.items()
        for inner in step.blocks:
            yield from _reasons(inner)
        if step.condition is not None:
            yield step.id, "it has a condition"


def _mappings(step: Step) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each mapping of a step."""
    match step.does:
        case Call(called=called, key=key, undo=undo):
            yield from _of_call(called)
            if key is not None:
                yield f"{step.at}/key", key
            if undo is not None:
                yield from _of_call(undo)
        case Assign(values):
            yield from mappings.expressions_in(values, f"{step.at}/set")
        case Decide(shows=shows):
            yield from mappings.expressions_in(shows, f"{step.at}/decide/shows")
        case Loop(items=items):
            yield f"{step.at}/for/in", items


def _of_call(called: Called) -> Iterator[tuple[str, str]]:
    yield from mappings.expressions_in(called.given, f"{called.at}/with")


def _lasting(workflow: Workflow, catalog: Catalog) -> Iterator[Warned]:
    """
    Find writes that stay where a later step fails: without an undo, and before the pivot, or where there is none.

    Not in handlers: what they write says what has failed.
    """
    main = workflow.block.steps
    past = next((number for number, step in enumerate(main) if isinstance(step.does, Call) and step.does.pivot), None)
    for step in _followed(Block("", main if past is None else main[:past]), is_followed=past is not None):
        if isinstance(step.does, Call) and step.does.undo is None:
            action = action_of(workflow, step.does.called, catalog)
            if action is not None and action.kind is ActionKind.WRITE:
                message = f"{step.id} writes and has no undo: it stays if a later step fails. Give it an undo, or put it at or after the pivot"
                yield Caution.NOT_UNDONE, step.at, message


def _followed(block: Block, *, is_followed: bool) -> Iterator[Step]:
    """Yield the steps after which another one may fail."""
    for number, step in enumerate(block.steps):
        has_next = is_followed or (number + 1 < len(block.steps) and step.then != END)
        if has_next:
            yield step
        # Branches end in any order, and items of a loop come one after the other.
        for inner in step.blocks:
            yield from _followed(inner, is_followed=has_next or isinstance(step.does, Fork | Loop))
