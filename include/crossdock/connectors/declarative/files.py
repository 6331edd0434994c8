"""Read declarations from YAML files; report every mistake with its line."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from crossdock.connectors.declarative.model import Declaration
from crossdock.core import yaml_document
from crossdock.core.decoding import prepare
from crossdock.core.errors import BadRequest, NotFound
from crossdock.core.log import logger
from crossdock.core.yaml_document import Mistake
from crossdock.integrations.json_schema import validator_of

log = logger(__name__)

prepare(Declaration)

#: Of a checkout, whose package is not copied into the environment.
_OF_CHECKOUT = Path(__file__).parents[4] / "dags" / "integrations"

#: Checks that the schema cannot express; they yield (JSON pointer, message).
Checks = Callable[[Declaration], Iterable[tuple[str, str]]]


class InvalidDeclaration(BadRequest):
    """A declaration is not valid; `mistakes` lists every mistake with its line."""

    def __init__(self, path: Path, mistakes: Iterable[Mistake]) -> None:
        self.path, self.mistakes = path, tuple(mistakes)
        super().__init__("\n".join([f"{path} is not valid:", *(f"  {mistake}" for mistake in self.mistakes)]))


def folder() -> Path:
    """
    Find the folder of the declarations: `integrations` beside our DAG files, so that a deployment ships both together.

    `HUB_DECLARATIONS` names another one, for an Airflow whose own DAGs folder is not ours.
    """
    if named := os.environ.get("HUB_DECLARATIONS"):
        return Path(named)
    if _OF_CHECKOUT.is_dir():
        return _OF_CHECKOUT
    return Path(os.environ.get("AIRFLOW__CORE__DAGS_FOLDER", "dags")) / "integrations"


def paths(place: Path | None = None) -> dict[str, Path]:
    """List the declaration files by name."""
    return {path.stem: path for path in sorted((place or folder()).glob("*.yaml"))}


def find(name: str) -> Declaration:
    """
    Read the declaration called *name*.

    Raises:
        NotFound: there is none; the message lists the existing ones.
        InvalidDeclaration: it is not valid.

    """
    known = paths()
    if name not in known:
        raise not_found(name)
    return read(known[name])


def not_found(name: str) -> NotFound:
    """Build the error for a declaration that does not exist; it lists the existing ones."""
    known = ", ".join(paths()) or "none"
    return NotFound(f"The declaration {name}.yaml does not exist in {folder()}. Existing declarations: {known}")


def read(path: Path, more_checks: Checks = lambda _: ()) -> Declaration:
    """
    Read and validate the declaration in *path*.

    Raises:
        InvalidDeclaration: it is not valid; lists every mistake that this pass can detect.

    """
    document, lines, mistakes = yaml_document.read_numbered(path)
    if mistakes:
        raise InvalidDeclaration(path, sorted(mistakes, key=lambda mistake: mistake.line))
    _spell_null(document)
    form = list(_guarded(path, _against_schema(document)))
    found = [*form, *_guarded(path, _expressions(document)), *_name(path.stem)]
    declaration = None
    try:
        declaration = msgspec.convert({**_without(document, form), "name": path.stem}, Declaration)
    except msgspec.ValidationError as error:
        # What the schema lets through, such as 100.0 for a whole number.
        found += [] if form else [("", str(error))]
    if declaration is not None:
        more = _guarded(path, more_checks(declaration))
        found += [mistake for mistake in more if not _may_follow(mistake[0], form)]
    if declaration is None or found:
        placed = (yaml_document.mistake_at(lines, *mistake) for mistake in found)
        raise InvalidDeclaration(path, sorted(placed, key=lambda mistake: mistake.line))
    return declaration


def _guarded(path: Path, checks: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield what *checks* find. If they fail, that is a mistake of this file: others are read all the same."""
    try:
        yield from checks
    except Exception as error:
        log.exception("The checks of %s failed", path)
        yield "", f"cannot be checked: {type(error).__name__} (a defect of the hub; the log says where)"


