"""The mutations of a file: one small change each, made in its text, so that a mutant differs from the file in a line."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from itertools import pairwise

_COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}
_ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
}
#: Calls that no promise hangs on: what they do is seen by people and by the tests of crashes.
_UNPROMISED = re.compile(r"(log|logger|console)\.|failpoint\(|trim_memory\(|prepare\(")
#: Keywords that change no result: they guard against defects of ours, are names for people, or save time.
_NO_RESULT = {"strict", "frozen", "kw_only", "slots", "repr", "daemon", "name", "hint", "prepare", "binary"}
#: No test meets an instant to the microsecond: `<` and `<=` are the same beside the clock.
_CLOCK = re.compile(r"clock_timestamp\(\)|\bnow\(|monotonic\(|\b(until|now|latest|deadline)\b")

_IS_SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|WHERE|AND|ORDER BY)\s")
#: Marks the order of a statement, whose every column is turned round.
_REVERSED = "DESC"
#: A pattern in a statement → what replaces it; None for a condition, which goes.
_SQL = (
    (re.compile(r"(?<= )<(?= (?!clock))"), "<="),
    (re.compile(r"(?<= )<=(?= (?!clock))"), "<"),
    (re.compile(r"(?<= )>(?= (?!clock))"), ">="),
    (re.compile(r"(?<= )>=(?= (?!clock))"), ">"),
    (re.compile(r"(?<= )<>(?= )"), "="),
    (re.compile(r"\bgreatest\("), "least("),
    (re.compile(r"\bleast\("), "greatest("),
    (re.compile(r"\bNOT EXISTS\b"), "EXISTS"),
    (re.compile(r"\bIS NOT NULL\b"), "IS NULL"),
    (re.compile(r"\bIS NULL\b"), "IS NOT NULL"),
    (re.compile(r" DESC\b"), ""),
    (re.compile(r"(?<=ORDER BY )[^\n()\"]+?(?= LIMIT| FOR |\n|\)|\"|$)(?<! DESC)"), _REVERSED),
    (re.compile(r"\s+FOR (UPDATE|SHARE)\b( OF \w+)?( SKIP LOCKED)?"), ""),
    (re.compile(r" SKIP LOCKED\b"), ""),
    (re.compile(r"(?<=interval ')(\d+)"), r"\g<1>000"),
    (re.compile(r"\bAND (?:NOT )?\S+ (?:=|<|>|<=|>=|<>|IS|IN) "), None),
    (re.compile(r"\bOR \S+ (?:=|<|>|<=|>=|<>|IS|IN) "), None),
)


@dataclass(frozen=True)
class Mutant:
    """One change of the text of a file."""

    path: str
    line: int
    begin: int
    end: int
    before: str
    after: str
    #: The whole lines that it changes, as they were and as they are with it.
    old_lines: str
    new_lines: str

    def applied_to(self, text: str) -> str:
        return text[: self.begin] + self.after + text[self.end :]

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"

    @property
    def diff(self) -> str:
        lines = unified_diff(self.old_lines.splitlines(), self.new_lines.splitlines(), lineterm="", n=0)
        return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))

    @property
    def lot(self) -> bytes:
        """What orders the mutants of a module by chance, and the same in every run: a change elsewhere draws no others."""
        return hashlib.sha256(f"{self.path}|{self.diff}|{self.before}|{self.after}".encode()).digest()


def mutants_of(path: str, text: str) -> list[Mutant]:
    """List every mutant of *text*; each line of difference once."""
    found: dict[str, Mutant] = {}
    for begin, end, after in _Finder(text).changes():
        mutant = _mutant(path, text, begin, end, after)
        try:
            ast.parse(mutant.applied_to(text))
        except SyntaxError:
            continue
        found.setdefault(f"{mutant.place}{mutant.diff}", mutant)
    return list(found.values())


def _mutant(path: str, text: str, begin: int, end: int, after: str) -> Mutant:
    first = text.rfind("\n", 0, begin) + 1
    last = text.find("\n", end)
    last = len(text) if last < 0 else last
    return Mutant(
        path=path,
        line=text.count("\n", 0, begin) + 1,
        begin=begin,
        end=end,
        before=text[begin:end],
        after=after,
        old_lines=text[first:last],
        new_lines=text[first:begin] + after + text[end:last],
    )


#: Where a change begins, where it ends, and what stands there instead.
Change = tuple[int, int, str]


class _Finder:
    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0]
        for line in text.encode().splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line.decode()))
        self._lines = text.encode().splitlines()

    def changes(self) -> Iterator[Change]:
        yield from self._below(ast.parse(self._text))

    def _below(self, node: ast.AST) -> Iterator[Change]:
        for name, value in ast.iter_fields(node):
            # Types are checked by mypy; what a class or decorator is given declares more than it does.
            if name in {
                "annotation",
                "returns",
                "decorator_list",
                "keywords" if isinstance(node, ast.ClassDef) else "",
            }:
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not self._is_left_alone(child, node):
                    yield from self._of(child)

    def _is_left_alone(self, node: ast.AST, parent: ast.AST) -> bool:
        if isinstance(node, ast.keyword):
            return node.arg in _NO_RESULT
        if isinstance(node, ast.Expr):
            is_docstring = isinstance(node.value, ast.Constant)
            return is_docstring or _UNPROMISED.match(self._source(node)) is not None
        if isinstance(node, ast.Constant) and isinstance(parent, ast.Subscript):
            return True  # The next element is not there, or of another type: every test sees that.
        return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"

    def _of(self, node: ast.AST) -> Iterator[Change]:
        match node:
            case ast.Compare():
                yield from self._comparisons(node)
            case ast.BoolOp():
                yield from self._connectives(node)
            case ast.BinOp():
                yield from self._arithmetic(node)
            case ast.UnaryOp(op=ast.Not()):
                yield (*self._span(node), f"({self._source(node.operand)})")
            case ast.Constant(value=bool()):
                yield (*self._span(node), str(not node.value))
            case ast.Constant(value=int() | float()):
                yield from self._numbers(node)
            case ast.Constant(value=str() | bytes()) | ast.JoinedStr():
                # Before Python 3.12, what is inside an f-string has no place of its own: it is changed as text.
                yield from self._statements(node)
                return
            case ast.Raise():
                yield (*self._span(node), "pass")
            case ast.Expr(value=ast.Call()):
                yield (*self._span(node), "pass")
        yield from self._below(node)

    def _comparisons(self, node: ast.Compare) -> Iterator[Change]:
        for (left, right), operator in zip(pairwise([node.left, *node.comparators]), node.ops, strict=True):
            is_order = isinstance(operator, ast.Lt | ast.LtE | ast.Gt | ast.GtE)
            if is_order and (_CLOCK.search(self._source(left)) or _CLOCK.search(self._source(right))):
                continue
            yield from self._between(left, right, *_COMPARISONS[type(operator)])

    def _connectives(self, node: ast.BoolOp) -> Iterator[Change]:
        words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in pairwise(node.values):
            yield from self._between(left, right, *words)

    def _arithmetic(self, node: ast.BinOp) -> Iterator[Change]:
        if type(node.op) in _ARITHMETIC and not any(
            isinstance(side, ast.JoinedStr | ast.List | ast.Tuple)
            or (isinstance(side, ast.Constant) and isinstance(side.value, str | bytes))
            for side in (node.left, node.right)
        ):
            yield from self._between(node.left, node.right, *_ARITHMETIC[type(node.op)])

    def _between(self, left: ast.AST, right: ast.AST, before: str, after: str) -> Iterator[Change]:
        begin = self._span(left)[1]
        at = self._text.find(before, begin, self._span(right)[0])
        if at >= 0:
            yield at, at + len(before), after

    def _numbers(self, node: ast.Constant) -> Iterator[Change]:
        begin, end = self._span(node)
        value = node.value
        assert isinstance(value, int | float)
        yield begin, end, repr(value + 1)
        if value > 1:
            yield begin, end, repr(value * 1000)

    def _statements(self, node: ast.Constant | ast.JoinedStr) -> Iterator[Change]:
        begin, end = self._span(node)
        source = self._text[begin:end]
        if not _IS_SQL.search(source):
            return
        for pattern, after in _SQL:
            for found in pattern.finditer(source):
                if after is _REVERSED:
                    if " DESC" in found[0]:
                        continue  # Another mutation takes it away.
                    yield begin + found.start(), begin + found.end(), found[0].replace(",", " DESC,") + " DESC"
                elif after is not None:
                    yield begin + found.start(), begin + found.end(), found.expand(after)
                elif (stop := _end_of_condition(source, found.start())) is not None:
                    yield begin + found.start(), begin + stop, ""

    def _span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno, node.end_col_offset)

    def _at(self, line: int, column: int) -> int:
        return self._starts[line - 1] + len(self._lines[line - 1][:column].decode())

    def _source(self, node: ast.AST) -> str:
        begin, end = self._span(node)
        return self._text[begin:end]


def _end_of_condition(statement: str, begin: int) -> int | None:
    """Find where the condition that begins with AND or OR at *begin* ends; None where it goes on in the next lines."""
    line_end = statement.find("\n", begin)
    line = statement[begin : len(statement.rstrip("\"'")) if line_end < 0 else line_end]
    depth = 0
    for number, letter in enumerate(line):
        if letter == "(":
            depth += 1
        elif letter == ")":
            depth -= 1
        ends = re.match(r"\s+(AND|OR|ORDER BY|LIMIT|GROUP BY|RETURNING|FOR|UNION)\b", line[number:])
        if depth < 0 or (depth == 0 and number > len("AND") and ends):
            return begin + number
    return begin + len(line) if depth == 0 else None
