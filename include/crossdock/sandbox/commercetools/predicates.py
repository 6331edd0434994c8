"""
The vendor's query predicates: parses a text into a tree, and compiles the tree into a test.

`sku in ("A", "B") and supplyChannel(id = "…") and (quantityOnStock > 3 or key is defined)` becomes a tree of
frozen nodes (`parse`), and the tree a function from a document to True or False (`compile_predicate`).

A comparison with an array holds if it holds for any element. A missing field satisfies `!=` and `not in` and
no other comparison. Fields that are instants by their name compare as instants, however they are written.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossdock.sandbox.engine import clock

Document = Mapping[str, Any]
Test = Callable[[Document], bool]

_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_KEYWORDS = {"and", "or", "not", "in", "is", "contains", "any", "all", "defined", "empty", "true", "false", "within"}
#: How deep parentheses may nest: a deeper predicate could overflow the stack.
_MAX_DEPTH = 40

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<operator><=|>=|<>|!=|=|<|>)
      | (?P<variable>:[A-Za-z_]\w*)
      | (?P<name>[A-Za-z_][\w-]*|`[^`]+`)
      | (?P<mark>[(),])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r'\\(u[0-9a-fA-F]{4}|["\\/bfnrt])')
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class MalformedPredicateError(ValueError):
    """The text is not a valid predicate; the message says what was found and what was expected."""


@dataclass(frozen=True)
class Literal:
    """A value in a predicate. The text of a variable may stand for all three; the field's type decides which counts."""

    text: str | None = None
    number: float | None = None
    flag: bool | None = None


@dataclass(frozen=True)
class Compare:
    field: str
    operator: str
    value: Literal


@dataclass(frozen=True)
class In:
    field: str
    values: tuple[Literal, ...]


@dataclass(frozen=True)
class Contains:
    field: str
    every: bool
    values: tuple[Literal, ...]


@dataclass(frozen=True)
class Defined:
    field: str


@dataclass(frozen=True)
class Empty:
    field: str


@dataclass(frozen=True)
class Nested:
    field: str
    inner: "Node"


@dataclass(frozen=True)
class Not:
    inner: "Node"


@dataclass(frozen=True)
class And:
    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Or:
    parts: tuple["Node", ...]


Node = Compare | In | Contains | Defined | Empty | Nested | Not | And | Or


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    at: int


def _tokens(text: str) -> list[Token]:
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise MalformedPredicateError(
                f"Syntax error while parsing 'where': unexpected {text[at : at + 12]!r} at {at}."
            )
        group = str(match.lastgroup)
        kind, word = group, match[group]
        if kind == "name" and word.lower() in _KEYWORDS:
            kind, word = "keyword", word.lower()
        found.append(Token(kind, word.strip("`") if kind == "name" else word, match.start(group)))
        at = match.end()
    return found


def _unescaped(quoted: str) -> str:
    return _ESCAPE.sub(lambda m: chr(int(m[1][1:], 16)) if m[1][0] == "u" else _ESCAPED.get(m[1], m[1]), quoted[1:-1])


def _number(text: str) -> float | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


def variable(text: str) -> Literal:
    """Make the literal for the text of a variable, whose type was lost in the query string."""
    return Literal(text, _number(text), {"true": True, "false": False}.get(text))


