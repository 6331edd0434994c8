"""Arithmetic of mappings is exact, bounded, and says which argument is wrong."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from crossdock.connectors.declarative.paths import PathDoesNotFit, finder
from crossdock.core.calculations import DESCRIBED, Calculations
from crossdock.workflows.declared import mappings
from crossdock.workflows.declared.mappings import ExpressionInvalid

DOCS = Path(__file__).parents[2] / "docs"
STOCK: dict[str, Any] = {
    "on_hand": 12,
    "reserved": 5,
    "price": "12.50",
    "vat": Decimal("0.19"),
    "net": Decimal("1.10"),
    "none": None,
}

EXACT = {
    "subtract(on_hand, reserved)": 7,
    "subtract(on_hand, none || `0`)": 12,
    "add(net, vat)": Decimal("1.29"),
    "multiply(net, `3`)": Decimal("3.30"),
    "multiply(`0.1`, `3`)": Decimal("0.3"),
    "add(`0.1`, `0.2`)": Decimal("0.3"),
    "multiply(on_hand, `1000000000000000001`)": 12000000000000000012,
    "divide(on_hand, `8`)": Decimal("1.5"),
    "divide(on_hand, `4`)": Decimal(3),
    "divide(`1`, `3`)": Decimal("0.33333333333333333333"),
    "round(`2.345`, `2`)": Decimal("2.35"),
    "round(`-2.5`, `0`)": -3,
    "to_minor(price, 'EUR')": 1250,
    "to_minor(`500`, 'JPY')": 500,
    "to_minor('1.234', 'KWD')": 1234,
    "to_major(`1250`, 'EUR')": Decimal("12.50"),
    "sum([net, vat, `0.1`])": Decimal("1.39"),
    "sum([on_hand, reserved])": 17,
    "sum(`[]`)": 0,
    "to_number(price)": Decimal("12.50"),
    "to_number('-12')": -12,
    "to_number('1e3')": Decimal("1E+3"),
    "round(`-0.001`, `2`)": Decimal("0.00"),
    "multiply(`-0.5`, `0`)": Decimal("0.0"),
    "map(&subtract(@, `1`), [on_hand, reserved])": [11, 4],
}


@pytest.mark.parametrize("expression", EXACT)
def test_a_result_is_exact(expression: str) -> None:
    found = finder(expression)(STOCK)

    assert (found, str(found)) == (EXACT[expression], str(EXACT[expression]))
    assert type(found) is type(EXACT[expression])


WRONG = {
    "subtract(on_hand, none)": "needs a number as the 2nd argument of subtract(), not null; where no value means 0, write: … || `0`",
    "subtract(price, on_hand)": "needs a number as the 1st argument of subtract(), not text; a number in text: to_number(…)",
    "add(on_hand, `true`)": "2nd argument of add(), not true or false",
    "multiply(@, on_hand)": "1st argument of multiply(), not an object",
    "divide(on_hand, `0`)": "divides by 0",
    "round(net, `21`)": "needs 0 to 20 places",
    "to_minor('12,50', 'EUR')": "needs a number, or text such as '12.50'",
    "to_minor('12.505', 'EUR')": "more than the 2 digits that EUR has",
    "to_minor(price, 'Euro')": "needs a currency of ISO 4217",
    "to_minor(none, 'EUR')": "1st argument of to_minor(), not null",
    "multiply(`1e50`, `1e50`)": "at most 60 digits in multiply()",
    "sum([`1e50`, `1e-50`])": "at most 60 digits in sum()",
    "to_number('1e61')": "at most 60 digits in to_number()",
    "add(`1e50`, `1e-50`)": "at most 60 digits in add()",
}


@pytest.mark.parametrize("expression", WRONG)
def test_what_cannot_be_calculated_says_which_argument_is_wrong_in_declarations_and_in_workflows(
    expression: str,
) -> None:
    with pytest.raises(PathDoesNotFit) as refused:
        finder(expression)(STOCK)
    assert WRONG[expression] in str(refused.value)
    with pytest.raises(ExpressionInvalid) as refused_too:
        mappings.evaluate(expression, {name: float(v) if isinstance(v, Decimal) else v for name, v in STOCK.items()})
    assert WRONG[expression] in str(refused_too.value)


def test_the_value_itself_is_not_in_the_message_of_a_workflow() -> None:
    with pytest.raises(ExpressionInvalid) as refused:
        mappings.evaluate("add(params.name, `1`)", {"params": {"name": "Ada Lovelace"}})
    assert "Ada" not in str(refused.value)


def test_a_workflows_numbers_are_those_of_json() -> None:
    scope = {"params": {"price": 12.5, "net": 1.1, "count": 3}}

    assert mappings.evaluate("[multiply(params.price, `100`), multiply(params.net, params.count)]", scope) == [
        1250,
        3.3,
    ]
    assert isinstance(mappings.evaluate("multiply(params.price, `100`)", scope), int)


@pytest.mark.parametrize(
    "text", ["1_000", "\u0661\u0662", "NaN", "Infinity", "+5", "007", " 5", "5\n", ".5", "5.", "0x10", ""]
)
def test_a_text_that_json_does_not_write_as_a_number_is_none(text: str) -> None:
    scope = {"text": text}
    assert finder("to_number(text)")(scope) is None
    assert mappings.evaluate("to_number(text)", scope) is None


def test_a_workflow_adds_and_reads_numbers_exactly() -> None:
    scope = {"parts": [0.1, 0.2], "text": "12.50", "whole": "12"}

    assert mappings.evaluate("[sum(parts), to_number(text), to_number(whole)]", scope) == [0.3, 12.5, 12]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("substract(a, b)", "has no function substract(); did you mean subtract()?"),
        ("[{x: minus(a, b)}]", "has no function minus(); There are abs, add,"),
        ("subtract(a)", "gives subtract() 1 arguments; it takes 2"),
        ("map(&foo(@), a)", "has no function foo()"),
        ("a[?foo(@)]", "has no function foo()"),
        ("&a", "has an & where no value can come of it"),
        ("{x: [&a]}", "has an & where"),
        ("to_array(&a)", "has an & where"),
        ("sort_by(&a, b)", "has an & where"),
    ],
)
def test_a_function_that_does_not_exist_is_found_before_it_runs(expression: str, message: str) -> None:
    with pytest.raises(ExpressionInvalid) as refused:
        mappings.compiled(expression)
    assert message in str(refused.value)


@pytest.mark.parametrize("expression", ["on_hand" + "|multiply(@,@)" * 30, "add(huge, on_hand)", "add(nan, on_hand)"])
def test_no_expression_builds_a_large_number(expression: str) -> None:
    with pytest.raises(PathDoesNotFit, match="at most 60 digits"):
        finder(expression)({**STOCK, "huge": Decimal("1e999999"), "nan": Decimal("NaN")})


@given(st.integers(-(10**25), 10**25), st.integers(-(10**25), 10**25))
def test_whole_numbers_are_added_subtracted_and_multiplied_as_they_are(a: int, b: int) -> None:
    assert finder("[add(a, b), subtract(a, b), multiply(a, b)]")({"a": a, "b": b}) == [a + b, a - b, a * b]


@given(st.integers(-(10**15), 10**15), st.sampled_from(["EUR", "JPY", "KWD", "CLF"]))
def test_an_amount_comes_back_from_major_units(minor: int, currency: str) -> None:
    assert finder("to_minor(to_major(minor, currency), currency)")({"minor": minor, "currency": currency}) == minor


def test_each_function_is_described() -> None:
    own = {name.removeprefix("_func_") for name in vars(Calculations) if name.startswith("_func_")}

    assert own == {call.partition("(")[0] for call in DESCRIBED}


def test_the_documented_examples_calculate() -> None:
    """Of the reference, which is made from the code, and of the how-to."""
    record = {"on_hand": 12, "reserved": None, "price": "12.50", "currency": "EUR", "grams": 1250}
    found = {}
    for page in ("reference/declarations.md", "how-to/declare-an-integration.md"):
        for block in re.findall(r"```yaml\n(mapping:.*?)```", (DOCS / page).read_text(), re.DOTALL):
            mapping = yaml.safe_load(block)["mapping"]
            found |= {name: finder(field["path"])(record) for name, field in mapping.items() if "(" in field["path"]}

    assert found == {"available_quantity": 12, "price_minor": 1250, "weight_kg": Decimal("1.25")}
