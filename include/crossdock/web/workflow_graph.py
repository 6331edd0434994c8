"""
The graph of a workflow, laid out on the server: steps from top to bottom, cases and branches beside each other. Pure.

What a list of steps needs is measured first, and placed then, so that nothing overlaps whatever is inside of what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from crossdock.core.counted import counted
from crossdock.workflows.declared.model import (
    END,
    Assign,
    Block,
    Call,
    Called,
    Cancel,
    Decide,
    Fork,
    Listen,
    Loop,
    Raise,
    Step,
    Switch,
    Trigger,
    Wait,
    Workflow,
)

NODE_WIDTH, NODE_HEIGHT = 224, 62
#: Start and end.
_PILL_HEIGHT = 30
_GAP = 28
_BESIDE = 20
#: Above a case, for its condition.
_LABEL = 26
_PADDING = 14
#: Above what a frame holds, for its title.
_TITLE = 30
#: The way that no case takes.
_BYPASS = 96
_LONGEST_TITLE, _LONGEST_DETAIL, _LONGEST_LABEL = 22, 32, 30
_MARGIN = 12


class Node(NamedTuple):
    """A step, or the start or the end (without an ID)."""

    step: str
    kind: str
    x: float
    y: float
    height: float
    title: str
    detail: str
    #: What is special about it: its undo, the pivot, its handler.
    marks: str
    #: All of it, for the pointer.
    about: str
    is_pivot: bool = False
    line: int | None = None


class Edge(NamedTuple):
    path: str
    label: str = ""
    about: str = ""
    x: float = 0
    y: float = 0
    is_jump: bool = False


class Frame(NamedTuple):
    """What a loop or a handler holds."""

    x: float
    y: float
    width: float
    height: float
    title: str


class _Size(NamedTuple):
    width: float
    height: float


class _Exit(NamedTuple):
    """Where a way leaves a step for the next one."""

    x: float
    y: float
    label: str = ""
    #: Several begin here, each to a column of its own: they part at once. Others lead straight down, and turn before the next step.
    is_split: bool = False


@dataclass
class Graph:
    width: float = 0
    height: float = 0
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)


def graph_of(workflow: Workflow, line_of: Callable[[str], int] | None = None) -> Graph:
    """Lay out a workflow. *line_of* finds the line of a place in its text."""
    drawing = _Drawing(line_of)
    size = _size_of_block(workflow.block)
    center = _MARGIN + size.width / 2
    bottom = drawing.whole(workflow, center)
    right = _MARGIN + size.width
    for name, block in workflow.handlers.items():
        inner = _size_of_block(block)
        width = inner.width + 2 * _PADDING
        left = right + 2 * _BESIDE
        drawing.graph.frames.append(
            Frame(left, _MARGIN, width, _TITLE + inner.height + _PADDING, f"Handler {_short(name, _LONGEST_LABEL)}")
        )
        drawing.block(block, left + width / 2, _MARGIN + _TITLE)
        right, bottom = left + width, max(bottom, _MARGIN + _TITLE + inner.height + _PADDING)
    drawing.graph.width, drawing.graph.height = right + _MARGIN, bottom + _MARGIN
    return drawing.graph


class _Drawing:
    def __init__(self, line_of: Callable[[str], int] | None) -> None:
        self.graph = Graph()
        self._line_of = line_of

    def whole(self, workflow: Workflow, center: float) -> float:
        """Place the steps between the start and the end; return where it ends."""
        self._pill("Start", center, _MARGIN, _starts(workflow.triggers))
        begin = _Exit(center, _MARGIN + _PILL_HEIGHT)
        top = _MARGIN + _PILL_HEIGHT + _GAP
        exits = self.block(workflow.block, center, top, [begin])
        end = top + _size_of_block(workflow.block).height + _GAP
        self._pill("End", center, end, "")
        self._join(exits, center, end)
        return end + _PILL_HEIGHT

    def block(self, block: Block, center: float, top: float, before: Sequence[_Exit] = ()) -> list[_Exit]:
        """Place a list of steps; return how it is left."""
        exits = list(before)
        tops = dict[str, float]()
        for step in block.steps:
            self._join(exits, center, top)
            tops[step.id] = top
            exits = self._step(step, center, top)
            top += _size_of(step).height + _GAP
        for step in block.steps:
            if step.then is not None and step.then != END and step.then in tops:
                self._jump(step, tops[step.id], tops[step.then], center, center + _steps_across(block) / 2 + 8)
        return exits

    def _step(self, step: Step, center: float, top: float) -> list[_Exit]:
        self._node(step, center, top)
        bottom = top + NODE_HEIGHT
        exits = [_Exit(center, bottom)]
        match step.does:
            case Switch(cases):
                columns = [(case.when or "otherwise", case.block) for case in cases]
                exits = self._columns(columns, center, bottom, is_open=all(case.when for case in cases))
            case Fork(branches):
                exits = self._columns(list(branches.items()), center, bottom, is_open=False)
            case Loop(block=inside):
                size = _size_of_block(inside)
                left, width = center - size.width / 2 - _PADDING, size.width + 2 * _PADDING
                title = f"for each {step.does.each}" + (f", {step.does.at_most} at most" if step.does.at_most else "")
                self.graph.frames.append(
                    Frame(left, top - 6, width, NODE_HEIGHT + _GAP + size.height + _PADDING + 6, "")
                )
                self.block(inside, center, bottom + _GAP, [_Exit(center, bottom, title)])
                exits = [_Exit(center, bottom + _GAP + size.height + _PADDING)]
            case Raise() | Cancel():
                exits = [_Exit(center, bottom, "otherwise")] if step.condition else []
        if step.then is not None and step.condition is None:
            return []
        return exits

    def _columns(
        self, columns: Sequence[tuple[str, Block]], center: float, top: float, *, is_open: bool
    ) -> list[_Exit]:
        """Place lists of steps beside each other; if none of them may be taken (*is_open*), a way leads by."""
        sizes = [_size_of_block(block) for _, block in columns]
        left = center - _across(sizes, is_open=is_open) / 2
        exits = []
        for (label, block), size in zip(columns, sizes, strict=True):
            middle = left + size.width / 2
            exits += self.block(block, middle, top + _GAP + _LABEL, [_Exit(center, top, label, is_split=True)])
            left += size.width + _BESIDE
        if is_open:
            aside, bottom = left + _BYPASS / 2, top + _GAP + _LABEL + max((size.height for size in sizes), default=0)
            self._join([_Exit(center, top, "otherwise", is_split=True)], aside, bottom, has_head=False)
            exits.append(_Exit(aside, bottom))
        return exits

    def _join(self, exits: Sequence[_Exit], x: float, y: float, *, has_head: bool = True) -> None:
        """Draw the ways that lead to the top of a step."""
        end = y - (4 if has_head else 0)
        for left in exits:
            turn = left.y + _GAP / 2 if left.is_split else y - _GAP / 2
            path = f"M{left.x:g} {left.y:g}V{turn:g}H{x:g}V{end:g}"
            label_x, label_y = (x, left.y + _GAP / 2 + 14) if left.is_split else (left.x, left.y + 14)
            self.graph.edges.append(Edge(path, _short(left.label, _LONGEST_LABEL), left.label, label_x + 6, label_y))

    def _jump(self, step: Step, top: float, to: float, center: float, aside: float) -> None:
        """Draw `then`: past the steps between, on their right."""
        x, y, end = center + NODE_WIDTH / 2, top + NODE_HEIGHT / 2, to + NODE_HEIGHT / 2
        path = f"M{x:g} {y:g}H{aside:g}V{end:g}H{x + 4:g}"
        self.graph.edges.append(Edge(path, "", f"then {step.then}", is_jump=True))

    def _node(self, step: Step, center: float, top: float) -> None:
        kind, detail = _said(step)
        marks = _marks(step)
        conditions = [f"if {step.condition}"] if step.condition else []
        about = [step.id, *conditions, f"{kind}: {detail}" if detail else kind, *marks]
        self.graph.nodes.append(
            Node(
                step=step.id,
                kind=kind,
                x=center - NODE_WIDTH / 2,
                y=top,
                height=NODE_HEIGHT,
                title=_short(step.id or "?", _LONGEST_TITLE),
                detail=_short(detail or kind, _LONGEST_DETAIL),
                marks=_short(" · ".join([*marks, *conditions]), _LONGEST_DETAIL + 4),
                about="\n".join(about),
                is_pivot=isinstance(step.does, Call) and step.does.pivot,
                line=self._line_of(step.at) if self._line_of else None,
            )
        )

    def _pill(self, title: str, center: float, top: float, detail: str) -> None:
        x = center - NODE_WIDTH / 2
        short = _short(detail, _LONGEST_DETAIL - 6)
        self.graph.nodes.append(Node("", title.lower(), x, top, _PILL_HEIGHT, title, short, "", detail or title))


def _size_of_block(block: Block) -> _Size:
    heights = [_size_of(step).height for step in block.steps]
    # Room for jumps on the right.
    jumps = 24 if any(step.then not in (None, END) for step in block.steps) else 0
    return _Size(_steps_across(block) + jumps, sum(heights) + _GAP * max(len(heights) - 1, 0))


def _steps_across(block: Block) -> float:
    return max((_size_of(step).width for step in block.steps), default=NODE_WIDTH)


def _size_of(step: Step) -> _Size:
    sizes = [_size_of_block(block) for block in step.blocks]
    tallest = max((size.height for size in sizes), default=0)
    match step.does:
        case Switch(cases):
            across = _across(sizes, is_open=all(case.when for case in cases))
            return _Size(max(NODE_WIDTH, across), NODE_HEIGHT + _GAP + _LABEL + tallest)
        case Fork():
            return _Size(max(NODE_WIDTH, _across(sizes, is_open=False)), NODE_HEIGHT + _GAP + _LABEL + tallest)
        case Loop():
            return _Size(max(NODE_WIDTH, sizes[0].width + 2 * _PADDING), NODE_HEIGHT + _GAP + tallest + _PADDING)
    return _Size(NODE_WIDTH, NODE_HEIGHT)


def _across(sizes: Sequence[_Size], *, is_open: bool) -> float:
    columns = [size.width for size in sizes] + ([_BYPASS] if is_open else [])
    return sum(columns) + _BESIDE * max(len(columns) - 1, 0)


def _said(step: Step) -> tuple[str, str]:
    """Say what a step does: its word in a definition, and with what."""
    kind, detail = "not readable", ""
    match step.does:
        case Call(called=called):
            kind, detail = "call", _name_of(called)
        case Switch(cases):
            kind, detail = "switch", counted(len(cases), "case")
        case Fork(branches, join):
            waits = f", waits for {', '.join(join)}" if join is not None else ""
            kind, detail = "fork", f"{len(branches)} branches{waits}"
        case Loop(items=items):
            kind, detail = "for", items
        case Assign(values):
            kind, detail = "set", ", ".join(values)
        case Raise(message) | Cancel(message):
            kind, detail = "raise" if isinstance(step.does, Raise) else "cancel", message
        case Wait(seconds):
            kind, detail = "wait", f"{seconds:g} s"
        case Listen(event):
            kind, detail = "listen", event
        case Decide(question):
            kind, detail = "decide", question
    return kind, detail


def _marks(step: Step) -> list[str]:
    marks = []
    if isinstance(step.does, Call):
        marks += ["pivot: no way back"] if step.does.pivot else []
        marks += [f"undo: {_name_of(step.does.undo)}"] if step.does.undo is not None else []
    if step.catch is not None:
        marks.append(f"catch: {step.catch.handler}")
    if step.then is not None:
        marks.append(f"then: {step.then}")
    return marks


def _name_of(called: Called) -> str:
    return f"{called.integration}.{called.action}"


def _starts(triggers: Sequence[Trigger]) -> str:
    named: Sequence[Mapping[str, str | None]] = [
        {"cron": each.cron, "event": each.event, "webhook": each.webhook} for each in triggers
    ]
    return ", ".join(value for each in named for value in each.values() if value)


def _short(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
