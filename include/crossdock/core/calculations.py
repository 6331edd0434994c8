"""
Exact arithmetic for JMESPath, which has none: the functions that mappings of declarations and of workflows share.

A result is exact or an error, except where a function rounds by its purpose (`divide`, `round`). Numbers have at most
60 digits, so no expression can build a large one.
"""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from functools import reduce
from typing import Any

from jmespath.functions import Functions, signature  # type: ignore[import-untyped]

from crossdock.core.money import CURRENCIES, currency_exponent

#: Digits that a number of a calculation may have.
_MOST_DIGITS = 60
#: Digits after the point that a quotient keeps, and that `round` may ask for.
_MOST_PLACES = 20
_EXACT = decimal.Context(
    prec=_MOST_DIGITS,
    Emax=_MOST_DIGITS,
    Emin=-_MOST_DIGITS,
    traps=[decimal.Inexact, decimal.Overflow, decimal.InvalidOperation, decimal.DivisionByZero],
)
_ROUNDING = decimal.Context(
    prec=_MOST_DIGITS + _MOST_PLACES,
    rounding=decimal.ROUND_HALF_UP,
    traps=[decimal.Overflow, decimal.InvalidOperation, decimal.DivisionByZero],
)
#: An amount that comes as text.
_AMOUNT = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,20})?")
#: As JSON writes numbers. Python alone would also read 1_000, ١٢ and NaN.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(?P<fraction>(\.[0-9]+)?([eE][-+]?[0-9]{1,6})?)")
_TYPES = {str: "text", bool: "true or false", type(None): "null", list: "a list", dict: "an object"}
_STRAY_REFERENCE = "has an & where no value can come of it; it belongs to map(), sort_by(), min_by() and max_by()"
_ORDINALS = ("1st", "2nd")

#: What the functions do, for people: the call and its meaning.
DESCRIBED = {
    "add(a, b)": "a + b.",
    "sum(list)": "The sum of a list of numbers.",
    "subtract(a, b)": "a - b.",
    "multiply(a, b)": "a * b.",
    "divide(a, b)": "a / b, rounded half up after 20 digits behind the point.",
    "round(a, places)": "a with so many digits behind the point, 0 to 20; half is rounded up (away from 0).",
    "to_minor(amount, currency)": (
        "An amount in major units as a whole number of minor units: `to_minor('12.50', 'EUR')` is 1250. "
        "It takes a number, or text with a decimal point, and fails if the currency has fewer digits than the amount."
    ),
    "to_major(amount, currency)": "The way back: ``to_major(`1250`, 'EUR')`` is 12.50.",
    "to_number(text)": (
        "The number that a text says, such as `'12.50'`; null for a text that is none in JSON, such as `'1_000'`, `'1,5'` or `'007'`."
    ),
}


def wrong_call_in(tree: Mapping[str, Any]) -> str | None:
    """Find a call in the syntax tree of an expression that no values can make right; None if there is none. Bounded by the tree."""
    nodes = [tree]
    if tree.get("type") == "expref":
        return _STRAY_REFERENCE
    while nodes:
        node = nodes.pop()
        children = [child for child in node.get("children", ()) if isinstance(child, dict)]
        nodes += children
        if any(child.get("type") == "expref" and not _takes_reference(node, at) for at, child in enumerate(children)):
            return _STRAY_REFERENCE
        if node.get("type") == "function_expression" and (cause := _wrong_call(node["value"], len(node["children"]))):
            return cause
    return None


def _takes_reference(node: Mapping[str, Any], position: int) -> bool:
    """Whether *node* is a call of a function whose argument at *position* is an expression (`&field`)."""
    known = Calculations.FUNCTION_TABLE
    if node.get("type") != "function_expression" or node["value"] not in known:
        return node.get("type") == "function_expression"  # that it does not exist is another mistake
    takes = known[node["value"]]["signature"]
    return position >= len(takes) or "expref" in takes[position]["types"]


def _wrong_call(name: str, given: int) -> str | None:
    known = Calculations.FUNCTION_TABLE
    if name not in known:
        like = get_close_matches(name, known, 1, cutoff=0.8)
        return f"has no function {name}(); {f'did you mean {like[0]}()? ' if like else ''}There are {', '.join(sorted(known))}"
    takes = known[name]["signature"]
    if given == len(takes) or (given > len(takes) and takes[-1].get("variadic")):
        return None
    return f"gives {name}() {given} arguments; it takes {len(takes)}"


class CannotCalculate(ValueError):
    """A function cannot calculate with what it got. The text completes `path …` and has no value; `came` is the value."""

    def __init__(self, cause: str, came: Any = None) -> None:
        self.came = came
        super().__init__(cause)