def _without(document: Any, form: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Copy *document* without the places whose form is wrong: what else is wrong is found in the same pass."""
    left: dict[str, Any] = copy.deepcopy(document) if isinstance(document, dict) else {}
    for pointer, _ in form:
        *above, last = _steps(pointer)
        place: Any = left
        for step in above:
            place = place.get(step) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place.pop(last, None)
    return left


def _steps(pointer: str) -> list[str]:
    """Split a pointer; one into a field of the mapping leads to the field: what is left of it may mean something else."""
    steps = pointer.split("/")[1:] or [""]
    return steps[:2] if steps[0] == "mapping" else steps


def _may_follow(pointer: str, form: Iterable[tuple[str, str]]) -> bool:
    """Check whether a mistake at *pointer* may follow from a wrong *form*, and would be gone with it."""
    steps = pointer.split("/")[1:]
    for wrong in (_steps(place) for place, _ in form):
        near = wrong if wrong[0] == "mapping" else wrong[:-1] or wrong
        if wrong[0] == "actions" and wrong[2:3] == ["params"]:
            near = wrong[:2]  # all of an action reads its params
        # A lookup is checked against another action.
        is_of_another = wrong[0] == "actions" and steps[:1] == ["actions"] and steps[2:3] == ["lookup"]
        # All is checked against the target's columns, and an expectation may be about a field that is wrong.
        is_about_all = wrong[0] == "target" or (wrong[0] == "mapping" and steps[:1] == ["expectations"])
        if is_about_all or is_of_another or steps[: len(near)] == near or near[: len(steps)] == steps:
            return True
    return False


def _spell_null(document: Any) -> None:
    """Take `empty: null` and `missing: null` for the word: YAML reads it as no value."""
    for field in _fields_in(document):
        for name in ("empty", "missing"):
            if isinstance(field, dict) and name in field and field[name] is None:
                field[name] = "null"


def _fields_in(document: Any) -> Iterator[Any]:
    """Yield what stands where fields do: in the mapping, and in the answers of actions."""
    found = document if isinstance(document, dict) else {}
    actions = found.get("actions")
    places = [found.get("mapping")]
    places += (
        [each.get("answer") for each in actions.values() if isinstance(each, dict)] if isinstance(actions, dict) else []
    )
    for place in places:
        yield from place.values() if isinstance(place, dict) else ()


def _against_schema(document: Any) -> Iterator[tuple[str, str]]:
    for error in _validator().iter_errors(document):
        pointer = "".join(f"/{step}" for step in error.absolute_path)
        match error.validator:
            case "additionalProperties":
                known = error.schema.get("properties", {})
                for name in set(error.instance) - set(known):
                    yield f"{pointer}/{name}", f"is not known; known fields: {', '.join(known)}"
            case "pattern" if "propertyNames" in error.absolute_schema_path:
                yield f"{pointer}/{error.instance}", "is not a valid name: use lowercase letters, digits and _"
            case "pattern" if pointer == "/title":
                yield pointer, "must be printable: no line breaks, control or format characters"
            case "enum":
                yield pointer, f"must be one of {', '.join(map(str, error.validator_value))}"
            case "required":
                missing = [name for name in error.validator_value if name not in error.instance]
                # jsonschema reports each missing field separately; only its text says which one this is.
                yield from (
                    (f"{pointer}/{name}", _missing(error, name)) for name in missing if f"{name!r}" in error.message
                )
            case _:
                yield pointer, str(error.message)


def _missing(error: Any, name: str) -> str:
    """Say what the missing field is for, where the `kind` of its place needs it and others do not."""
    steps = list(error.absolute_schema_path)
    if "allOf" not in steps:
        return "is missing"
    kind = error.instance["kind"]  # each condition of an `allOf` requires it
    place: Any = schema()
    for step in steps[: steps.index("allOf")]:
        place = place[step]
    return f"is missing: {kind} needs it. {place['properties'][name]['description']}"


@cache
def schema() -> dict[str, Any]:
    """Read the JSON Schema of a declaration: each field has its description, `auth` and `read.paging` examples of each kind."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "declaration.schema.json").read_text())
    return found


@cache
def _validator() -> Any:
    return validator_of(schema())


#: Where a declaration has a JMESPath, besides its mapping.
_EXPRESSIONS = (
    "/read/records",
    *(f"/read/paging/{name}" for name in ("next", "value", "total", "more", "past_end_if")),
    *(f"/identity/{name}" for name in ("id", "version", "changed_at", "key")),
)
#: How to write one in YAML, which takes away its outer quotes.
_QUOTES = (
    "Names with other characters than letters, digits and _ go into double quotes, texts into apostrophes, numbers into "
    "backticks, and the whole into the other quotes of YAML, such as '\"Item No\"', \"state == 'open'\" or 'total > `1`'"
)


def _expressions(document: Any) -> Iterator[tuple[str, str]]:
    """Compile each JMESPath of *document*, whatever else is wrong with it."""
    import jmespath  # type: ignore[import-untyped]  # noqa: PLC0415  as above
    from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped]  # noqa: PLC0415

    from crossdock.core.calculations import wrong_call_in  # noqa: PLC0415  imports JMESPath

    mapping = _at(document, "/mapping")
    paths = [f"/mapping/{name}/path" for name in mapping] if isinstance(mapping, dict) else []
    for pointer in (*_EXPRESSIONS, *paths):
        expression = _at(document, pointer)
        if isinstance(expression, str) and expression:
            try:
                cause = wrong_call_in(jmespath.compile(expression).parsed)
            except JMESPathError as error:
                yield pointer, f"is not a JMESPath expression: {str(error).splitlines()[0].rstrip(':')}. {_QUOTES}"
                continue
            if cause:
                yield pointer, cause


def _at(document: Any, pointer: str) -> Any:
    """Find the value at *pointer*; None where there is none."""
    for step in pointer.split("/")[1:]:
        document = document.get(step) if isinstance(document, dict) else None
    return document


def _name(name: str) -> Iterator[tuple[str, str]]:
    if not (name.isidentifier() and name.islower() and name.isascii() and len(name) < 60):  # noqa: PLR2004
        yield (
            "",
            f"invalid file name {name}: use lowercase letters, digits and _ (it also names a DAG and a connection)",
        )
