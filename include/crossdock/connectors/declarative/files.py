"""Declarations as files: YAML in, a `Declaration` out, or every mistake with its line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from crossdock.connectors.declarative.model import Declaration, Mistake
from crossdock.core.errors import BadRequest

#: Beside the DAGs, so that a deployment ships both together.
FOLDER = Path(__file__).parents[4] / "dags" / "integrations"

#: What the schema cannot say: (JSON pointer, what is wrong) of a declaration.
Checks = Callable[[Declaration], Iterable[tuple[str, str]]]


class DeclarationWrong(BadRequest):
    """A declaration that cannot be used; `mistakes` names every place by its line."""

    def __init__(self, path: Path, mistakes: Iterable[Mistake]) -> None:
        self.path, self.mistakes = path, tuple(mistakes)
        super().__init__("\n".join([f"{path} is no declaration:", *(f"  {each}" for each in self.mistakes)]))


def paths(folder: Path = FOLDER) -> dict[str, Path]:
    """The declarations' files by name."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read(path: Path, more_checks: Checks = lambda _: ()) -> Declaration:
    """
    The declaration in *path*.

    Raises:
        DeclarationWrong: it is none; every mistake that can be seen at once is named.

    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise DeclarationWrong(path, [Mistake(1, "", f"cannot be read: {type(error).__name__}")]) from error
    document, lines, mistakes = _parsed(text)
    if not mistakes:
        mistakes = [_at(lines, *each) for each in _against_schema(document)]
    if mistakes:
        raise DeclarationWrong(path, sorted(mistakes, key=lambda each: each.line))
    declaration = msgspec.convert({**document, "name": path.stem}, Declaration)
    found = [_at(lines, *each) for each in (*_expressions(declaration), *_name(declaration), *more_checks(declaration))]
    if found:
        raise DeclarationWrong(path, sorted(found, key=lambda each: each.line))
    return declaration


def _parsed(text: str) -> tuple[Any, dict[str, int], list[Mistake]]:
    """The document, the line of each of its places by JSON pointer, and what YAML itself has against it."""
    import yaml  # type: ignore[import-untyped]  # noqa: PLC0415  asked for where there is a declaration

    lines: dict[str, int] = {}
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader)
        twice = list(_walk(node, "", lines)) if node is not None else []
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or "is no YAML"
        return None, {}, [Mistake(mark.line + 1 if mark else 1, "", said)]
    except RecursionError:
        return None, {}, [Mistake(1, "", "nests too deeply")]
    return document, lines, twice


def _walk(node: Any, pointer: str, lines: dict[str, int]) -> Iterator[Mistake]:
    """Notes the line of each place; a name that an object has twice is a mistake, of which YAML says nothing."""
    lines[pointer] = node.start_mark.line + 1
    if node.id == "mapping":
        seen = set()
        for key, value in node.value:
            inner = f"{pointer}/{key.value}"
            if key.value in seen:
                yield Mistake(key.start_mark.line + 1, inner, "stands here a second time")
            seen.add(key.value)
            yield from _walk(value, inner, lines)
            lines[inner] = key.start_mark.line + 1
    elif node.id == "sequence":
        for number, value in enumerate(node.value):
            yield from _walk(value, f"{pointer}/{number}", lines)


def _at(lines: Mapping[str, int], pointer: str, message: str) -> Mistake:
    """The mistake with the line of its place, or of the nearest one around it that is there."""
    place = pointer
    while place not in lines and place:
        place = place.rpartition("/")[0]
    return Mistake(lines.get(place, 1), pointer, message)


def _against_schema(document: Any) -> Iterator[tuple[str, str]]:
    for error in _validator().iter_errors(document):
        pointer = "".join(f"/{step}" for step in error.absolute_path)
        match error.validator:
            case "additionalProperties":
                known = error.schema.get("properties", {})
                for name in set(error.instance) - set(known):
                    yield f"{pointer}/{name}", f"is not known; known are {', '.join(known)}"
            case "pattern" if "propertyNames" in error.absolute_schema_path:
                yield f"{pointer}/{error.instance}", "is no name: small letters, digits and _"
            case "enum":
                yield pointer, f"must be one of {', '.join(error.validator_value)}"
            case "required":
                missing = [name for name in error.validator_value if name not in error.instance]
                # jsonschema reports each on its own, and only its text says which this is.
                yield from ((f"{pointer}/{name}", "is missing") for name in missing if f"{name!r}" in error.message)
            case _:
                yield pointer, str(error.message)


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # noqa: PLC0415  as above

    return Draft202012Validator(json.loads((Path(__file__).parent / "declaration.schema.json").read_text()))


def _expressions(declaration: Declaration) -> Iterator[tuple[str, str]]:
    import jmespath  # type: ignore[import-untyped]  # noqa: PLC0415  as above
    from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped]  # noqa: PLC0415

    read, identity = declaration.read, declaration.identity
    expressions = {
        "/read/records": read.records,
        "/read/paging/next": read.paging.next,
        "/read/paging/value": read.paging.value,
        "/identity/id": identity.id,
        "/identity/version": identity.version,
        "/identity/changed_at": identity.changed_at,
        "/identity/key": identity.key,
        **{f"/mapping/{name}/path": field.path for name, field in declaration.mapping.items()},
    }
    for pointer, expression in expressions.items():
        if expression:
            try:
                jmespath.compile(expression)
            except JMESPathError as error:
                yield pointer, f"is no JMESPath: {str(error).splitlines()[0]}"


def _name(declaration: Declaration) -> Iterator[tuple[str, str]]:
    name = declaration.name
    if not (name.isidentifier() and name.islower() and name.isascii() and len(name) < 60):  # noqa: PLR2004
        yield "", f"the file is called {name}: use small letters, digits and _, it names a DAG and a connection too"
