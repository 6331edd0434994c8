"""
Conditions: CEL, by Google's own engine, which checks types, has a budget of iterations, and matches patterns in linear time.

A condition is true or false. It can read and compare; it cannot build lists (`map`), so its cost is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from crossdock.workflows.declared.mappings import ExpressionInvalid

LONGEST = 1000
#: Each may double a text.
MOST_SUMS = 10
_TOKEN = re.compile(
    r"""(?P<text>r?"(?:\\.|[^"\\])*"|r?'(?:\\.|[^'\\])*')|(?P<path>[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*)*)(?P<called>\s*\()?|(?P<sign>.)""",
    re.DOTALL,
)
_MACRO = re.compile(r"\.\s*(?:all|exists|exists_one|filter|map)\s*\(\s*([A-Za-z_]\w*)\s*,")
_WORDS = frozenset({"true", "false", "null", "in", "has", "size"})


def _tokens(condition: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(condition):
        kind = match.lastgroup or ""
        if kind == "called":
            yield "called", match["path"]
        elif kind == "path" or match["path"]:
            yield "path", match["path"]
        else:
            yield kind, match[0]


def paths_in(condition: str) -> list[tuple[str, ...]]:
    """Name what a condition reads: `params.total` as its parts. What a macro names for itself is left out."""
    own = set(_MACRO.findall(condition))
    found: list[tuple[str, ...]] = []
    after_dot = False
    for kind, text in _tokens(condition):
        parts = tuple(part.strip() for part in text.split("."))
        if kind == "called":
            parts = parts[:-1]  # a function, or a method of the rest
        if kind in ("path", "called") and parts and not after_dot and parts[0] not in own | _WORDS:
            found.append(parts)
        # After `a[0].` and `f().` come fields of what is not followed here.
        after_dot = text == "." or (after_dot and not text.strip())
    return found


@lru_cache(maxsize=1024)
def compiled(condition: str, names: tuple[str, ...]) -> Any:
    """
    Read a condition on the values called *names*.

    Raises:
        ExpressionInvalid: it is not CEL, names something else, compares what cannot be compared, or may grow.

    """
    from cel_expr_python import cel  # type: ignore[import-untyped]  # noqa: PLC0415  few processes evaluate

    if len(condition) > LONGEST:
        raise ExpressionInvalid(f"has {len(condition):,} characters; a condition has {LONGEST} at most")
    tokens = list(_tokens(condition))
    if any(kind == "called" and text.split(".")[-1].strip() == "map" for kind, text in tokens):
        raise ExpressionInvalid("uses map: a condition builds no lists. Use all, exists or filter")
    if sum(kind == "sign" and text == "+" for kind, text in tokens) > MOST_SUMS:
        raise ExpressionInvalid(f"has more than {MOST_SUMS} sums")
    try:
        return cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN)).compile(condition)
    except (RuntimeError, ValueError) as error:
        raise ExpressionInvalid(f"is not a CEL condition: {_first_reason(error)}") from error


def _first_reason(error: Exception) -> str:
    """Take the engine's first sentence, without its prefix and place."""
    first = str(error).splitlines()[0]
    return re.sub(r"^.*?<input>:\d+:(\d+): ", r"character \1: ", first)


def result_type(condition: str, names: tuple[str, ...]) -> str:
    """Name the type of the result as CEL knows it before it runs: `BOOL`, `INT`, … or `DYN` if only the values decide."""
    return str(compiled(condition, names).return_type().name())


def is_true(condition: str, scope: Mapping[str, Any]) -> bool:
    """
    Evaluate a condition.

    Raises:
        ExpressionInvalid: a value is missing or of another type, it takes too much, or the result is not boolean.

    """
    try:
        result = compiled(condition, tuple(sorted(scope))).eval(data=dict(scope))
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise ExpressionInvalid(f"{condition}: {_first_reason(error)}") from error
    value = result.value()
    if result.type().name() == "ERROR":
        raise ExpressionInvalid(f"{condition}: {str(value).partition(': ')[2]}")
    if not isinstance(value, bool):
        raise ExpressionInvalid(f"{condition}: is not true or false, but of the type {_type_in_words(result)}")
    return value


def _type_in_words(result: Any) -> str:
    """Name the type of a result."""
    return str(result.type().name()).lower()
