"""From the text of a definition to its terms. What the form refuses is reported, and the rest is read all the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from crossdock.core import yaml_document
from crossdock.integrations.json_schema import validator_of
from crossdock.workflows.declared.model import (
    Assign,
    Block,
    Call,
    Called,
    Cancel,
    Case,
    Catch,
    Decide,
    Does,
    Finding,
    Fork,
    Listen,
    Loop,
    Raise,
    Retry,
    Rule,
    Step,
    Switch,
    Trigger,
    Unreadable,
    Wait,
    Workflow,
)

#: The largest definition.
MOST_CHARACTERS = 256 * 1024
_KINDS = ("call", "switch", "fork", "for", "set", "raise", "cancel", "wait", "listen", "decide")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,6})(ms|s|m|h|d)")


@dataclass(frozen=True)
class Document:
    """A definition as it was written: its value and the line of each place."""

    value: Any
    lines: Mapping[str, int]

    def line_of(self, pointer: str) -> int:
        """Find the line of a place, or of the nearest enclosing place that exists."""
        return yaml_document.mistake_at(self.lines, pointer, "").line


def read(text: str) -> tuple[Document, list[Finding]]:
    """Read YAML or JSON."""
    if len(text) > MOST_CHARACTERS:
        return Document(None, {}), [Finding(Rule.TOO_LARGE, 1, "", f"has more than {MOST_CHARACTERS:,} characters")]
    # YAML includes JSON but for tabs between its tokens. In JSON's texts a tab is never written as it is.
    source = text.replace("\t", " ") if text.lstrip().startswith("{") else text
    value, lines, mistakes = yaml_document.numbered(source)
    found = [Finding(Rule.SYNTAX, each.line, each.pointer, each.message) for each in mistakes]
    if not found:
        found = [
            Finding(Rule.SYNTAX, lines.get(at, 1), at, "is not JSON; write it in quotes") for at in _foreign(value)
        ]
    return Document(None if found else value, lines), found


def _foreign(value: Any, at: str = "") -> Iterator[str]:
    """Yield the places of values that JSON has not, such as the dates of YAML."""
    match value:
        case dict():
            for name, inner in value.items():
                yield from _foreign(inner, f"{at}/{name}")
        case list():
            for number, inner in enumerate(value):
                yield from _foreign(inner, f"{at}/{number}")
        case float() if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124  NaN
            yield at
        case None | bool() | int() | float() | str():
            return
        case _:
            yield at


def count_steps(value: Any) -> int:
    """Count the steps of a definition that nobody has validated yet."""
    count, open_parts = 0, [value]
    while open_parts:
        part = open_parts.pop()
        if isinstance(part, dict):
            steps = part.get("do")
            count += len(steps) if isinstance(steps, list) else 0
            open_parts += part.values()
        elif isinstance(part, list):
            open_parts += part
    return count


@cache
def schema() -> dict[str, Any]:
    """Load the published JSON Schema of the form."""
    found: dict[str, Any] = json.loads((files(__package__) / "workflow.schema.json").read_text())
    return found


def check_form(document: Document) -> list[Finding]:
    """Report what the JSON Schema of the form refuses."""
    found = []
    for error in validator_of(schema()).iter_errors(document.value):
        at = "".join(f"/{step}" for step in error.absolute_path)
        found += [
            Finding(Rule.SCHEMA_VERSION if place == "/schema" else Rule.FORM, document.line_of(place), place, message)
            for place, message in _explained(error, at)
        ]
    return found


def _explained(error: Any, at: str) -> Iterator[tuple[str, str]]:
    """Say what was expected."""
    expected = error.validator_value
    match error.validator:
        case "additionalProperties" if isinstance(expected, bool):
            known = error.schema["properties"]
            yield from (
                (f"{at}/{name}", f"is not known; known fields: {', '.join(known)}")
                for name in set(error.instance) - set(known)
            )
        case "required":
            missing = [name for name in expected if name not in error.instance and f"{name!r}" in error.message]
            yield from ((f"{at}/{name}", "is missing") for name in missing)
        case "oneOf":
            names = [alternative["required"][0] for alternative in expected]
            yield at, f"needs exactly one of {', '.join(names)}"
        case "dependentRequired":
            wrong = [(name, needs) for name, needs in expected.items() if name in error.instance]
            yield from (
                (f"{at}/{name}", f"belongs to {needs[0]}") for name, needs in wrong if needs[0] not in error.instance
            )
        case "pattern" if "propertyNames" in error.absolute_schema_path:
            yield f"{at}/{error.instance}", "is not a valid name: use lowercase letters, digits and _"
        case "const":
            yield at, f"must be {expected}: this hub reads no other version"
        case rule:
            examples = error.schema.get("examples")
            yield (
                at,
                f"must have {rule} {json.dumps(expected)}"
                + (f", for example {json.dumps(examples[0])}" if examples else ""),
            )


def seconds_of(text: str) -> float:
    """Convert a duration of the form."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return int(match[1]) * _UNITS[match[2]]


def workflow_of(document: Document, refused: list[Finding]) -> Workflow:
    """Build the terms of all that the form takes; a step with a mistake in its form is `Unreadable`."""
    return _Reader([finding.pointer for finding in refused]).workflow(document.value)


