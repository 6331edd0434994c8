"""What a definition must be before anything is known of the hub: its ids, its order, its pivot, its handlers, its bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from crossdock.workflows.declared.model import (
    END,
    Block,
    Call,
    Cancel,
    Decide,
    Fork,
    Listen,
    Loop,
    Raise,
    Rule,
    Step,
    Switch,
    Wait,
    Workflow,
    steps_in,
)

#: A rule, the place that breaks it, and what was expected there.
Mistake = tuple[Rule, str, str]
_DECIDED = frozenset({"declined", "refused"})


def check(workflow: Workflow) -> Iterator[Mistake]:
    """Yield the mistakes that the definition shows by itself."""
    steps = list(workflow.steps())
    yield from _ids(steps)
    known = {step.id for step in steps}
    for block in (workflow.block, *workflow.handlers.values()):
        yield from _order(block, known)
    yield from _pivots(workflow)
    yield from _cancels(workflow)
    yield from _handlers(workflow)
    for step in steps:
        yield from _bounds(step)
        yield from _retries(step)
        yield from _joins(step)
    yield from _loops(workflow)
    if workflow.timeout_s == 0:
        yield Rule.TIMEOUT_ZERO, "/timeout", "must be more than zero"


def _ids(steps: list[Step]) -> Iterator[Mistake]:
    seen: dict[str, str] = {}
    for step in steps:
        if step.id and step.id in seen:
            yield (
                Rule.DUPLICATE_ID,
                f"{step.at}/id",
                f"{step.id} is the id of {seen[step.id]} already; each step needs its own",
            )
        seen.setdefault(step.id, step.at)
        if step.id == END:
            yield Rule.DUPLICATE_ID, f"{step.at}/id", "end is a word of `then`; choose another id"


def _order(block: Block, known: set[str]) -> Iterator[Mistake]:
    """Follow `then` in one list, and in the lists inside it."""
    places = {step.id: number for number, step in enumerate(block.steps)}
    after = [_next_places(step, number, places) for number, step in enumerate(block.steps)]
    for number, step in enumerate(block.steps):
        if step.then is not None and step.then != END and step.then not in places:
            yield _unknown_then(step, places, known)
            after[number].add(number + 1)  # one mistake, not also the steps behind it
        back = [place for place in after[number] if place <= number]
        if any(number in _reached(after, place) for place in back):
            expected = "then names a later step. To repeat steps, use for"
            yield Rule.CYCLE, f"{step.at}/then", f"leads back to {step.then}: {expected}"
            after[number].add(number + 1)
    yield from _unreachable(block, _reached(after, 0))
    for step in block.steps:
        for inner in step.blocks:
            yield from _order(inner, known)
        yield from _cases(step)


def _next_places(step: Step, number: int, places: Mapping[str, int]) -> set[int]:
    """Find the places of the steps that may follow this one."""
    if step.then is None:
        return set() if isinstance(step.does, Raise | Cancel) and step.condition is None else {number + 1}
    then = {places[step.then]} if step.then in places else set()
    # A step that is skipped sends nobody anywhere.
    return then | ({number + 1} if step.condition is not None else set())


def _unreachable(block: Block, reached: set[int]) -> Iterator[Mistake]:
    for number, step in enumerate(block.steps):
        if number not in reached:
            why = "is never reached: each step before it goes elsewhere or ends"
            yield Rule.UNREACHABLE_STEP, step.at, f"{step.id or 'the step'} {why}"


def _unknown_then(step: Step, places: Mapping[str, int], known: set[str]) -> Mistake:
    names = ", ".join(places) if len(places) < 20 else f"{len(places)} steps"  # noqa: PLR2004  a readable list
    why = "is in another list" if step.then in known else "does not exist"
    return (
        Rule.UNKNOWN_STEP,
        f"{step.at}/then",
        f"{step.then} {why}; then names a step of its own list ({names}) or end",
    )


def _reached(after: list[set[int]], first: int) -> set[int]:
    reached: set[int] = set()
    open_places = [first]
    while open_places:
        place = open_places.pop()
        if place < len(after) and place not in reached:
            reached.add(place)
            open_places += after[place]
    return reached


def _cases(step: Step) -> Iterator[Mistake]:
    """Report cases after one that is always true."""
    if isinstance(step.does, Switch):
        for number, case in enumerate(step.does.cases[:-1]):
            # A condition that the form refuses is not read; only one that is not written is always true.
            if case.when is None:
                for later in step.does.cases[number + 1 :]:
                    yield (
                        Rule.UNREACHABLE_STEP,
                        later.at,
                        "is never taken: a case before it has no `when` and is always true",
                    )
                return


def _pivots(workflow: Workflow) -> Iterator[Mistake]:
    """Check that one step of the main list at most is the point of no return, and that nothing after it is undone."""
    top = {step.at for step in workflow.block.steps}
    pivots = [step for step in workflow.steps() if isinstance(step.does, Call) and step.does.pivot]
    for later in pivots[1:]:
        yield (
            Rule.TWO_PIVOTS,
            f"{later.at}/pivot",
            f"{pivots[0].id} is the pivot already; a workflow has one point of no return",
        )
    for pivot in pivots:
        if pivot.at not in top:
            yield (
                Rule.PIVOT_PLACE,
                f"{pivot.at}/pivot",
                "must be a step of the main list: otherwise nobody knows whether it is passed",
            )
        if pivot.condition is not None:
            yield (
                Rule.PIVOT_PLACE,
                f"{pivot.at}/if",
                "the pivot has no condition: otherwise nobody knows whether it is passed",
            )
    if len(pivots) != 1 or pivots[0].at not in top:
        return
    past = [step.at for step in workflow.block.steps].index(pivots[0].at)
    for step in steps_in(Block("", workflow.block.steps[past + 1 :])):
        if isinstance(step.does, Call) and step.does.undo is not None:
            message = (
                f"{step.id} comes after the pivot {pivots[0].id}: it is repeated until it succeeds, and never undone"
            )
            yield Rule.UNDO_AFTER_PIVOT, f"{step.at}/undo", message


def _cancels(workflow: Workflow) -> Iterator[Mistake]:
    """Check that no `cancel` can come after the pivot, where nothing is undone any more."""
    main = workflow.block.steps
    past = next((number for number, step in enumerate(main) if isinstance(step.does, Call) and step.does.pivot), None)
    if past is None:
        return
    found: dict[str, str] = {}
    for message, steps in _after(workflow, past):
        for step in steps:
            if isinstance(step.does, Cancel):
                found.setdefault(f"{step.at}/cancel", message)
    for at, message in found.items():
        yield Rule.CANCEL_AFTER_PIVOT, at, message


def _after(workflow: Workflow, past: int) -> Iterator[tuple[str, Iterator[Step]]]:
    """Yield the steps that may come after the pivot, at the place *past* of the main list, and why no `cancel` may be among them."""
    main, pivot = workflow.block.steps, workflow.block.steps[past]
    nothing = f"comes after the pivot {pivot.id}: nothing is undone any more. Ask before the pivot, or use raise"
    yield nothing, _with_handlers(workflow, steps_in(Block("", main[past + 1 :])))
    # The pivot's own handler takes its failure: it is not passed then, unless nobody knows.
    if pivot.catch is not None and "unknown" in (pivot.catch.errors or ()):
        unknown = f"takes the unknown outcome of the pivot {pivot.id}, which may have been passed. Use raise"
        yield unknown, _with_handlers(workflow, iter((pivot,)))
    for fork in steps_in(Block("", main[:past])):
        if isinstance(fork.does, Fork) and fork.does.join is not None:
            left_alone = [block for name, block in fork.does.branches.items() if name not in fork.does.join]
            not_waited = (
                f"may come after the pivot {pivot.id}: {fork.id} does not wait for this branch. Name it in join"
            )
            yield not_waited, _with_handlers(workflow, (step for block in left_alone for step in steps_in(block)))


def _with_handlers(workflow: Workflow, steps: Iterator[Step]) -> Iterator[Step]:
    """Yield steps, and those of the handlers that they call by whatever way."""
    calls = {
        name: {step.catch.handler for step in steps_in(block) if step.catch}
        for name, block in workflow.handlers.items()
    }
    called: set[str] = set()
    for step in steps:
        yield step
        if step.catch is not None:
            called |= _called_from(calls, step.catch.handler)
    for name, block in workflow.handlers.items():
        if name in called:
            yield from steps_in(block)


def _handlers(workflow: Workflow) -> Iterator[Mistake]:
    """Check that handlers exist, and that none can call itself, by whatever way."""
    calls: dict[str, set[str]] = {}
    for name, block in workflow.handlers.items():
        calls[name] = {step.catch.handler for step in steps_in(block) if step.catch is not None}
    for step in workflow.steps():
        if step.catch is not None and step.catch.handler not in workflow.handlers:
            names = ", ".join(workflow.handlers) or "none"
            yield (
                Rule.UNKNOWN_HANDLER,
                f"{step.at}/catch/handler",
                f"{step.catch.handler} does not exist; handlers: {names}",
            )
    for name, block in workflow.handlers.items():
        for step in steps_in(block):
            if step.catch is not None and name in _called_from(calls, step.catch.handler):
                message = f"the handler {name} would call itself; its steps need another handler, or none"
                yield Rule.HANDLER_CALLS_ITSELF, f"{step.at}/catch/handler", message
    used = {step.catch.handler for step in workflow.steps() if step.catch is not None}
    for name in workflow.handlers:
        if name not in used:
            yield Rule.UNREACHABLE_STEP, f"/handlers/{name}", "no step names this handler in `catch`"


def _called_from(calls: Mapping[str, set[str]], first: str) -> set[str]:
    found: set[str] = set()
    open_names = [first]
    while open_names:
        name = open_names.pop()
        if name not in found:
            found.add(name)
            open_names += calls.get(name, ())
    return found


def _bounds(step: Step) -> Iterator[Mistake]:
    if step.timeout_s == 0:
        yield Rule.TIMEOUT_ZERO, f"{step.at}/timeout", "must be more than zero"
    match step.does:
        case Wait(seconds=0):
            yield Rule.TIMEOUT_ZERO, f"{step.at}/wait", "must be more than zero"
        case Listen() | Decide() if step.timeout_s is None:
            what = "an event" if isinstance(step.does, Listen) else "a person"
            yield Rule.ENDLESS_WAIT, step.at, f"{step.id} would wait for {what} for ever; give it a timeout"
        case Decide(options=options, default=default) if default is not None and default not in options:
            yield Rule.FORM, f"{step.at}/decide/default", f"must be one of the options: {', '.join(options)}"


def _retries(step: Step) -> Iterator[Mistake]:
    if isinstance(step.does, Call):
        for error in step.does.retry.errors:
            if error in _DECIDED:
                message = f"{error} is a decision: the same request is refused again. Retry failed, unknown or timeout; catch {error}"
                yield Rule.RETRY_ON_DECLINE, f"{step.at}/retry/errors", message


def _joins(step: Step) -> Iterator[Mistake]:
    if not isinstance(step.does, Fork):
        return
    fork, at = step.does, f"{step.at}/fork"
    if not fork.branches:
        yield Rule.EMPTY_JOIN, f"{at}/branches", "has no branch: there is nothing to wait for"
    elif fork.join is not None and not fork.join:
        yield Rule.EMPTY_JOIN, f"{at}/join", f"waits for nothing; name branches: {', '.join(fork.branches)}"
    for name in fork.join or ():
        if name not in fork.branches:
            yield Rule.EMPTY_JOIN, f"{at}/join", f"{name} is not a branch; branches: {', '.join(fork.branches)}"


def _loops(workflow: Workflow) -> Iterator[Mistake]:
    for step in workflow.steps():
        if isinstance(step.does, Loop) and step.does.at_most is None:
            yield Rule.LOOP_WITHOUT_BOUND, f"{step.at}/for", "needs at_most: how many items there may be"
        if isinstance(step.does, Loop) and not step.does.block.steps:
            yield Rule.FORM, step.at, f"{step.id} needs `do`: the steps for each item"