class _Parser:
    def __init__(self, text: str, variables: Mapping[str, Sequence[str]]) -> None:
        self._tokens = _tokens(text)
        self._variables = variables
        self._next = 0
        self._depth = 0

    def parse(self) -> Node:
        tree = self._or()
        if self._peek() is not None:
            raise self._unexpected("'and', 'or' or the end")
        return tree

    def _peek(self, ahead: int = 0) -> Token | None:
        at = self._next + ahead
        return self._tokens[at] if at < len(self._tokens) else None

    def _accept(self, *texts: str) -> str | None:
        token = self._peek()
        if token is None or token.kind in ("string", "name") or token.text not in texts:
            return None
        self._next += 1
        return token.text

    def _expect(self, *texts: str) -> str:
        text = self._accept(*texts)
        if text is None:
            raise self._unexpected(" or ".join(f"'{t}'" for t in texts))
        return text

    def _unexpected(self, expected: str) -> MalformedPredicateError:
        token = self._peek()
        found = f"'{token.text}' at {token.at}" if token else "the end"
        return MalformedPredicateError(f"Syntax error while parsing 'where': expected {expected}, found {found}.")

    def _or(self) -> Node:
        parts = [self._and()]
        while self._accept("or"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _and(self) -> Node:
        parts = [self._operand()]
        while self._accept("and"):
            parts.append(self._operand())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _operand(self) -> Node:
        if self._accept("not"):
            return Not(self._parenthesised())
        token = self._peek()
        if token is not None and token.text == "(" and token.kind == "mark":
            return self._parenthesised()
        return self._term()

    def _parenthesised(self) -> Node:
        self._expect("(")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise MalformedPredicateError(f"Syntax error while parsing 'where': nested deeper than {_MAX_DEPTH}.")
        tree = self._or()
        self._expect(")")
        self._depth -= 1
        return tree

    def _term(self) -> Node:
        token = self._peek()
        if token is None or token.kind != "name":
            raise self._unexpected("a field")
        self._next += 1
        return self._condition(token.text)

    def _condition(self, field: str) -> Node:
        token = self._peek()
        if token is None:
            raise self._unexpected("an operator")
        if token.kind == "mark" and token.text == "(":
            return Nested(field, self._parenthesised())
        if token.kind == "operator":
            self._next += 1
            return Compare(field, token.text, self._single_value())
        return self._word_operator(field)

    def _word_operator(self, field: str) -> Node:
        match self._expect("in", "not", "contains", "is"):
            case "in":
                return In(field, self._values())
            case "not":
                self._expect("in")
                return Not(In(field, self._values()))
            case "contains":
                return Contains(field, self._expect("any", "all") == "all", self._values())
        negated = self._accept("not")
        tree: Node = Defined(field) if self._expect("defined", "empty") == "defined" else Empty(field)
        return Not(tree) if negated else tree

    def _single_value(self) -> Literal:
        values = self._value()
        if len(values) != 1:
            raise MalformedPredicateError("Syntax error while parsing 'where': a list where one value was expected.")
        return values[0]

    def _value(self) -> tuple[Literal, ...]:
        token = self._peek()
        if token is None:
            raise self._unexpected("a value")
        self._next += 1
        match token.kind, token.text:
            case "string", text:
                return (Literal(text=_unescaped(text)),)
            case "number", text:
                return (Literal(number=_number(text)),)
            case "variable", text:
                return self._bound(text[1:])
            case "keyword", ("true" | "false") as text:
                return (Literal(flag=text == "true"),)
        self._next -= 1
        raise self._unexpected("a value")

    def _bound(self, name: str) -> tuple[Literal, ...]:
        if name not in self._variables:
            raise MalformedPredicateError(f"Missing value for the predicate variable 'var.{name}'.")
        return tuple(variable(text) for text in self._variables[name])

    def _values(self) -> tuple[Literal, ...]:
        token = self._peek()
        if token is not None and token.kind == "variable":
            return self._value()
        self._expect("(")
        values = list(self._value())
        while self._accept(","):
            values += self._value()
        self._expect(")")
        return tuple(values)


def parse(text: str, variables: Mapping[str, Sequence[str]] | None = None) -> Node:
    """
    Parse one predicate.

    Args:
        text: The predicate, as in `where`.
        variables: The texts of each `:name`; more than one only where a list is allowed.

    Raises:
        MalformedPredicateError: the text is not a valid predicate, or a variable has no value.

    """
    return _Parser(text, variables or {}).parse()


def fields(node: Node) -> set[str]:
    """List the top-level fields that *node* reads."""
    match node:
        case And(parts) | Or(parts):
            return set().union(*(fields(part) for part in parts))
        case Not(inner):
            return fields(inner)
    return {node.field}


def is_instant(field: str) -> bool:
    return field.endswith("At") or field in {"expectedDelivery", "validFrom", "validUntil"}


def compile_predicate(node: Node) -> Test:
    """
    Compile *node* into a test.

    Raises:
        MalformedPredicateError: an instant is compared with a value that is not one.

    """
    match node:
        case And(parts):
            return _all([compile_predicate(part) for part in parts])
        case Or(parts):
            return _any([compile_predicate(part) for part in parts])
        case Not(inner):
            test = compile_predicate(inner)
            return lambda document: not test(document)
        case Nested(field, inner):
            return _nested(field, compile_predicate(inner))
    return _of_field(node)


def _of_field(node: Compare | In | Contains | Defined | Empty) -> Test:
    match node:
        case Compare(field, sign, value):
            return _compare(field, sign, value)
        case In(field, values):
            return _any([_compare(field, "=", value) for value in values])
        case Contains(field, every, values):
            return (_all if every else _any)([_compare(field, "=", value) for value in values])
        case Defined(field):
            return lambda document: document.get(field) is not None
        case Empty(field):
            return lambda document: document.get(field) in (None, [], {}, "")


def _all(tests: list[Test]) -> Test:
    return lambda document: all(test(document) for test in tests)


def _any(tests: list[Test]) -> Test:
    return lambda document: any(test(document) for test in tests)


def _nested(field: str, test: Test) -> Test:
    def matches(document: Document) -> bool:
        value = document.get(field)
        if isinstance(value, dict):
            return test(value)
        return isinstance(value, list) and any(isinstance(item, dict) and test(item) for item in value)

    return matches


def _compare(field: str, sign: str, value: Literal) -> Test:
    if sign in ("!=", "<>"):
        equal = _compare(field, "=", value)
        return lambda document: not equal(document)
    holds = _for_instant(field, sign, value) if is_instant(field) else _for_value(sign, value)

    def test(document: Document) -> bool:
        found = document.get(field)
        if isinstance(found, list):
            return any(holds(item) for item in found)
        return holds(found)

    return test


def _for_instant(field: str, sign: str, value: Literal) -> Callable[[Any], bool]:
    expected = clock.sort_key(value.text) if value.text is not None else None
    if expected is None:
        raise MalformedPredicateError(f"The field '{field}' is a DateTime; the value is not one.")
    compare = _SIGNS[sign]

    def holds(found: Any) -> bool:
        key = clock.sort_key(found) if isinstance(found, str) else None
        return key is not None and compare(key, expected)

    return holds


def _for_value(sign: str, value: Literal) -> Callable[[Any], bool]:
    compare = _SIGNS[sign]
    text, number, flag = value.text, value.number, value.flag

    def holds(found: Any) -> bool:
        if isinstance(found, str):
            return text is not None and compare(found, text)
        if isinstance(found, bool):  # before numbers: Python's True is also 1
            return flag is not None and compare(found, flag)
        return isinstance(found, int | float) and number is not None and compare(found, number)

    return holds