class _Reader:
    """Builds terms, and leaves out what the form refused."""

    def __init__(self, refused: list[str]) -> None:
        self._refused = refused

    def _is_good(self, at: str) -> bool:
        """Whether the form takes all that is at and below a place."""
        return not any(place == at or place.startswith(f"{at}/") for place in self._refused)

    def _part(self, value: Any, at: str, name: str, default: Any = None) -> Any:
        return value.get(name, default) if isinstance(value, dict) and self._is_good(f"{at}/{name}") else default

    def workflow(self, value: Any) -> Workflow:
        timeout = self._part(value, "", "timeout")
        handlers = value.get("handlers") if isinstance(value, dict) else None
        triggers = self._part(value, "", "triggers", [])
        return Workflow(
            id=self._part(value, "", "id", ""),
            version=self._part(value, "", "version", 0),
            title=self._part(value, "", "title", ""),
            description=self._part(value, "", "description", ""),
            integrations=self._part(value, "", "integrations", {}),
            params=self._part(value, "", "params", {}),
            triggers=tuple(_trigger(each, f"/triggers/{number}") for number, each in enumerate(triggers)),
            block=self._block(value.get("do") if isinstance(value, dict) else None, "/do"),
            handlers={
                name: self._block(each.get("do"), f"/handlers/{name}/do")
                for name, each in (handlers.items() if isinstance(handlers, dict) else ())
                if isinstance(each, dict)
            },
            timeout_s=seconds_of(timeout) if timeout is not None else None,
        )

    def _block(self, value: Any, at: str) -> Block:
        steps = value if isinstance(value, list) else []
        return Block(at, tuple(self._step(each, f"{at}/{number}") for number, each in enumerate(steps)))

    def _step(self, value: Any, at: str) -> Step:
        given = value if isinstance(value, dict) else {}
        name, timeout, catch = (self._part(given, at, each) for each in ("id", "timeout", "catch"))
        return Step(
            id=name or "",
            at=at,
            does=self._does(given, at),
            condition=self._part(given, at, "if"),
            timeout_s=seconds_of(timeout) if timeout is not None else None,
            catch=Catch(catch["handler"], tuple(catch["errors"]) if "errors" in catch else None) if catch else None,
            then=self._part(given, at, "then"),
        )

    def _does(self, given: dict[str, Any], at: str) -> Does:
        kind = next((name for name in _KINDS if name in given), None)
        if kind is None or at in self._refused:
            return Unreadable()
        match kind:
            case "switch" if isinstance(given["switch"], list):
                return Switch(
                    tuple(self._case(each, f"{at}/switch/{number}") for number, each in enumerate(given["switch"]))
                )
            case "fork" if isinstance(given["fork"], dict):
                return self._fork(given["fork"], f"{at}/fork")
            case "for" if self._is_good(f"{at}/for"):
                loop = given["for"]
                return Loop(loop["each"], loop["in"], loop.get("at_most"), self._block(given.get("do"), f"{at}/do"))
        return _simple(kind, given, at) if self._is_good(at) else Unreadable()

    def _case(self, value: Any, at: str) -> Case:
        given = value if isinstance(value, dict) else {}
        # A condition that the form refuses is not one that is always true.
        when = given.get("when") if self._is_good(f"{at}/when") else "true"
        return Case(when, self._block(given.get("do"), f"{at}/do"), at)

    def _fork(self, value: dict[str, Any], at: str) -> Fork:
        given = value.get("branches")
        branches = {
            name: self._block(each.get("do"), f"{at}/branches/{name}/do")
            for name, each in (given.items() if isinstance(given, dict) else ())
            if isinstance(each, dict)
        }
        join = self._part(value, at, "join")
        return Fork(branches, tuple(join) if join is not None else None)


def _trigger(given: Mapping[str, Any], at: str) -> Trigger:
    names = ("cron", "timezone", "event", "where", "webhook")
    return Trigger(at=at, given=given.get("with", {}), **{name: given.get(name) for name in names})


def _simple(kind: str, given: Mapping[str, Any], at: str) -> Does:
    read: dict[str, Callable[[], Does]] = {
        "call": lambda: _call(given, at),
        "set": lambda: Assign(given["set"]),
        "raise": lambda: Raise(given["raise"]),
        "cancel": lambda: Cancel(given["cancel"]),
        "wait": lambda: Wait(seconds_of(given["wait"])),
        "listen": lambda: Listen(given["listen"]["event"], given["listen"].get("where")),
        "decide": lambda: _decide(given["decide"]),
    }
    return read[kind]() if kind in read else Unreadable()


def _decide(asked: Mapping[str, Any]) -> Decide:
    return Decide(asked["question"], tuple(asked["options"]), asked.get("default"), asked.get("shows", {}))


def _call(given: Mapping[str, Any], at: str) -> Call:
    retry = given.get("retry", {})
    return Call(
        called=_called(given, at),
        key=given.get("key"),
        undo=_called(given["undo"], f"{at}/undo") if "undo" in given else None,
        pivot=given.get("pivot", False),
        retry=Retry(
            limit=retry.get("limit", Retry.limit),
            delay_s=seconds_of(retry["delay"]) if "delay" in retry else Retry.delay_s,
            exponential=retry.get("backoff", "exponential") == "exponential",
            errors=tuple(retry.get("errors", Retry.errors)),
        ),
    )


def _called(given: Mapping[str, Any], at: str) -> Called:
    integration, _, action = given["call"].partition(".")
    return Called(integration, action, given.get("with", {}), at)
