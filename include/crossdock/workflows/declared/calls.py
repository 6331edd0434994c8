"""What a definition says of the hub: integrations and their actions, event types, webhooks, params."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from crossdock.integrations.actions.model import Action, ActionKind
from crossdock.integrations.json_schema import errors_in
from crossdock.workflows.declared.model import Block, Call, Called, Listen, Loop, Rule, Step, Trigger, Workflow
from crossdock.workflows.declared.ports import Catalog
from crossdock.workflows.declared.structure import Mistake

#: What the schema of a param may say: no pattern, whose cost nobody bounds, and no reference.
_OF_PARAM = frozenset(
    {
        *(
            "type",
            "title",
            "description",
            "enum",
            "const",
            "default",
            "examples",
            "format",
            "minimum",
            "maximum",
            "items",
        ),
        *(
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "uniqueItems",
            "properties",
            "required",
            "additionalProperties",
        ),
    }
)
#: Keys that the systems of others hand out, by their form.
_SECRETS = re.compile(
    r"\b(?:sk|rk)_(?:live|test)_\w{8,}|\bwhsec_[\w+/=]{8,}|\bxox[abprs]-[\w-]{10,}|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_\w{20,}|\bSG\.[\w-]{16,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|\beyJ[\w-]{8,}\.[\w-]{8,}\.|://[^\s/:@]+:[^\s/@]+@|\bBearer [\w.~+/-]{16,}"
)
#: The kind whose actions are in a file of the integration's name.
_OF_A_FILE = "declared"
_SECRET_NAMES = re.compile(r"password|passwd|secret|api_?key|private_key|access_token|client_secret", re.IGNORECASE)
_LITERAL = re.compile(r"'[^']{4,}'|`[^`]{4,}`")


def check(workflow: Workflow, value: Any, catalog: Catalog) -> Iterator[Mistake]:
    """Yield the mistakes that only the hub, or the connectors, can show."""
    yield from _integrations(workflow, catalog)
    for step in workflow.steps():
        match step.does:
            case Call(called=called, undo=undo):
                yield from _action(workflow, called, catalog)
                if undo is not None:
                    yield from _action(workflow, undo, catalog)
                    yield from _undo(called, undo)
            case Listen(event=event):
                yield from _event(event, f"{step.at}/listen/event", catalog)
    for block in (workflow.block, *workflow.handlers.values()):
        yield from _keys(workflow, block, catalog, None)
    yield from _params(workflow)
    yield from _triggers(workflow, catalog)
    yield from _secrets(value, "", is_mapping=False)


def action_of(workflow: Workflow, called: Called, catalog: Catalog) -> Action | None:
    """Find the action that a step calls; None if there is none, which is reported once."""
    actions = catalog.actions_of(called.integration, workflow.integrations.get(called.integration, ""))
    return actions.get(called.action) if actions is not None else None


def _integrations(workflow: Workflow, catalog: Catalog) -> Iterator[Mistake]:
    for name, kind in workflow.integrations.items():
        at = f"/integrations/{name}"
        registered = catalog.kind_of(name) if catalog.has_registry else kind
        if catalog.actions_of(name, kind) is None:
            yield (
                Rule.UNKNOWN_INTEGRATION,
                at,
                f"{kind} is not a kind of integration; one of your own file is `declared`",
            )
        elif registered is None:
            yield Rule.UNKNOWN_INTEGRATION, at, f"there is no integration {name}; add it first"
        elif registered != kind:
            yield Rule.UNKNOWN_INTEGRATION, at, f"{name} is of the kind {registered}"
        elif catalog.has_registry and not catalog.is_tested(name):
            yield Rule.UNTESTED_INTEGRATION, at, f"the connection of {name} has not passed a test; test it first"


def _action(workflow: Workflow, called: Called, catalog: Catalog) -> Iterator[Mistake]:
    at = f"{called.at}/call"
    if called.integration not in workflow.integrations:
        names = ", ".join(workflow.integrations) or "none"
        yield (
            Rule.UNKNOWN_INTEGRATION,
            at,
            f"{called.integration} is not in `integrations` ({names}); name it there with its kind",
        )
        return
    kind = workflow.integrations[called.integration]
    actions = catalog.actions_of(called.integration, kind)
    if actions is not None and called.action not in actions:
        message = (
            f"{called.integration} ({kind}) has no action {called.action}; actions: {', '.join(actions) or 'none'}"
        )
        if kind == _OF_A_FILE and not actions:
            message += (
                f". They are in the file {called.integration}.yaml beside the DAGs: ./hub integration validate FILE"
            )
        yield Rule.UNKNOWN_ACTION, at, message


def _undo(called: Called, undo: Called) -> Iterator[Mistake]:
    if undo.integration != called.integration:
        message = (
            f"{undo.integration} cannot undo what {called.integration} did; call an action of {called.integration}"
        )
        yield Rule.UNDO_OF_ANOTHER, f"{undo.at}/call", message


def _keys(workflow: Workflow, block: Block, catalog: Catalog, loop: Step | None) -> Iterator[Mistake]:
    """In a loop the number of an item is no name: a list read again may have another order."""
    for step in block.steps:
        if loop is not None and isinstance(step.does, Call) and step.does.key is None:
            action = action_of(workflow, step.does.called, catalog)
            if action is not None and action.kind is ActionKind.WRITE:
                message = f"{step.id} writes once for each item of {loop.id}: give it a key that names the item, such as an ID"
                yield Rule.WRITE_WITHOUT_KEY, step.at, message
        for inner in step.blocks:
            yield from _keys(workflow, inner, catalog, step if isinstance(step.does, Loop) else loop)


def _event(name: str, at: str, catalog: Catalog) -> Iterator[Mistake]:
    if name not in catalog.event_types():
        yield (
            Rule.UNKNOWN_EVENT,
            at,
            f"{name} is not an event type of the hub; there are {', '.join(sorted(catalog.event_types()))}",
        )


def _params(workflow: Workflow) -> Iterator[Mistake]:
    for name, declared in workflow.params.items():
        at = f"/params/{name}"
        if wrong := sorted(set(_keywords(declared)) - _OF_PARAM):
            yield Rule.PARAM_SCHEMA, at, f"uses {', '.join(wrong)}; a param may use {', '.join(sorted(_OF_PARAM))}"
            continue
        if (problem := _schema_problem(declared)) is not None:
            yield Rule.PARAM_SCHEMA, at, problem
        elif "default" in declared:
            for error in errors_in(declared, declared["default"], ""):
                yield Rule.PARAM_DEFAULT, f"{at}/default", f"does not fit the param's own schema: it {error.message}"


def sound_params(workflow: Workflow) -> dict[str, Any]:
    """Give the schemas of the params; one that is wrong, which is reported, takes all."""
    return {name: {} if _schema_problem(declared) else declared for name, declared in workflow.params.items()}


def _keywords(schema: Any) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        return
    yield from schema
    yield from _keywords(schema.get("items"))
    yield from _keywords(schema.get("additionalProperties"))
    properties = schema.get("properties")
    for part in properties.values() if isinstance(properties, Mapping) else ():
        yield from _keywords(part)


def _schema_problem(declared: Mapping[str, Any]) -> str | None:
    from jsonschema import Draft202012Validator, SchemaError  # type: ignore[import-untyped]  # noqa: PLC0415  only to validate

    try:
        Draft202012Validator.check_schema(declared)
    except SchemaError as error:
        where = "/".join(map(str, error.absolute_path))
        return f"is not a JSON Schema: {where or 'it'} must have {error.validator} {json.dumps(error.validator_value, default=str)[:80]}"
    return None


def _triggers(workflow: Workflow, catalog: Catalog) -> Iterator[Mistake]:
    webhooks: set[str] = set()
    for trigger in workflow.triggers:
        if trigger.event is not None:
            yield from _event(trigger.event, f"{trigger.at}/event", catalog)
        if trigger.cron is not None:
            yield from _cron(trigger)
        if trigger.webhook is not None:
            owner = catalog.webhook_owner(trigger.webhook)
            if trigger.webhook in webhooks or owner not in (None, workflow.id):
                whose = "another trigger" if trigger.webhook in webhooks else f"the workflow {owner}"
                yield (
                    Rule.DUPLICATE_WEBHOOK,
                    f"{trigger.at}/webhook",
                    f"{trigger.webhook} belongs to {whose}; a webhook starts one workflow",
                )
            webhooks.add(trigger.webhook)


def _cron(trigger: Trigger) -> Iterator[Mistake]:
    from zoneinfo import ZoneInfo  # noqa: PLC0415  only to validate

    from croniter import croniter  # type: ignore[import-untyped]  # noqa: PLC0415

    given = trigger.cron or ""
    if len(given) > 100 or len(given.split()) != 5 or not croniter.is_valid(given):  # noqa: PLR2004  five fields
        expected = "must have five fields (minute, hour, day, month, weekday), such as 0 3 * * *"
        yield Rule.CRON, f"{trigger.at}/cron", expected
    if trigger.timezone is not None:
        try:
            ZoneInfo(trigger.timezone)
        except (OSError, ValueError, KeyError):
            yield Rule.CRON, f"{trigger.at}/timezone", "is not a time zone, such as Europe/Berlin"


def _secrets(value: Any, at: str, *, is_mapping: bool) -> Iterator[Mistake]:
    """Find what looks like a secret. The message never quotes it."""
    match value:
        case dict():
            for name, part in value.items():
                inner = f"{at}/{name}"
                is_literal = isinstance(part, str) and (_LITERAL.fullmatch(part) is not None)
                if is_mapping and _SECRET_NAMES.search(str(name)) and is_literal:
                    yield Rule.SECRET, inner, _KEEP_OUT
                else:
                    yield from _secrets(part, inner, is_mapping=is_mapping or name in ("with", "set", "shows"))
        case list():
            for number, part in enumerate(value):
                yield from _secrets(part, f"{at}/{number}", is_mapping=is_mapping)
        case str() if _SECRETS.search(value):
            yield Rule.SECRET, at, _KEEP_OUT


_KEEP_OUT = (
    "looks like a secret. Everybody who may read workflows would see it: put it into the integration's credentials"
)
