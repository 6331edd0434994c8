"""
YAML of bounded size. The only module that reads YAML.

Nine lines can stand for a billion nodes, because an alias repeats what its anchor names; others nest too deep for any
parser, or hold a number of a million digits. All of it is refused before a document is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdock.core.errors import BadRequest

_MOST_CHARACTERS = 512 * 1024
#: With each alias counted as often as it repeats its anchor. A declaration has some hundreds.
_MOST_NODES = 50_000
_DEEPEST = 64
#: Digits of a number. To turn them into one takes time by their square.
_LONGEST_NUMBER = 64
_NUMBER = re.compile(r"[-+.]?[0-9][-+0-9A-Fa-f_:.eExo]*")
_NUMBER_TAGS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})

#: What the parser says of a value that begins with a quote and goes on after it, has a colon, or begins with ` @ or %.
_OF_QUOTES = (
    "cannot start any token",
    "did not find expected key",
    "expected <block end>",
    "mapping values are not allowed",
)
_QUOTES = (
    ". A value with quotes, `: `, or a backtick, @ or % at its beginning goes as a whole into apostrophes, with each apostrophe "
    "inside it doubled: '\"Item No\"', 'state == ''open''', 'total > `1`'"
)


class InvalidYaml(BadRequest):
    """A text is not YAML, or not of bounded size; *line* counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        self.line, self.problem = line, problem
        super().__init__(f"line {line}: {problem}")


@dataclass(frozen=True)
class Mistake:
    """One mistake at one place of a file, named by its JSON pointer."""

    line: int
    pointer: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.pointer or '/'}: {self.message}"


@dataclass(frozen=True)
class YamlDocument:
    """A document as PyYAML's nodes, which know their lines; *root* is None where there is nothing."""

    root: Any
    _loader: Any

    def value(self) -> Any:
        """
        Build the value. It merges mappings (`<<`) into the nodes: read their lines before.

        Raises:
            InvalidYaml: a value is none of its type, such as the 31st of February.

        """
        from yaml import YAMLError  # type: ignore[import-untyped]  # noqa: PLC0415  as below

        try:
            return None if self.root is None else self._loader.construct_document(self.root)
        except YAMLError as error:
            raise _invalid(error) from error
        except (ValueError, OverflowError) as error:
            raise InvalidYaml(1, f"a value cannot be read: {error}. Write it in quotes") from error


def read(path: Path) -> YamlDocument:
    """
    Read the one document in *path*.

    Raises:
        InvalidYaml: it is not YAML, or too large.
        OSError: the file cannot be read.
        UnicodeDecodeError: it is not UTF-8.

    """
    with path.open(encoding="utf-8") as file:
        return parsed(file.read(_MOST_CHARACTERS + 1))


def parsed(text: str) -> YamlDocument:
    """
    Read the one document in *text*.

    Raises:
        InvalidYaml: it is not YAML, or too large.

    """
    import yaml  # noqa: PLC0415  few processes read YAML

    if len(text) > _MOST_CHARACTERS:
        raise InvalidYaml(1, f"is too large: at most {_MOST_CHARACTERS:,} characters are read")
    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _refuse_unbounded(yaml.parse(text, Loader=kind))
        loader = kind(text)
        return YamlDocument(loader.get_single_node(), loader)
    except yaml.YAMLError as error:
        raise _invalid(error) from error


def read_numbered(path: Path) -> tuple[Any, dict[str, int], list[Mistake]]:
    """Read the value in *path*, the line of each place by JSON pointer, and the mistakes in the YAML itself."""
    try:
        with path.open(encoding="utf-8") as file:
            return numbered(file.read(_MOST_CHARACTERS + 1))
    except OSError as error:
        return None, {}, [Mistake(1, "", f"cannot be read: {error.strerror}")]
    except UnicodeDecodeError:
        return None, {}, [Mistake(1, "", "cannot be read: it is not UTF-8")]


def numbered(text: str) -> tuple[Any, dict[str, int], list[Mistake]]:
    """Read the value of *text*, the line of each place by JSON pointer, and the mistakes in the YAML itself."""
    lines: dict[str, int] = {}
    try:
        document = parsed(text)
        mistakes = [] if document.root is None else list(_walk(document.root, "", lines))
        return document.value(), lines, mistakes
    except InvalidYaml as error:
        return None, {}, [Mistake(error.line, "", error.problem)]


def mistake_at(lines: Mapping[str, int], pointer: str, message: str) -> Mistake:
    """Create the mistake with the line of its place, or of the nearest enclosing place that exists."""
    place = pointer
    while place not in lines and place:
        place = place.rpartition("/")[0]
    return Mistake(lines.get(place, 1), pointer, message)


#: YAML reads the name `on` as true, and `1` as a number. `<<` merges another mapping.
_TEXT_KEYS = frozenset({"tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"})


def _walk(node: Any, pointer: str, lines: dict[str, int]) -> Iterator[Mistake]:
    """Record the line of each place. A duplicate key is a mistake that the YAML parser does not report."""
    lines[pointer] = node.start_mark.line + 1
    if node.id == "mapping":
        seen = set()
        for key, value in node.value:
            if key.tag not in _TEXT_KEYS:
                yield Mistake(key.start_mark.line + 1, pointer, "has a name that is not text; write it in quotes")
                continue
            inner = f"{pointer}/{key.value}"
            if key.value in seen:
                yield Mistake(key.start_mark.line + 1, inner, "is a duplicate key")
            seen.add(key.value)
            yield from _walk(value, inner, lines)
            lines[inner] = key.start_mark.line + 1
    elif node.id == "sequence":
        for number, value in enumerate(node.value):
            yield from _walk(value, f"{pointer}/{number}", lines)


def _refuse_unbounded(events: Iterable[Any]) -> None:
    """Count the nodes, from the parser's events: nothing is built, and no function calls itself."""
    sizes: dict[str | None, int] = {}
    #: Of the collections that are open: their anchor, and how many nodes there were before them.
    opened: list[tuple[str | None, int]] = []
    nodes = 0
    for event in events:
        line, anchor = event.start_mark.line + 1, getattr(event, "anchor", None)
        match type(event).__name__:
            case "AliasEvent":
                if any(name == anchor for name, _ in opened):
                    raise InvalidYaml(line, f"*{anchor} contains itself")
                nodes += sizes.get(anchor, 1)
            case "ScalarEvent":
                _refuse_long_number(event, line)
                nodes += 1
                sizes[anchor] = 1
            case "SequenceStartEvent" | "MappingStartEvent":
                opened.append((anchor, nodes))
                nodes += 1
            case "SequenceEndEvent" | "MappingEndEvent":
                name, before = opened.pop()
                sizes[name] = nodes - before
        if nodes > _MOST_NODES:
            raise InvalidYaml(
                line, f"is too large: with its aliases written out it has more than {_MOST_NODES:,} values"
            )
        if len(opened) > _DEEPEST:
            raise InvalidYaml(line, f"nests deeper than {_DEEPEST} levels")


def _refuse_long_number(event: Any, line: int) -> None:
    if len(event.value) <= _LONGEST_NUMBER:
        return
    if event.tag in _NUMBER_TAGS or (event.implicit[0] and _NUMBER.fullmatch(event.value)):
        raise InvalidYaml(line, f"is a number of more than {_LONGEST_NUMBER} digits; write text in quotes")


def _invalid(error: Any) -> InvalidYaml:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "is not YAML"
    hint = _QUOTES if any(sign in problem for sign in _OF_QUOTES) else ""
    return InvalidYaml(mark.line + 1 if mark else 1, problem + hint)
