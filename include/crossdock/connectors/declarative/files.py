"""Read declarations from YAML files; report every mistake with its line."""

from __future__ import annotations

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
from crossdock.core.yaml_document import Mistake
from crossdock.integrations.json_schema import validator_of

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
    _spell_null(document)
    if not mistakes:
        mistakes = [yaml_document.mistake_at(lines, *mistake) for mistake in _against_schema(document)]
    if mistakes:
        raise InvalidDeclaration(path, sorted(mistakes, key=lambda mistake: mistake.line))
    try:
        declaration = msgspec.convert({**document, "name": path.stem}, Declaration)
    except msgspec.ValidationError as error:
        # What the schema lets through, such as 100.0 for a whole number.
        raise InvalidDeclaration(path, [Mistake(1, "", str(error))]) from error
    found = [
        yaml_document.mistake_at(lines, *mistake)
        for mistake in (*_expressions(declaration), *_name(declaration), *more_checks(declaration))
    ]
    if found:
        raise InvalidDeclaration(path, sorted(found, key=lambda mistake: mistake.line))
    return declaration


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


def _expressions(declaration: Declaration) -> Iterator[tuple[str, str]]:
    import jmespath  # type: ignore[import-untyped]  # noqa: PLC0415  as above
    from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped]  # noqa: PLC0415

    from crossdock.core.calculations import wrong_call_in  # noqa: PLC0415  imports JMESPath

    read, identity = declaration.read, declaration.identity
    expressions = {
        "/read/records": read.records,
        "/read/paging/next": read.paging.next,
        "/read/paging/value": read.paging.value,
        "/read/paging/total": read.paging.total,
        "/read/paging/more": read.paging.more,
        "/read/paging/past_end_if": read.paging.past_end_if,
        "/identity/id": identity.id,
        "/identity/version": identity.version,
        "/identity/changed_at": identity.changed_at,
        "/identity/key": identity.key,
        **{f"/mapping/{name}/path": field.path for name, field in declaration.mapping.items()},
    }
    for pointer, expression in expressions.items():
        if expression:
            try:
                cause = wrong_call_in(jmespath.compile(expression).parsed)
            except JMESPathError as error:
                cause = f"is not a JMESPath expression: {str(error).splitlines()[0]}"
            if cause:
                yield pointer, cause


def _name(declaration: Declaration) -> Iterator[tuple[str, str]]:
    name = declaration.name
    if not (name.isidentifier() and name.islower() and name.isascii() and len(name) < 60):  # noqa: PLR2004
        yield (
            "",
            f"invalid file name {name}: use lowercase letters, digits and _ (it also names a DAG and a connection)",
        )
