"""
Mappings: JMESPath with exact arithmetic (core.calculations), bounded in its length, its steps and the size of what it builds.

In a definition a text is an expression; a number, true, false and null stand for themselves, and lists and objects hold
mappings. An expression cannot call anything, and its cost is bounded whatever its text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache, lru_cache
from math import isfinite
from typing import Any

from crossdock.core.errors import BadRequest

LONGEST = 1000
#: Visits of a node of the expression.
MOST_STEPS = 50_000
#: Values, and characters, in what an expression or a part of it builds.
MOST_VALUES = 20_000
MOST_CHARACTERS = 1_000_000


class ExpressionInvalid(BadRequest):
    """An expression cannot be read, or exceeds its bounds."""


@lru_cache(maxsize=2048)
def compiled(expression: str) -> Any:
    """
    Read an expression: give its syntax tree.

    Raises:
        ExpressionInvalid: it is not JMESPath, or too long, or calls a function that does not exist.

    """
    import jmespath  # type: ignore[import-untyped]  # noqa: PLC0415  few processes evaluate
    from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped]  # noqa: PLC0415

    from crossdock.core.calculations import wrong_call_in  # noqa: PLC0415  imports JMESPath

    if len(expression) > LONGEST:
        raise ExpressionInvalid(f"has {len(expression):,} characters; an expression has {LONGEST} at most")
    try:
        tree = jmespath.compile(expression).parsed
    except (JMESPathError, ValueError) as error:
        raise ExpressionInvalid(f"is not a JMESPath expression: {str(error).splitlines()[0]}") from error
    except RecursionError:
        raise ExpressionInvalid("nests too deep for a JMESPath expression") from None
    if cause := wrong_call_in(tree):
        raise ExpressionInvalid(cause)
    return tree


def evaluate(expression: str, scope: Mapping[str, Any]) -> Any:
    """
    Evaluate one expression.

    Raises:
        ExpressionInvalid: it is not valid, or not for these values; or it takes or builds too much.

    """
    from jmespath.exceptions import JMESPathError, JMESPathTypeError  # noqa: PLC0415  as above

    from crossdock.core.calculations import CannotCalculate  # noqa: PLC0415  imports JMESPath

    tree = compiled(expression)
    try:
        result = _interpreter()().visit(tree, scope)
    except CannotCalculate as error:
        raise ExpressionInvalid(f"{expression}: {error}") from None
    except JMESPathTypeError as error:
        # Without the value, which may be about a person.
        expected = " or ".join(error.expected_types)
        raise ExpressionInvalid(
            f"{expression}: {error.function_name}() takes {expected}, not {error.actual_type}"
        ) from None
    except (JMESPathError, ArithmeticError, TypeError, ValueError) as error:
        raise ExpressionInvalid(
            f"{expression}: cannot be evaluated for these values ({type(error).__name__})"
        ) from None
    except RecursionError:
        raise ExpressionInvalid(f"{expression}: nests too deep") from None
    size_of(result)
    return result


def mapped(mapping: Any, scope: Mapping[str, Any]) -> Any:
    """
    Fill a mapping: evaluate its texts, keep what stands for itself.

    Raises:
        ExpressionInvalid: as `evaluate`.

    """
    match mapping:
        case str():
            return evaluate(mapping, scope)
        case dict():
            return {name: mapped(part, scope) for name, part in mapping.items()}
        case list():
            return [mapped(part, scope) for part in mapping]
    return mapping


def expressions_in(mapping: Any, at: str) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each expression of a mapping."""
    match mapping:
        case str():
            yield at, mapping
        case dict():
            for name, part in mapping.items():
                yield from expressions_in(part, f"{at}/{name}")
        case list():
            for number, part in enumerate(mapping):
                yield from expressions_in(part, f"{at}/{number}")


@cache
def _interpreter() -> Any:
    """Build JMESPath's own interpreter with a budget."""
    from jmespath.visitor import Options, TreeInterpreter  # type: ignore[import-untyped]  # noqa: PLC0415  as above

    from crossdock.core.calculations import Calculations  # noqa: PLC0415  imports JMESPath

    class AsJson(Calculations):
        """Writes a result as workflows' documents have numbers: whole, or a float."""

        def written(self, number: Decimal, *, is_whole: bool) -> int | float:
            return int(number) if is_whole or number == int(number) else float(number)

    options = Options(custom_functions=AsJson())

    class Bounded(TreeInterpreter):  # type: ignore[misc]
        steps = 0

        def __init__(self) -> None:
            super().__init__(options)

        def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
            self.steps += 1
            if self.steps > MOST_STEPS:
                raise ExpressionInvalid(f"takes more than {MOST_STEPS:,} steps")
            result = super().visit(node, *args, **kwargs)
            if isinstance(result, list) and len(result) > MOST_VALUES:
                raise ExpressionInvalid(f"builds a list of more than {MOST_VALUES:,} values")
            return result

        def visit_function_expression(self, node: Any, value: Any) -> Any:
            # A list can name itself twice, again and again: it is small until a function writes it out.
            for child in node["children"]:
                if child["type"] != "expref":
                    size_of(self.visit(child, value))
            return super().visit_function_expression(node, value)

    return Bounded


def size_of(value: Any) -> int:
    """
    Count values and characters, as far as the bounds.

    Raises:
        ExpressionInvalid: there are too many, or a number is none that JSON has.

    """
    open_values, count, characters = [value], 0, 0
    while open_values:
        part = open_values.pop()
        count += 1
        match part:
            case str():
                characters += len(part)
            case dict():
                characters += sum(map(len, part))
                open_values += part.values()
            case list():
                open_values += part
            case float() if not isfinite(part):
                raise ExpressionInvalid("gives a number that JSON has not")
        if count > MOST_VALUES or characters > MOST_CHARACTERS:
            raise ExpressionInvalid(
                f"is too large: an expression uses and builds {MOST_VALUES:,} values and {MOST_CHARACTERS:,} characters at most"
            )
    return count + characters


def shown(value: Any) -> str:
    """Write a value as JSON, shortened."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004  fits on a line