class Calculations(Functions):  # type: ignore[misc]  # of a library without types
    """JMESPath's functions, and those of `DESCRIBED`."""

    def written(self, number: Decimal, *, is_whole: bool) -> Any:
        """Give a result the type that the caller's documents have; *is_whole* if its operands were whole numbers."""
        return int(number) if is_whole else number

    @signature({"types": []}, {"types": []})  # type: ignore[untyped-decorator]
    def _func_add(self, a: Any, b: Any) -> Any:
        return self._calculated("add", _EXACT.add, a, b)

    @signature({"types": ["array-number"]})  # type: ignore[untyped-decorator]
    def _func_sum(self, numbers: Any) -> Any:
        def plus(total: Decimal, number: Any) -> Decimal:
            return _within("sum", lambda: _EXACT.add(total, _number("sum", 0, number)))

        total = reduce(plus, numbers, Decimal(0))
        return self.written(total, is_whole=all(isinstance(each, int) for each in numbers))

    @signature({"types": []})  # type: ignore[untyped-decorator]
    def _func_to_number(self, value: Any) -> Any:
        if isinstance(value, str):
            found = _NUMBER.fullmatch(value)
            if found is None:
                return None
            return self.written(
                _within("to_number", lambda: _EXACT.create_decimal(value)), is_whole=not found["fraction"]
            )
        return value if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else None

    @signature({"types": []}, {"types": []})  # type: ignore[untyped-decorator]
    def _func_subtract(self, a: Any, b: Any) -> Any:
        return self._calculated("subtract", _EXACT.subtract, a, b)

    @signature({"types": []}, {"types": []})  # type: ignore[untyped-decorator]
    def _func_multiply(self, a: Any, b: Any) -> Any:
        return self._calculated("multiply", _EXACT.multiply, a, b)

    @signature({"types": []}, {"types": []})  # type: ignore[untyped-decorator]
    def _func_divide(self, a: Any, b: Any) -> Any:
        numbers = _number("divide", 0, a), _number("divide", 1, b)
        if not numbers[1]:
            raise CannotCalculate("divides by 0", b)
        quotient = _within("divide", lambda: _rounded(_ROUNDING.divide(*numbers), _MOST_PLACES))
        return self.written(_without_zeros(quotient), is_whole=False)

    @signature({"types": []}, {"types": []})  # type: ignore[untyped-decorator]
    def _func_round(self, a: Any, places: Any) -> Any:
        number, digits = _number("round", 0, a), _number("round", 1, places)
        if digits != int(digits) or not 0 <= digits <= _MOST_PLACES:
            raise CannotCalculate(f"needs 0 to {_MOST_PLACES} places as the 2nd argument of round()", places)
        rounded = _within("round", lambda: _rounded(number, int(digits)))
        return self.written(rounded, is_whole=not digits)

    @signature({"types": []}, {"types": []})  # type: ignore[untyped-decorator]
    def _func_to_minor(self, amount: Any, currency: Any) -> Any:
        digits = _digits_of("to_minor", currency)
        if isinstance(amount, str):
            if not _AMOUNT.fullmatch(amount):
                raise CannotCalculate(
                    "needs a number, or text such as '12.50', as the 1st argument of to_minor()", amount
                )
            amount = Decimal(amount)
        minor = _within("to_minor", lambda: _EXACT.scaleb(_number("to_minor", 0, amount), digits))
        if minor != int(minor):
            cause = f"has an amount of more than the {digits} digits that {currency} has behind the point; to round it: round()"
            raise CannotCalculate(cause, amount)
        return int(minor)

    @signature({"types": []}, {"types": []})  # type: ignore[untyped-decorator]
    def _func_to_major(self, amount: Any, currency: Any) -> Any:
        digits, number = _digits_of("to_major", currency), _number("to_major", 0, amount)
        return self.written(_within("to_major", lambda: _EXACT.scaleb(number, -digits)), is_whole=not digits)

    def _calculated(self, name: str, operation: Callable[[Decimal, Decimal], Decimal], a: Any, b: Any) -> Any:
        numbers = _number(name, 0, a), _number(name, 1, b)
        result = _within(name, lambda: operation(*numbers))
        return self.written(result, is_whole=isinstance(a, int) and isinstance(b, int))


def _number(name: str, position: int, value: Any) -> Decimal:
    """Read an argument. A float is the number that its shortest text says, as it came in JSON."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        hint = {type(None): "; where no value means 0, write: … || `0`", str: "; a number in text: to_number(…)"}
        kind = _TYPES.get(type(value), "another value")
        cause = (
            f"needs a number as the {_ORDINALS[position]} argument of {name}(), not {kind}{hint.get(type(value), '')}"
        )
        raise CannotCalculate(cause, value)
    number = Decimal(repr(value)) if isinstance(value, float) else value
    return _within(name, lambda: _EXACT.create_decimal(number))


def _digits_of(name: str, currency: Any) -> int:
    if not isinstance(currency, str) or currency not in CURRENCIES:
        raise CannotCalculate(f"needs a currency of ISO 4217, such as 'EUR', as the 2nd argument of {name}()", currency)
    return currency_exponent(currency)


def _rounded(number: Decimal, places: int) -> Decimal:
    return number.quantize(Decimal(1).scaleb(-places), context=_ROUNDING)


def _without_zeros(number: Decimal) -> Decimal:
    """Drop the zeros at the end of a fraction; a whole number keeps its own."""
    return number.quantize(Decimal(1), context=_ROUNDING) if number == int(number) else number.normalize(_ROUNDING)


def _within(name: str, calculate: Callable[[], Decimal]) -> Decimal:
    """
    Calculate within the bounds. Zero has no sign: a price of -0.00 would be read as a mistake.

    Raises:
        CannotCalculate: the result would have more digits, or is no number.

    """
    try:
        result = calculate()
    except decimal.DecimalException:
        raise CannotCalculate(f"needs numbers of at most {_MOST_DIGITS} digits in {name}()") from None
    if not result.is_finite() or abs(result.adjusted()) > _MOST_DIGITS:
        raise CannotCalculate(f"needs numbers of at most {_MOST_DIGITS} digits in {name}()")
    return result or result.copy_abs()
