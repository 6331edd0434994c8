"""The answers that a person gives to a test run: for each step a list, one for each try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from crossdock.core import yaml_document
from crossdock.core.errors import BadRequest
from crossdock.integrations.json_schema import errors_in
from crossdock.workflows.declared.model import Workflow

_FIELDS = ("status", "output", "message", "delay_s")
_MOST_ANSWERS = 100
_LONGEST_DELAY_S = 366 * 86400.0


class Status(StrEnum):
    """How a try of a step ends. All but the first are the errors of `retry` and `catch`."""

    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    DECLINED = "declined"


@dataclass(frozen=True)
class Answer:
    """How one try ends, and after how long."""

    status: Status = Status.DONE
    #: None for a sample.
    output: Any = None
    message: str | None = None
    delay_s: float = 0.0
    is_sample: bool = False


def read(text: str, workflow: Workflow) -> dict[str, list[Answer]]:
    """
    Read answers in YAML or JSON: step → list of `{status, output, message, delay_s}`, each with a default.

    Raises:
        BadRequest: a step does not exist, or an answer is not valid; the message names the place.

    """
    document, _, mistakes = yaml_document.numbered(text)
    if mistakes:
        raise BadRequest(f"The answers are not valid: {mistakes[0]}")
    return answers_of(document, workflow)


def answers_of(document: Any, workflow: Workflow) -> dict[str, list[Answer]]:
    """
    Take answers as they were read.

    Raises:
        BadRequest: as `read`.

    """
    if not isinstance(document, Mapping):
        raise BadRequest("The answers must be an object: step → list of answers")
    steps = {step.id for step in workflow.steps()}
    found: dict[str, list[Answer]] = {}
    for name, given in document.items():
        if name not in steps:
            raise BadRequest(f"/{name}: the workflow has no such step. Its steps: {', '.join(sorted(steps))}")
        if not isinstance(given, list) or len(given) > _MOST_ANSWERS:
            raise BadRequest(f"/{name}: must be a list of {_MOST_ANSWERS} answers at most, one for each try")
        found[name] = [_answer(each, f"/{name}/{number}") for number, each in enumerate(given)]
    return found


def read_params(text: str, workflow: Workflow) -> dict[str, Any]:
    """
    Read params in YAML or JSON, and validate each against its schema.

    Raises:
        BadRequest: one is not declared, or not valid; the message names it, never its value.

    """
    document, _, mistakes = yaml_document.numbered(text)
    if mistakes:
        raise BadRequest(f"The params are not valid: {mistakes[0]}")
    return params_of(document, workflow)


def params_of(document: Any, workflow: Workflow) -> dict[str, Any]:
    """
    Validate params as they were read.

    Raises:
        BadRequest: as `read_params`.

    """
    if not isinstance(document, Mapping):
        raise BadRequest("The params must be an object: param → value")
    for name, value in document.items():
        if name not in workflow.params:
            raise BadRequest(f"/{name}: is not a param. Params: {', '.join(workflow.params) or 'none'}")
        if error := next(errors_in(workflow.params[name], value, f"/{name}"), None):
            raise BadRequest(f"{error.pointer}: {error.message}")
    return dict(document)


def _answer(given: Any, at: str) -> Answer:
    if not isinstance(given, Mapping) or (set(given) - set(_FIELDS)):
        raise BadRequest(f"{at}: must be an object with any of {', '.join(_FIELDS)}")
    if (status := given.get("status", "done")) not in set(Status):
        raise BadRequest(f"{at}/status: must be one of {', '.join(Status)}")
    delay, message = given.get("delay_s", 0), given.get("message")
    if not isinstance(delay, (int, float)) or isinstance(delay, bool) or not 0 <= delay <= _LONGEST_DELAY_S:
        raise BadRequest(f"{at}/delay_s: must be a number of seconds from 0 to {_LONGEST_DELAY_S:,.0f}")
    if message is not None and not isinstance(message, str):
        raise BadRequest(f"{at}/message: must be a text")
    return Answer(Status(status), given.get("output"), message, float(delay))
